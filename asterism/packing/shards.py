"""Write shards: the files of any source as tars in WebDataset's form, with their labels, splits and identities.

The bytes of a picture's file are copied as they are, so training from the shards is training from the files. Each shard is
written whole or not at all, with its index beside it, and a command that was interrupted goes on after the last whole shard.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from asterism.config import DataConfig
from asterism.data.collection import Collection
from asterism.data.dataset import collect
from asterism.data.halves import divided, read_row
from asterism.data.listing import SPLITS, DataError
from asterism.data.pictures import PictureError, encode, probe
from asterism.shards import content_of, size_of
from asterism.shards.index import index_of
from asterism.shards.places import Place
from asterism.storage.whole import PARTIAL, write_json, writing

PLAN = "shards.json"
"""What the shards of a folder are written from, by which an interrupted command knows its own."""

Cells = dict[str, str | int | float | None]
"""What is known of a picture, as its `.json` says it."""

Written = tuple[Path, int, list[str]]


@dataclass(frozen=True)
class Sample:
    """A picture as it will be in a shard: its file, its name there without a suffix, what is known of it, its bytes."""

    path: Path
    key: str
    cells: Cells
    size: int


def write_shards(
    config: DataConfig,
    out: Path,
    per_shard: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> list[Written]:
    """Write the pictures of a source as `train-000000.tar`, `val-...` and `test-...` of about `per_shard` bytes each.

    What `out` holds already of the same pictures and sizes is kept.

    Args:
        per_shard: bytes after which a shard ends; one picture larger than that is a shard of its own.
        progress: told (pictures done, pictures in all).
        say: told what goes on where.

    Returns:
        The folder, its bytes, and a sentence for every picture whose file is not readable.

    Raises:
        DataError: several sources; a pack; label maps with instance maps; `out` holds other shards, or no shards.
        OSError: the disk is full or not writable.
    """
    if len(config.sources) != 1:
        raise DataError("shards hold one data set: give one DATA, and another --shards for each other")
    collection = collect(config, labels_needed=False)[0]
    if collection.pack is not None:
        raise DataError(f"{collection.root} is a pack, which holds no files: write shards of the original data")
    if collection.instances:
        raise DataError(f"{collection.root} has maps of instances beside its pictures, which shards do not hold")
    broken: list[str] = []
    plan = [(split, list(shards)) for split, shards in _planned(collection, config, per_shard, broken)]
    named = [(f"{split}-{number:06}.tar", shard) for split, shards in plan for number, shard in enumerate(shards)]
    _claim(out, {"shards": [name for name, _ in named], "hash": _hash(named)})
    total, done, kept = sum(len(shard) for _, shard in named), 0, 0
    for name, shard in named:
        if (out / name).is_file():
            kept += 1
            done += len(shard)
        else:
            for _ in _write(out / name, shard, broken):
                done += 1
                progress(done, total)
    if kept:
        say(f"{kept:,} of {len(named):,} shards were there already")
    for remark in collection.remarks():
        say(f"{collection.name}: {remark}")
    return [(out, sum((out / name).stat().st_size for name, _ in named), broken)]


def _planned(
    collection: Collection, config: DataConfig, per_shard: int, broken: list[str]
) -> Iterator[tuple[str, Iterator[list[Sample]]]]:
    """Yield each split with its pictures, cut into shards."""
    cells = cells_of(collection, config)
    keys = _keys(collection.files)
    for split in SPLITS:
        rows = [row for row, said in enumerate(collection.split) if said == split]
        samples = list[Sample]()
        for row in rows:
            path = collection.root / collection.files[row]
            try:
                samples.append(Sample(path, keys[row], cells[row], size_of(divided(path)[0])))
            except OSError as error:
                broken.append(f"{collection.files[row]}: {error.strerror or error}")
        if samples:
            yield split, _cut(samples, per_shard)


def _cut(samples: Sequence[Sample], per_shard: int) -> Iterator[list[Sample]]:
    held, size = list[Sample](), 0
    for sample in samples:
        needed = sample.size + 3 * 512 + len(json.dumps(sample.cells))
        if held and size + needed > per_shard:
            yield held
            held, size = [], 0
        held.append(sample)
        size += needed
    yield held


def cells_of(collection: Collection, config: DataConfig) -> list[Cells]:
    """Return what is known of each picture, as the columns of a table from which the same labels are read."""
    cells: list[Cells] = [{"split": split} for split in collection.split]
    texts = [word.strip() for word in config.labels.split(",") if word.strip() in collection.columns]
    texts = [name for name in texts if not any(name in group.labels for group in collection.groups)]
    start = 0
    for number, group in enumerate(collection.groups):
        stop = start + len(group.labels)
        labels, known = collection.labels[:, start:stop], collection.known[:, start:stop]
        start = stop
        column = texts.pop(0) if texts else f"label{number}" if number else "domain"
        for own, values, filled in zip(cells, labels, known, strict=True):
            if group.kind == "one_of":
                own[column] = group.labels[int(values.argmax())] if filled.any() else None
            elif group.kind == "number":  # As float32 is written shortest.
                own |= {n: float(str(v)) if f else None for n, v, f in zip(group.labels, values, filled, strict=True)}
            else:
                own |= {n: int(v) if f else None for n, v, f in zip(group.labels, values, filled, strict=True)}
    for own, identity in zip(cells, collection.identity or (), strict=False):
        own["pair_id"] = identity or None
    return cells


def _keys(files: Sequence[str]) -> list[str]:
    """Return names without suffix, and without dots, which end a sample's name in a tar; all different."""
    keys, taken = list[str](), set[str]()
    for file in files:
        path = PurePosixPath(divided(file)[0])
        half = divided(file)[1]
        key = (path.parent / path.stem.replace(".", "_")).as_posix() + ("" if half is None else ("-left", "-right")[half])
        if key in taken:
            key = f"{key}_{path.suffix[1:]}"
        while key in taken:
            key += "_"
        taken.add(key)
        keys.append(key)
    return keys


def _hash(named: Sequence[tuple[str, Sequence[Sample]]]) -> str:
    whole = sha256()
    for name, shard in named:
        whole.update(json.dumps([name, *([str(s.path), s.key, s.cells, s.size] for s in shard)]).encode())
    return whole.hexdigest()


def _claim(out: Path, plan: dict[str, object]) -> None:
    """Make the folder this command's, or see that it was this command's that was interrupted."""
    if (out / PLAN).is_file():
        if json.loads((out / PLAN).read_text(encoding="utf-8")) == plan:
            for left in out.glob(f"{PARTIAL}*"):
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
            return
        raise DataError(
            f"{out} holds shards of other pictures, labels or sizes, or these have changed since: give another --shards, or "
            "remove it"
        )
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out} already exists and holds other files: give another --shards")
    write_json(out / PLAN, plan)


def _write(target: Path, shard: Sequence[Sample], broken: list[str]) -> Iterator[None]:
    """Write a shard and its index; yield after each picture."""
    with writing(target, sync=True) as partial:
        with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as taped:
            for sample in shard:
                try:
                    suffix, content = _content(sample.path)
                except (PictureError, OSError) as error:
                    broken.append(f"{sample.path}: {error}")
                    yield
                    continue
                _add(taped, sample.key + suffix, content)
                _add(taped, f"{sample.key}.json", json.dumps(sample.cells).encode())
                yield
    status = target.stat()
    index_of(Place(target.absolute().as_posix(), status.st_size, str(status.st_mtime_ns)), probe)


def _content(path: Path) -> tuple[str, bytes]:
    """Return a picture's file, with its suffix; half of a picture becomes a file of its own that loses nothing."""
    file, half = divided(path)
    if half is None:
        return path.suffix.lower(), content_of(path)
    pixels = read_row(path)
    suffix = ".png" if pixels.dtype.itemsize == 1 and pixels.shape[2] < 5 or pixels.shape[2] == 1 else ".tif"
    return suffix, encode(pixels, suffix)


def _add(taped: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644  # No times and owners: equal pictures make equal shards.
    taped.addfile(member, io.BytesIO(content))
