"""Examine data before training: count labels and pictures, list omissions, predict errors."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from asterism.config import DataConfig
from asterism.data.collection import Collection
from asterism.data.dataset import Datasets, collect, join, probe_all
from asterism.data.halves import divided, read_row
from asterism.data.listing import SPLITS, DataError, some
from asterism.data.pictures import Header, PictureError, PictureFormat
from asterism.data.sources import read_source
from asterism.doctor import pairs
from asterism.inference.outcome import CLIPPED, beyond
from asterism.labels import LabelError
from asterism.shards import content_of, size_of
from asterism.tables.compact import Coded, batched, taken, with_several

RARE_SHARE = 0.05
"""A label that fewer training pictures have, or lack, is called rare."""
UNEVEN_RATIO = 5
"""Alternatives are called uneven when one has this many times the pictures of another."""
FEW_HELD_OUT = 10
"""Below this number of pictures of a label in a split, scores are imprecise: 3 of 3 and 2 of 3 differ by 33 points."""
DISTINCT_SIZES = 6
"""More sizes than these are counted in ranges."""

Headers = Coded[Header | PictureError]

Values = tuple[float, float, float]
"""A picture's lowest and highest stored value, and the share of them beyond the value range."""


@dataclass
class Spread:
    """The lowest and the highest value of some pictures, and the sum of the shares that lie beyond the value range."""

    low: float = math.inf
    high: float = -math.inf
    clipped: float = 0.0
    pictures: int = 0

    def add(self, values: Values) -> None:
        """Take in a picture."""
        self.low, self.high = min(self.low, values[0]), max(self.high, values[1])
        self.clipped, self.pictures = self.clipped + values[2], self.pictures + 1


@dataclass
class LabelCount:
    """How many pictures of each split have a label; `unknown` counts empty cells over all splits.

    Of a number these are the pictures whose number is known, and `values` its lowest, mean and highest value over all splits.
    """

    name: str
    kind: str
    train: int
    val: int
    test: int
    unknown: int
    values: list[float] = field(default_factory=list)


@dataclass
class DatasetReport:
    """What one dataset holds, of pictures or of `what` they are; file names are relative to `root`.

    `values` are the lowest and the highest stored one, `clipped` is the share that lies beyond `--data.value_range`. Of
    `unknown` pictures no label is known, `unlabelled` ones are left out.
    """

    name: str
    root: str
    pictures: dict[str, int]
    labels: list[LabelCount]
    sizes: dict[str, int]
    formats: dict[str, int]
    values: list[float]
    clipped: float
    unreadable: list[tuple[str, str]]
    missing: list[str]
    unknown: int
    unlabelled: list[str]
    stray: list[str]
    notes: list[str]
    what: str = "pictures"


@dataclass
class Diagnosis:
    """The result of `examine`: `problems` keep training from starting, `warnings` do not.

    `duplicates` are groups of files with the same bytes. `opened` are the data as training would take them, without the
    pictures that cannot be decoded; none where there are problems.
    """

    datasets: list[DatasetReport] = field(default_factory=list)
    duplicates: list[list[str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    opened: Datasets | None = field(default=None, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Whether training would start."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, `ok` among them and `opened` not."""
        values = dataclasses.asdict(dataclasses.replace(self, opened=None))
        del values["opened"]
        return {"ok": self.ok, **values}


def examine(
    config: DataConfig,
    progress: Callable[[int, int], None] | None = None,
    labels_needed: bool = True,
    two_kinds: bool = True,
) -> Diagnosis:
    """Read and decode everything that `config` names; bad data is reported, never raised.

    Args:
        progress: told (pictures done, pictures in all) after every picture.
        labels_needed, two_kinds: as for `open_data`.
    """
    diagnosis = Diagnosis()
    collections = _collect(config, diagnosis, labels_needed)
    headers = [probe_all(collection) for collection in collections]
    headers, values = _decode_all(collections, headers, config.value_range or (0, np.inf), progress)
    if collections and diagnosis.ok:
        try:
            diagnosis.opened = join(collections, headers, config, two_kinds)
        except (DataError, LabelError) as error:
            diagnosis.problems.append(str(error))
    for index, (collection, held, found) in enumerate(zip(collections, headers, values, strict=True)):
        report = _report(collection, held, found)
        diagnosis.datasets.append(report)
        texts = _warnings(collection, held, report, config)
        if (opened := diagnosis.opened) is not None and collection.groups[0].kind == "one_of":
            texts += pairs.warnings_of([opened.splits[split][index] for split in SPLITS], opened.picture)
            if opened.picture.source:
                report.notes.append(f"pairs lead from {opened.picture.source.words} to {opened.picture.made.words}")
        diagnosis.warnings += [f"{report.name}: {text}" for text in texts]
    seen = [value for report in diagnosis.datasets for value in report.values]
    picture = diagnosis.opened.picture if diagnosis.opened else None
    if picture and not picture.source and seen and (text := picture.little_used(min(seen), max(seen))):
        diagnosis.warnings.append(f"{text}: say --data.value_range {_suited(min(seen), max(seen), picture)}")
    diagnosis.duplicates = _duplicates(collections, diagnosis.warnings)
    return diagnosis


# -- examining ---------------------------------------------------------------------------------------------------------


def _collect(config: DataConfig, diagnosis: Diagnosis, labels_needed: bool) -> list[Collection]:
    """Read the sources; where they cannot be joined, still return those that can be read."""
    try:
        return collect(config, labels_needed)
    except (DataError, LabelError, OSError) as error:
        diagnosis.problems.append(str(error))
    readable = []
    for path in config.sources:
        try:
            readable.append(read_source(path, config))
        except (DataError, LabelError, OSError) as error:
            if str(error) not in diagnosis.problems:
                diagnosis.problems.append(str(error))
    return readable


def _decode_all(
    collections: Sequence[Collection],
    headers: Sequence[Headers],
    value_range: tuple[float, float],
    progress: Callable[[int, int], None] | None,
) -> tuple[list[Headers], list[Spread]]:
    """Decode every picture; return the headers, the error instead of those that cannot be, and the values of each dataset."""

    def attempt(path: Path, header: Header | PictureError) -> tuple[Header | PictureError, Values | None]:
        try:
            return header, measure(read_row(path)) if isinstance(header, Header) else None
        except PictureError as error:
            return error, None

    def measure(array: np.ndarray) -> Values:
        return array.min().item(), array.max().item(), beyond(array, *value_range)

    def decoded(collection: Collection, held: Headers, spread: Spread) -> Iterator[Header | PictureError]:
        rows = zip(collection.files, held, strict=True)
        if (pack := collection.pack) is not None:  # Decoded when it was packed.
            for picture in pack.pictures:
                spread.add(measure(picture))
            yield from (PictureError(pack.broken[file]) if file in pack.broken else header for file, header in rows)
            return
        for part in batched(rows):
            for header, values in pool.map(attempt, [collection.root / file for file, _ in part], [own for _, own in part]):
                if values is not None:
                    spread.add(values)
                if progress is not None:
                    progress(next(done), total)
                yield header

    total, done, spreads = sum(len(c.files) for c in collections), itertools.count(1), [Spread() for _ in collections]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [Coded.of(decoded(*parts)) for parts in zip(collections, headers, spreads, strict=True)]
    return found, spreads


def _report(collection: Collection, headers: Headers, values: Spread) -> DatasetReport:
    counts = {header: count for header, count in headers.counts().items() if isinstance(header, Header)}
    formats = Counter[str]()
    for header, count in counts.items():
        formats[f"{header.channels} channel{'s' * (header.channels > 1)}, {header.depth} bits"] += count
    readable = headers.each(lambda header: isinstance(header, Header))
    split = Coded.of(collection.split)
    return DatasetReport(
        name=collection.name,
        root=str(collection.root),
        pictures={name: int((readable & split.each(name.__eq__)).sum()) for name in SPLITS},
        labels=count_labels(collection, readable),
        sizes=_count_sizes(counts),
        formats=dict(formats.most_common()),
        values=[values.low, values.high] if values.pictures else [],
        clipped=values.clipped / max(1, values.pictures),
        unreadable=[(collection.files[row], str(error)) for row, error in headers.of_kind(PictureError)],
        missing=collection.missing,
        unknown=int((readable & ~collection.known.any(1)).sum()),
        unlabelled=collection.unlabelled,
        stray=collection.stray,
        notes=collection.notes,
    )


def count_labels(collection: Collection, readable: np.ndarray) -> list[LabelCount]:
    """Count those of a collection's pictures that are readable, bool [M], by label and split."""
    split = Coded.of(collection.split)
    rows = {name: readable & split.each(name.__eq__) for name in SPLITS}
    unknown = (~collection.known[readable]).sum(0).tolist()
    kinds: dict[str, str] = {}
    for group in collection.groups:
        exclusive = {name for names in group.exclusive for name in names}
        kinds |= {label: "exclusive" if label in exclusive else group.kind for label in group.labels}
    counts = []
    for i, (label, kind) in enumerate(kinds.items()):
        counted = collection.known if kind == "number" else collection.labels
        train, val, test = (int(counted[rows[name], i].sum()) for name in SPLITS)
        values = collection.labels[readable & collection.known[:, i], i] if kind == "number" else np.zeros(0)
        spread = [round(float(v), 6) for v in (values.min(), values.mean(), values.max())] if len(values) else []
        counts.append(LabelCount(label, kind, train, val, test, unknown[i], spread))
    return counts


def _count_sizes(counts: Mapping[Header, int]) -> dict[str, int]:
    """Count pictures by size, WxH, or by the range of the shorter side where there are many sizes."""
    sizes = Counter[tuple[int, int]]()
    for header, count in counts.items():
        sizes[header.width, header.height] += count
    if len(sizes) <= DISTINCT_SIZES:
        return {f"{w}x{h}": count for (w, h), count in sorted(sizes.items())}
    ranges: Counter[int] = Counter()
    for (width, height), count in sizes.items():
        ranges[min(width, height).bit_length()] += count
    return {f"shorter side {2 ** (bits - 1)}-{2**bits - 1}": count for bits, count in sorted(ranges.items())}


def _warnings(collection: Collection, headers: Headers, report: DatasetReport, config: DataConfig) -> list[str]:
    """List what does not keep training from starting but may spoil it."""
    found = []
    if collection.no_labels:
        found.append(
            "no labels: recipes that generate pictures can train on these; recipes that translate need labels "
            "(asterism list says which do what)"
        )
    if report.unreadable:
        found.append(f"pictures that cannot be read, left out: {len(report.unreadable):,}")
    uses = {"val": ("validation", "no best checkpoint is chosen"), "test": ("test", "asterism evaluate has nothing to measure")}
    for split, (name, lost) in uses.items():
        few = [f"{label.name} {getattr(label, split)}" for label in report.labels if getattr(label, split) < FEW_HELD_OUT]
        if not report.pictures[split]:
            found.append(f"no {name} pictures, so {lost}: add pictures to the split {split!r}, or more pictures in all")
        elif few:
            found.append(f"{some(few, f'labels with few {name} pictures, so scores are imprecise')}; add some")
    if report.clipped > CLIPPED:
        found.append(f"{report.clipped:.1%} of the values lie beyond --data.value_range and are clipped")
    if report.missing:
        found.append(some(report.missing, "rows of the table without a picture, left out"))
    if report.unlabelled:
        found.append(some(report.unlabelled, "pictures without a label, left out"))
    if torn := with_several(collection.identity, collection.split) if collection.identity else []:
        found.append(some(torn, "identities in several splits, so scores include training data"))
    height, width = config.size
    small = headers.where(lambda h: isinstance(h, Header) and h.depth < 32 and (h.height < height or h.width < width))
    if len(small):
        told = some(taken(collection.files, small), f"pictures smaller than {width}x{height}, which will be enlarged")
        found.append(f"{told}; a smaller --data.size leaves them as they are")
    return found + _imbalance(collection, report)


def _imbalance(collection: Collection, report: DatasetReport) -> list[str]:
    counts = {label.name: label.train for label in report.labels}
    remedy = "--data.balance draws them equally often"
    found = []
    for group in collection.groups:
        for names in [group.labels] if group.kind == "one_of" else group.exclusive:
            most, least = max(names, key=counts.__getitem__), min(names, key=counts.__getitem__)
            if counts[most] > UNEVEN_RATIO * counts[least]:
                found.append(f"uneven: {counts[most]:,} training pictures of {most}, {counts[least]:,} of {least}; {remedy}")
    total = max(1, report.pictures["train"])
    shares = {label.name: label.train / total for label in report.labels if label.kind == "binary"}
    rare = [f"{name} {share:.1%}" for name, share in shares.items() if 0 < share < RARE_SHARE or 1 - RARE_SHARE < share < 1]
    return found + ([f"{some(rare, 'labels that few training pictures have, or lack')}; {remedy}"] if rare else [])


def equal(names: Sequence[str]) -> str:
    """Say that some files are the same: 'a.png = b.png'."""
    return " = ".join(names[:3]) + (" = ..." if len(names) > 3 else "")


def _duplicates(collections: Sequence[Collection], warnings: list[str]) -> list[list[str]]:
    """Find files with the same bytes; warn of those with other labels or in another split."""
    starts = np.cumsum([0, *(len(collection.files) for collection in collections)])

    def content(row: int) -> tuple[bytes, int | None]:
        file, half = divided(path(*place(row)))
        return hashlib.sha256(content_of(file)).digest(), half

    def place(row: int) -> tuple[int, int]:
        c = int(np.searchsorted(starts, row, "right")) - 1
        return c, row - int(starts[c])

    def path(c: int, i: int) -> Path:
        return collections[c].root / collections[c].files[i]

    paths = (collection.root / file for collection in collections for file in collection.files)
    sizes = np.fromiter(map(_size, paths), np.int64, starts[-1])
    likely = np.flatnonzero((sizes > 0) & _of_several(sizes))
    likely = likely[_of_several(np.fromiter((hash(content(row)) for row in likely.tolist()), np.int64, len(likely)))]
    by_content: dict[tuple[bytes, int | None], list[tuple[int, int]]] = defaultdict(list)
    for row in likely.tolist():  # Few, so that these are read once more.
        by_content[content(row)].append(place(row))
    groups = [places for places in by_content.values() if len(places) > 1]
    names = [[str(path(*one)) for one in places] for places in groups]

    def those(wrong: Callable[[list[tuple[int, int]]], bool]) -> list[str]:
        return [equal(shown) for shown, places in zip(names, groups, strict=True) if wrong(places)]

    if leaks := those(lambda places: len({collections[c].split[i] for c, i in places}) > 1):
        warnings.append(some(leaks, "the same picture in two splits", 1))
    # Within a dataset, since labels of different ones cannot be compared.
    if clashes := those(
        lambda places: len({(c, collections[c].labels[i].tobytes()) for c, i in places}) > len({*dict(places)})
    ):
        warnings.append(some(clashes, "the same picture with different labels", 1))
    return names


def _size(path: Path) -> int:
    """Return how many bytes a file has; -1 if it is gone since it was listed, or cannot be read, which is reported as such."""
    try:
        return size_of(divided(path)[0])
    except OSError:
        return -1


def _of_several(values: np.ndarray) -> np.ndarray:
    """Say which values come more than once: bool [M]."""
    _, kind, count = np.unique(values, return_inverse=True, return_counts=True)
    return count[kind] > 1


def _suited(bottom: float, top: float, picture: PictureFormat) -> str:
    """Return the `--data.value_range` for such values: all of as many bits, or their own where that is about all of it."""
    if picture.depth == 32:
        return f"{bottom:g},{top:g}"
    bits = 2 ** int(top).bit_length() - 1
    return f"0,{bits}" if bits < picture.high / 2 else f"{bottom:.0f},{top:.0f}"
