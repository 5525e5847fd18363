"""What a file is that was taken for a model: a web page, a pointer to it, or a part of it."""

from __future__ import annotations

import zipfile
from pathlib import Path


def mistaken(path: Path) -> str:
    """Say what a file is that was taken for a model, where its first bytes tell; empty where they do not."""
    if not path.is_file():
        return "is no file: expected a checkpoint"
    with open(path, "rb") as file:
        head = file.read(512).lstrip().lower()
    if not head:
        return "is empty: download it again"
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS and not the file itself: fetch that by git lfs pull"
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page and no model: download the file that the page links to"
    if head.startswith(b"pk\x03\x04") and not zipfile.is_zipfile(path):
        return "is cut off: download it again"
    return ""
