"""Write packs: decode, crop and resize every picture of every data set once."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from asterism.config import DataConfig
from asterism.data import sources
from asterism.data.arrays import STORED
from asterism.data.collection import Collection
from asterism.data.dataset import PictureSet, collect, join, probe_all
from asterism.data.folder import read_folder
from asterism.data.listing import SPLITS, DataError, list_pictures, list_recordings
from asterism.data.pack import DESCRIPTION, FORMAT, PIXELS
from asterism.data.pictures import Header, PictureError, PictureFormat
from asterism.data.reading import read_picture
from asterism.data.table import read_table
from asterism.packing.recordings import pack_recordings, places
from asterism.shards import is_shards
from asterism.storage.whole import writing

PACKABLE = (read_folder, read_table)

CHUNK = 256
"""Pictures that are decoded side by side before they are written."""


def pack(
    config: DataConfig,
    out: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> list[tuple[Path, int, list[str]]]:
    """Write a pack of every data set that `config` names: `out` itself, or a folder in it for each of several.

    Several data sets that will be joined are packed together, since they share channels and depth. A pack is written beside
    its place and then moved there: it is whole or not there.

    Folders of recordings become log-mels (`asterism.packing.recordings`).

    Args:
        progress: told (pictures done, pictures in all).
        say: told what a person should know of recordings.

    Returns:
        For each data set the pack's folder, its bytes, and a sentence for every picture that cannot be decoded.

    Raises:
        DataError: what training on these data would raise; `out` is there already; a source is a pack, or of another kind
            than those that a pack is read as.
        OSError: the disk is full or not writable.
    """
    if any(list_recordings(Path(source).expanduser()) for source in config.sources):
        return pack_recordings(config, out, progress, say)
    collections = collect(config, labels_needed=False)
    for source, collection in zip(config.sources, collections, strict=True):
        if collection.pack is not None:
            raise DataError(f"{collection.root} is already a pack; pack the original data")
        if is_shards(source):
            raise DataError(
                f"{source} is shards, which training reads as they are; --out packs files, --shards cuts shards anew"
            )
        if next(read for detects, read in sources.SOURCES if detects(sources.place(source))) not in PACKABLE:
            raise DataError(
                f"{source} cannot be packed: a pack is read as the folder per domain or the table that it was made of"
            )
    targets = places(out, [collection.name for collection in collections])
    headers = [probe_all(c) for c in collections]
    datasets = join(collections, headers, config, two_kinds=True)
    total, done = sum(len(s) for sets in datasets.splits.values() for s in sets), itertools.count(1)

    def told() -> None:
        progress(next(done), total)

    results = []
    for index, (collection, target) in enumerate(zip(collections, targets, strict=True)):
        sets = [datasets.splits[split][index] for split in SPLITS]
        unreadable = {
            path.relative_to(collection.root).as_posix(): reason
            for path, reason in datasets.broken
            if path.is_relative_to(collection.root)
        }
        with writing(target, sync=True) as partial:
            partial.mkdir()
            shape = _shape(datasets.picture, headers[index])
            broken = _write(partial, config, index, collection, sets, datasets.picture, shape, unreadable, told)
        size = sum(f.stat().st_size for f in target.iterdir())
        results.append((target, size, [f"{file}: {reason}" for file, reason in broken.items()]))
    return results


def _shape(picture: PictureFormat, headers: Sequence[Header | PictureError]) -> tuple[int, int, int]:
    """Return the shape of a packed picture [C, H, W]: fitted, but features whole, all as wide as the widest."""
    widest = max(header.width for header in headers if isinstance(header, Header))
    return max(picture.channels, picture.taken.channels), picture.height, widest if picture.depth == 32 else picture.width


def _write(
    folder: Path,
    config: DataConfig,
    index: int,
    collection: Collection,
    sets: list[PictureSet],
    picture: PictureFormat,
    shape: tuple[int, int, int],
    unreadable: dict[str, str],
    told: Callable[[], None],
) -> dict[str, str]:
    """Write the three parts of a pack; return the broken pictures with the reason."""
    given = sources.place(config.sources[index])
    for table in collection.tables:
        (folder / table).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(collection.root / table, folder / table)
    named = given.absolute().relative_to(collection.root.absolute()).as_posix() if given.is_file() else "."
    broken = dict(unreadable)
    whole = (sum(map(len, sets)), *shape)
    depth = max(picture.depth, picture.taken.depth)
    dtype = np.dtype(STORED[depth])
    features: dict[str, list[Any]] = {"widths": [], "values": []}
    with open(folder / PIXELS, "wb") as file:  # By writes, not through a map: a full disk is then an error, not a signal.
        np.lib.format.write_array_header_1_0(
            file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": whole}
        )
        for path, pixels in _decoded(sets, picture):
            if isinstance(pixels, PictureError):
                broken[path.relative_to(collection.root).as_posix()] = str(pixels)
                pixels = np.zeros(shape, dtype)
            if picture.depth == 32:
                features["widths"].append(pixels.shape[2])
                features["values"].append([float(pixels.min()), float(pixels.max())])
                pixels = np.pad(pixels, ((0, 0), (0, 0), (0, shape[2] - pixels.shape[2])), mode="edge")
            if pixels.shape[0] < shape[0] or pixels.dtype != dtype:  # Of a kind with fewer channels or bits.
                pixels = np.pad(pixels.astype(dtype), ((0, shape[0] - pixels.shape[0]), (0, 0), (0, 0)))
            file.write(pixels.tobytes())
            told()
    listing = list_pictures(collection.root)
    description = {
        "format": FORMAT,
        "name": listing.name,
        "table": named if collection.tables else None,
        "size": shape[1:],
        "crop": picture.crop,
        "channels": shape[0],
        "depth": depth,
        "kinds": asdict(picture) if picture.source else None,
        "pairs": config.pairs,
        "files": [path.relative_to(collection.root).as_posix() for s in sets for path in s.paths],
        "broken": broken,
        "pictures": list(listing.pictures),
        "others": listing.others,
    }
    description |= features if picture.depth == 32 else {}
    (folder / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
    return broken


def _decoded(sets: list[PictureSet], picture: PictureFormat) -> Iterator[tuple[Path, np.ndarray[Any, Any] | PictureError]]:
    """Yield every picture, fitted, or why it cannot be decoded; in order, several at a time."""

    def attempt(place: tuple[PictureSet, int]) -> np.ndarray[Any, Any] | PictureError:
        held, row = place
        try:
            kind = held.source if held.source and held.is_source[row] else picture
            return read_picture(held, row, kind, fitted=picture.depth < 32)
        except PictureError as error:
            return error

    places = ((s, row) for s in sets for row in range(len(s)))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while chunk := list(itertools.islice(places, CHUNK)):
            yield from zip((s.paths[row] for s, row in chunk), pool.map(attempt, chunk), strict=True)
