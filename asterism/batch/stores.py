"""Files here or in a store: local paths, and the addresses that fsspec knows, such as s3://bucket/folder.

An address of a store has a scheme (`s3://`, `gs://`, `file://`); everything else is a local path. This imports no PyTorch, for
processes that only read and write.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from asterism.config import ConfigError
from asterism.storage.whole import writing


def is_remote(address: str) -> bool:
    """Say whether an address is of a store."""
    return "://" in address


def store(address: str) -> tuple[Any, str]:
    """Return the file system of an address and the path in it.

    Raises:
        ConfigError: fsspec, or what it needs for this scheme, is not installed.
    """
    try:
        import fsspec

        fs, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise ConfigError(f'{address}: {error}; pip install "asterism[ray]", and s3fs, gcsfs or adlfs for its store') from error
    return fs, str(path)


class Place:
    """A folder for results, here or in a store; what is written to it is there as a whole or not at all.

    Stores put an object as a whole; where a scheme writes in parts (such as `sftp://`), that is as good as it does.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/") if is_remote(address) else str(Path(address).absolute())
        self.remote = is_remote(address)

    def names(self) -> set[str]:
        """Return the names of all files in it, relative to it."""
        if self.remote:
            fs, path = store(self.address)
            fs.invalidate_cache()
            try:
                return {name[len(path) :].lstrip("/") for name in fs.find(path)}
            except FileNotFoundError:
                return set()
        walked = os.walk(self.address)
        return {os.path.relpath(os.path.join(folder, file), self.address) for folder, _, files in walked for file in files}

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        if self.remote:
            fs, path = store(self.address)
            return bytes(fs.cat_file(f"{path}/{name}"))
        return Path(self.address, name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Write a file, or replace it."""
        if self.remote:
            fs, path = store(self.address)
            target = f"{path}/{name}"
            fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            fs.pipe_file(target, content)
        else:
            with writing(Path(self.address, name)) as partial:
                partial.write_bytes(content)

    def remove(self, name: str) -> None:
        """Remove a file."""
        if self.remote:
            fs, path = store(self.address)
            fs.rm_file(f"{path}/{name}")
        else:
            Path(self.address, name).unlink()
