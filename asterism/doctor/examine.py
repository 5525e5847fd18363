"""Examine data before training: count labels and pictures, list omissions, predict errors."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
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
from asterism.tables.compact import Coded

RARE_SHARE = 0.05
"""A label that fewer training pictures have, or lack, is called rare."""
UNEVEN_RATIO = 5
"""Alternatives are called uneven when one has this many times the pictures of another."""
FEW_HELD_OUT = 10
"""Below this number of pictures of a label in a split, scores are imprecise: 3 of 3 and 2 of 3 differ by 33 points."""
DISTINCT_SIZES = 6
"""More sizes than these are counted in ranges."""

Values = tuple[float, float, float]
"""A picture's lowest and highest stored value, and the share of them beyond the value range."""


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
    headers = [list(probe_all(collection)) for collection in collections]
    values = _decode_all(collections, headers, config.value_range or (0, np.inf), progress)
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
    headers: list[list[Header | PictureError]],
    value_range: tuple[float, float],
    progress: Callable[[int, int], None] | None,
) -> list[list[Values]]:
    """Decode every picture, and replace the header of each that cannot be by the error; return each dataset's values."""

    def attempt(path: Path, header: Header | PictureError) -> Header | PictureError:
        try:
            if isinstance(header, Header):
                values[-1].append(measure(read_row(path)))
        except PictureError as error:
            return error
        return header

    def measure(array: np.ndarray) -> Values:
        return array.min().item(), array.max().item(), beyond(array, *value_range)

    values: list[list[Values]] = []
    total, done = sum(len(c.files) for c in collections), 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for collection, held in zip(collections, headers, strict=True):
            values.append([])
            if collection.pack is not None:  # Decoded when it was packed.
                values[-1] += map(measure, collection.pack.pictures)
                reasons = collection.pack.broken
                held[:] = [PictureError(reasons[f]) if f in reasons else h for f, h in zip(collection.files, held, strict=True)]
                done += len(held)
                continue
            paths = [collection.root / file for file in collection.files]
            for row, result in enumerate(pool.map(attempt, paths, list(held))):
                held[row] = result
                done += 1
                if progress is not None:
                    progress(done, total)
    return values


def _report(collection: Collection, headers: Sequence[Header | PictureError], values: Sequence[Values]) -> DatasetReport:
    good = [h for h in headers if isinstance(h, Header)]
    readable = np.array([isinstance(h, Header) for h in headers], bool)
    split = Coded.of(collection.split)
    return DatasetReport(
        name=collection.name,
        root=str(collection.root),
        pictures={name: int((readable & split.each(name.__eq__)).sum()) for name in SPLITS},
        labels=count_labels(collection, readable),
        sizes=_count_sizes(good),
        formats=dict(Counter(f"{h.channels} channel{'s' * (h.channels > 1)}, {h.depth} bits" for h in good).most_common()),
        values=[min(v[0] for v in values), max(v[1] for v in values)] if values else [],
        clipped=sum(v[2] for v in values) / max(1, len(values)),
        unreadable=[(f, str(h)) for f, h in zip(collection.files, headers, strict=True) if isinstance(h, PictureError)],
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


def _count_sizes(headers: Sequence[Header]) -> dict[str, int]:
    """Count pictures by size, WxH, or by the range of the shorter side where there are many sizes."""
    sizes = Counter((h.width, h.height) for h in headers)
    if len(sizes) <= DISTINCT_SIZES:
        return {f"{w}x{h}": count for (w, h), count in sorted(sizes.items())}
    ranges: Counter[int] = Counter()
    for (width, height), count in sizes.items():
        ranges[min(width, height).bit_length()] += count
    return {f"shorter side {2 ** (bits - 1)}-{2**bits - 1}": count for bits, count in sorted(ranges.items())}


def _warnings(
    collection: Collection, headers: Sequence[Header | PictureError], report: DatasetReport, config: DataConfig
) -> list[str]:
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
    places: dict[str, set[str]] = defaultdict(set)
    for identity, split in zip(collection.identity or (), collection.split, strict=False):
        places[identity].add(split)
    if torn := [identity for identity, splits in places.items() if identity and len(splits) > 1]:
        found.append(some(torn, "identities in several splits, so scores include training data"))
    height, width = config.size
    small = [
        f
        for f, h in zip(collection.files, headers, strict=True)
        if isinstance(h, Header) and h.depth < 32 and (h.height < height or h.width < width)
    ]
    if small:
        told = some(small, f"pictures smaller than {width}x{height}, which will be enlarged")
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
    by_size: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for c, collection in enumerate(collections):
        for i, file in enumerate(collection.files):
            try:
                by_size[size_of(divided(collection.root / file)[0])].append((c, i))
            except OSError:  # Gone since it was listed, or unreadable: reported as such.
                continue
    by_content: dict[tuple[int, bytes, int | None], list[tuple[int, int]]] = defaultdict(list)
    for size, places in by_size.items():
        for c, i in places if size and len(places) > 1 else ():
            file, half = divided(collections[c].root / collections[c].files[i])
            by_content[size, hashlib.sha256(content_of(file)).digest(), half].append((c, i))
    groups = [places for places in by_content.values() if len(places) > 1]
    names = [[str(collections[c].root / collections[c].files[i]) for c, i in places] for places in groups]

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


def _suited(bottom: float, top: float, picture: PictureFormat) -> str:
    """Return the `--data.value_range` for such values: all of as many bits, or their own where that is about all of it."""
    if picture.depth == 32:
        return f"{bottom:g},{top:g}"
    bits = 2 ** int(top).bit_length() - 1
    return f"0,{bits}" if bits < picture.high / 2 else f"{bottom:.0f},{top:.0f}"
