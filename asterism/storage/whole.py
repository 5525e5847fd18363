"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PARTIAL = ".partial-"
"""How the name begins of what is not whole yet; a kill may leave it."""


@contextmanager
def writing(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """Yield a place to write a file or a folder to, which takes the place of `path` when the block ends without an error.

    A reader sees what stood there before or the whole of the new, and a failure leaves nothing behind. The yielded place is
    free, hidden, beside `path`, and ends as its name does.

    Args:
        path: a file to write or replace, or a folder that is not there yet; its own folder is made where it is missing.
        sync: have the content on the disk before it takes the name, so that a power cut spoils neither.

    Raises:
        OSError: no room on the disk, or no right to write; it names `path`.
    """
    partial = path.with_name(f"{PARTIAL}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        for file in [f for f in (partial, *partial.rglob("*")) if f.is_file()] if sync else ():
            with open(file, "r+b") as written:
                os.fsync(written.fileno())
        os.replace(partial, path)
    except OSError as error:
        if error.errno is not None and (error.filename is None or str(error.filename).startswith(str(partial))):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Write a file, or replace it, as `writing` does.

    Raises:
        OSError: no room on the disk, or no right to write.
    """
    with writing(path, sync=sync) as partial:
        partial.write_bytes(content)


def write_json(path: Path, values: Any) -> None:
    """Write JSON values for people and programs, as `writing` does."""
    write_whole(path, (json.dumps(values, indent=2) + "\n").encode())
