"""Pieces of work: some pictures, as a row of Ray's, and what processes without a model do with them.

This imports no PyTorch, so that these processes start fast and stay small.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from asterism.batch.stores import Place, is_remote, store


@dataclass(frozen=True)
class Item:
    """A picture or a film of a job.

    Args:
        source: its absolute path, or its address in a store.
        name: of its results, relative, without what the target adds.
        state: what tells whether it is still the same: its size, a dash, and its time or tag.
        film: whether it is a film, which is a piece of its own and no row of bytes.
    """

    source: str
    name: str
    state: str
    film: bool = False


def packed(items: Sequence[Item]) -> str:
    """Return a piece as a row of Ray's; in ASCII, since names of files may be no Unicode."""
    return json.dumps([list(asdict(item).values()) for item in items])


def unpacked(row: str) -> list[Item]:
    """Return the pictures of a piece."""
    return [Item(*values) for values in json.loads(row)]


def fetch(row: dict[str, Any]) -> dict[str, Any]:
    """Read a piece's pictures from their stores, while workers are busy with others."""
    contents, problems = list[bytes](), list[str]()
    for item in unpacked(row["row"]):
        problem, content = "", b""
        if is_remote(item.source) and not item.film:
            fs, path = store(item.source)
            try:
                content = bytes(fs.cat_file(path))
            except OSError as error:
                problem = f"it cannot be read: {error}"
        contents.append(content)
        problems.append(problem)
    return {**row, "contents": contents, "problems": problems}


def put(row: dict[str, Any]) -> dict[str, Any]:
    """Write a piece's results to their store."""
    if not row["error"]:
        place = Place(json.loads(row["done"])["out"])
        for name, content in zip(row["names"], row["results"], strict=True):
            place.write(name, bytes(content))
    return {"error": row["error"], "done": row["done"]}
