"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_whole(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Write a file, or replace it: a reader sees the old one or the new one, and a failure leaves nothing behind.

    Args:
        sync: have the content on the disk before it takes the name, so that a power cut spoils neither.

    Raises:
        OSError: no room on the disk, or no right to write.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, values: Any) -> None:
    """Write JSON values for people and programs, as `write_whole` does."""
    write_whole(path, (json.dumps(values, indent=2) + "\n").encode())
