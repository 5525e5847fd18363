"""The kinds of data that `--data` accepts; a new kind needs a file and a line in SOURCES."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from asterism.cache import is_archive, unpacked
from asterism.config import DataConfig
from asterism.data.collection import Collection
from asterism.data.folder import read_folder
from asterism.data.listing import DataError, Listing
from asterism.data.pack import Pack, is_pack
from asterism.data.pairs import directed
from asterism.data.pictures import probe
from asterism.data.table import read_cells, read_pattern, read_table
from asterism.shards import Shards, is_shards
from asterism.tables.cells import is_table


def read_pack(path: Path, config: DataConfig) -> Collection:
    """Read a packed data set as the data set itself would be read.

    Raises:
        DataError: a damaged pack; another size, crop or number of channels than it was packed with; and what the data set
            itself would raise.
    """
    pack = Pack.open(path)
    height, width = pack.size
    asked = {"size": config.size, "crop": config.crop, "channels": config.channels or pack.channels}
    held = {"size": pack.size, "crop": pack.crop, "channels": pack.channels}
    if pack.depth == 32:  # Features are cropped when they are loaded.
        held = {"channels": pack.channels}
    for key, value in held.items():
        if asked[key] != value:
            words, given = (f"{v[0]}x{v[1]}" if isinstance(v, tuple) else v for v in (value, asked[key]))
            raise DataError(
                f"{path} was packed with --data.{key} {words}, this run asks for {given}: give --data.{key} {words}, or pack "
                f"the data again with --data.{key} {given}"
            )
    config = replace(config, pairs=config.pairs or pack.pairs)
    if pack.table is None:
        return replace((read_pattern if config.pattern else read_folder)(path, config, pack.listing), pack=pack)
    return replace(read_table(path / pack.table, config, pack.listing), pack=pack)


def read_shards(source: str | Path, config: DataConfig) -> Collection:
    """Read shards by what they say of each picture, or else by the names of the pictures, as files are; errors as of these."""
    shards = Shards.open(source, probe)
    table, listing = shards.table(), Listing(Path(shards.root), shards.name, shards.files, [])
    if config.pattern or shards.says_nothing:
        found = (read_pattern if config.pattern else read_folder)(listing.root, config, listing)
    else:
        found = read_cells(table, listing, config, [], [])
    return replace(found, notes=[*shards.remarks, *found.notes])


SOURCES: tuple[tuple[Callable[[Path], bool], Callable[[Path, DataConfig], Collection]], ...] = (
    (is_pack, read_pack),
    (is_table, read_table),
    (Path.is_dir, read_folder),
)
"""(does it read this path, read it), asked in order."""


def place(path: str | Path) -> Path:
    """Return where a data set lies: the path itself, or of an archive the folder that it is unpacked to.

    Raises:
        DataError: nothing there, or a damaged archive.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError(f"{path} does not exist; expected a folder of pictures, a table of labels, or a zip or tar of these")
    return unpacked(path) if is_archive(path) else path


def read_source(path: str | Path, config: DataConfig) -> Collection:
    """Read one data set from a folder, a table, a pack, or a zip or tar of these.

    Raises:
        DataError: nothing there, or data that this kind of source cannot take; `config.pairs` of what holds none.
    """
    if is_shards(path):
        return directed(read_shards(path, config), config.pairs)
    path = place(path)
    for detects, read in SOURCES:
        if detects(path):
            found = (read_pattern if config.pattern and read in (read_table, read_folder) else read)(path, config)
            return directed(found, config.pairs or (found.pack.pairs if found.pack else None))
    raise DataError(f"{path} is neither a folder nor a table of labels (.csv, or .txt in CelebA's format), nor a zip or tar")
