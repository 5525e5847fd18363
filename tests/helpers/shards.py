"""Shards written by hand: what others' programs write, and what goes wrong with them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.helpers.pictures import coded, noise


def picture(seed: int = 0, side: int = 32) -> bytes:
    """A small PNG."""
    return coded(noise(side, side, seed))


def write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    """Write a tar of these members, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as taped:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            taped.addfile(member, io.BytesIO(content))
    return path


def samples(first: int, count: int, label: Mapping[int, str] | None = None) -> list[tuple[str, bytes]]:
    """Samples `000001.png` with `.json`: domains cat and dog in turn, or those of `label`; empty ones are not said."""
    members = []
    for number in range(first, first + count):
        domain = ("cat", "dog")[number % 2] if label is None or number not in label else label[number]
        told = {"split": "train"} | ({"domain": domain} if domain else {})
        members += [(f"{number:06}.png", picture(number)), (f"{number:06}.json", json.dumps(told).encode())]
    return members
