"""What people hand to the studio page and take from it: bytes in memory, under names that only the vault makes up.

Nothing is written to disk, and a name that the vault did not give out leads nowhere.
"""

from __future__ import annotations

import re
import secrets
import threading
import unicodedata
from collections import OrderedDict
from dataclasses import dataclass

MAX_KEPT = 5000
"""Files at a time, however small."""


@dataclass(frozen=True)
class Kept:
    """A file.

    Args:
        content: its bytes; none of a file that was refused.
        kind: its media type.
        title: the name under which it is to be saved.
        refusal: why it cannot be used.
    """

    content: bytes
    kind: str
    title: str
    refusal: str | None = None


class Vault:
    """Files by name; the oldest ones go when there are too many bytes.

    Args:
        root: what names begin with; no folder of that name needs to exist.
        capacity: bytes in all.
    """

    def __init__(self, root: str, capacity: int) -> None:
        self.root = root
        self.capacity = capacity
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, content: bytes, kind: str, title: str = "", refusal: str | None = None) -> str:
        """Keep a file; return its name."""
        name = f"{self.root}/{secrets.token_hex(16)}/{safe_title(title)}"
        with self._lock:
            self._kept[name] = Kept(content, kind, safe_title(title), refusal)
            held = sum(len(kept.content) for kept in self._kept.values())
            while (held > self.capacity or len(self._kept) > MAX_KEPT) and len(self._kept) > 1:
                _, gone = self._kept.popitem(last=False)
                held -= len(gone.content)
        return name

    def get(self, name: str) -> Kept | None:
        """Return a file; none where the vault gave out no such name, or has let the file go."""
        with self._lock:
            return self._kept.get(name)


def safe_title(title: str) -> str:
    """Return the last part of a name that a client gave, of letters and digits of any script, dots, dashes, underscores."""
    last = unicodedata.normalize("NFC", re.split(r"[/\\]", title)[-1])
    kept = "".join(c if c in ".-" or unicodedata.category(c)[0] in "LMN" else "_" for c in last)
    return re.sub(r"_+", "_", kept).strip("._")[-80:] or "picture"
