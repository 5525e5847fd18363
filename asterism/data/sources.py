"""The kinds of data that `--data` takes; a new kind is a file and a line in SOURCES."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from asterism.config import DataConfig
from asterism.data.collection import Collection, DataError
from asterism.data.folder import is_folder, read_folder
from asterism.data.pack import is_pack, read_pack
from asterism.data.table import is_table, read_table

__all__ = ["SOURCES", "Collection", "DataError", "read_source"]

SOURCES: tuple[tuple[Callable[[Path], bool], Callable[[Path, DataConfig], Collection]], ...] = (
    (is_pack, read_pack),
    (is_table, read_table),
    (is_folder, read_folder),
)
"""(does it read this path, read it), asked in order."""


def read_source(path: str | Path, config: DataConfig) -> Collection:
    """Read one data set from a folder, a table or a pack.

    Raises:
        DataError: nothing there, or data that this kind of source cannot take.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError(f"{path} does not exist; expected a folder of pictures or a table of labels")
    for detects, read in SOURCES:
        if detects(path):
            return read(path, config)
    raise DataError(f"{path} is no folder and no table of labels (.csv, or .txt in CelebA's format)")
