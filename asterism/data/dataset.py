"""Data sets ready to load: sources joined in one label space, with pictures checked by their headers."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asterism.config import DataConfig, closest
from asterism.data.collection import Collection
from asterism.data.halves import HalvesError, divided, probe_row
from asterism.data.listing import SPLITS, DataError, some
from asterism.data.pack import Pack
from asterism.data.pairs import groups
from asterism.data.picture_format import choose_format
from asterism.data.pictures import Header, PictureError, PictureFormat
from asterism.data.sources import read_source
from asterism.labels import LabelSpace
from asterism.shards import headers_of
from asterism.tables.compact import Coded, Paths, batched, taken
from asterism.tables.numbers import number_ranges


@dataclass(frozen=True)
class PictureSet:
    """The M pictures of one dataset in one split.

    Args:
        name: of the dataset.
        dataset: its index in the label space.
        paths: of the pictures.
        labels: uint8 [M, L], of a space with numbers float32, over all the labels of the space; 0 where unknown.
        known: uint8 [M, L] in {0, 1}; 0 for other datasets' labels and for empty cells.
        space: the labels of all datasets.
        identity: what pictures of the same thing share, empty where that is not said; or none.
        size: height and width that all the pictures have, in pixels; none where they differ, and of features.
        pack: where their pixels are, by path, if not in files of their own.
        unequal: the pairs whose pictures differ in size, named with both sizes.
        source: what the pictures of the first domain are, where they are of another kind than those translated to.
        instances: of label maps the file with the ids of instances, where they have one.
    """

    name: str
    dataset: int
    paths: Sequence[Path]
    labels: Tensor
    known: Tensor
    space: LabelSpace
    identity: Sequence[str] | None
    size: tuple[int, int] | None
    pack: Pack | None = None
    unequal: tuple[str, ...] = ()
    source: PictureFormat | None = None
    instances: Mapping[Path, Path] = field(default_factory=dict)

    @cached_property
    def is_source(self) -> list[bool]:
        """Say which pictures are of the first domain: those that pairs are translated from."""
        return (self.labels[:, self.alternatives[0][0]] > 0).tolist()

    @property
    def alternatives(self) -> tuple[tuple[int, ...], ...]:
        """Sets of label indices of which exactly one holds, those of this dataset."""
        span = self.space.dataset_span(self.dataset)
        return tuple(choice for choice in self.space.alternatives if span.start <= choice[0] < span.stop)

    def holding(self, index: int, value: float = 1.0) -> Tensor:
        """Say which pictures are known to have this value of a label: bool [M]."""
        return self.space.holds(self.labels, self.known, index, value)

    def domain_of_each(self, label: str = "") -> np.ndarray:
        """Return which of a label's two values each picture has, or which of the first set of alternatives: int64 [M].

        It is -1 where no label is known, or where that one is not.
        """
        if label:
            index = self.space.index(label)
            return torch.where(self.known[:, index] > 0, self.labels[:, index].long(), -1).numpy()
        held = self.labels[:, list(self.alternatives[0])].argmax(1) if self.alternatives else torch.tensor(0)
        return torch.where((self.known > 0).any(1), held, -1).numpy()

    def of_one_domain(self, label: str = "") -> PictureSet:
        """Return those pictures that have exactly one of the first set of alternatives, for recipes that learn domains.

        A cell may be empty, and in a table nothing keeps two of its labels, or none, from holding.

        Args:
            label: return those instead of which this label's value is known.

        Raises:
            DataError: the dataset has no such set, or no such picture; or all its pictures have one value of the label.
        """
        if label:
            values = self.domain_of_each(label)
            if len(np.unique(values[values >= 0])) < 2:
                raise DataError(f"{self.name} needs training pictures both with and without {label}, by which domains are told")
            return self.take(np.flatnonzero(values >= 0).tolist())
        domains = list(self.space.domains(self.dataset))
        rows = (self.labels[:, domains].sum(1) == 1).nonzero()[:, 0].tolist()
        if not rows:
            raise DataError(
                f"{self.name} has no labels of which exactly one holds, so its pictures have no domains to take references "
                "from: use a folder per domain, or name such labels with --data.exclusive A,B"
            )
        return self.take(rows)

    def pairs(self) -> list[list[int]]:
        """Return the rows of each thing that is shown in two domains or more: any two of different domains are a pair."""
        return groups(self.identity, self.labels[:, list(self.space.domains(self.dataset))].numpy())

    def check_pairs(self) -> None:
        """Refuse what a recipe that learns from pairs cannot use.

        Raises:
            DataError: there are no pairs, a picture has no partner, or the pictures of a pair differ in size.
        """
        pairs = self.pairs()
        if not pairs:
            raise DataError(
                f"{self.name} has no training pictures that are pairs: give folders A and B with files of equal names (1.png "
                "in both), or a column pair_id; --data.pairs AtoB is for other folders or halves, names for more than two"
            )
        if self.unequal:
            raise DataError(
                f"{self.name}: {some(self.unequal, 'pairs of different sizes')}; make both alike, since they are compared "
                "pixel by pixel"
            )
        paired = {row for pair in pairs for row in pair}
        if lone := [str(path) for row, path in enumerate(self.paths) if row not in paired]:
            found = some(lone, "training pictures without a partner, which has the same identity and another domain", 1)
            raise DataError(f"{found}; add it to the training pictures, correct the identity, or leave these out")

    def take(self, rows: Sequence[int]) -> PictureSet:
        """Return some of the pictures, in the order of their rows."""
        held = np.asarray(rows, np.int64)
        identity = taken(self.identity, held) if self.identity else None
        return replace(self, paths=taken(self.paths, held), labels=self.labels[held], known=self.known[held], identity=identity)

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Datasets:
    """All the data of a run.

    Args:
        space: the labels of all datasets.
        picture: what the pictures become.
        splits: "train", "val", "test" -> one set per dataset, in order; a set may be empty except in "train".
        notes: sentences for a person on what was chosen and left out.
        broken: files that are left out because their header cannot be read, with the reason.
        fingerprint: hash of file names, labels and splits; equal fingerprints mean equal samples at equal positions.
    """

    space: LabelSpace
    picture: PictureFormat
    splits: dict[str, list[PictureSet]]
    notes: list[str]
    broken: list[tuple[Path, str]]
    fingerprint: str


def open_data(config: DataConfig, labels_needed: bool = True, two_kinds: bool = False, names: Sequence[str] = ()) -> Datasets:
    """Read every source, check every picture's header, and join the datasets.

    Args:
        labels_needed: False also takes pictures without labels: a flat folder, or a table without label columns.
        two_kinds: pairs may lead from pictures of one kind, such as label maps, to those of another.
        names: of the datasets, in place of their folders', which may be called otherwise than when a run began.

    Raises:
        DataError: what would make training wrong: no source, no pictures, no labels where they are needed, one domain only,
            an unknown label, mixed numbers of channels without `config.channels`, a picture smaller than the crop, a domain
            without training pictures.
    """
    collections = collect(config, labels_needed)
    if len(names) == len(collections):
        collections = [_named(collection, name) for collection, name in zip(collections, names, strict=True)]
    return join(collections, [probe_all(c) for c in collections], config, two_kinds)


def collect(config: DataConfig, labels_needed: bool = True) -> list[Collection]:
    """Read the sources and give every dataset a name of its own; arguments as for `open_data`.

    Raises:
        DataError: see `open_data`.
    """
    if not config.sources:
        raise DataError("no data: give a folder of pictures or a table of labels with --data")
    collections = with_own_names([read_source(path, config) for path in config.sources])
    if labels_needed and (bare := [c.no_labels for c in collections if c.no_labels]):
        raise DataError(bare[0])
    numbers = ",".join(number_ranges(config.numbers))
    sets = (("exclusive", config.exclusive.replace(";", ",")), ("conflicts", config.conflicts.replace("|", ",")))
    for option, text in (("labels", config.labels), *sets, ("numbers", numbers)):
        valid = {name for c in collections for name in c.columns}
        for name in (word.strip() for word in text.split(",")):
            if name and name not in valid:
                why = f"no table has such a column ({closest(name, valid)})" if valid else "without a table, folders are labels"
                raise DataError(f"--data.{option} {name}: {why}; if a preset sets it, give your own --data.{option}")
    return collections


def probe_all(collection: Collection) -> Coded[Header | PictureError]:
    """Read the headers of all the pictures of a collection, several at a time; an unreadable one gives its error."""
    if collection.pack is not None:
        return Coded.of(collection.pack.header(file) for file in collection.files)
    if (held := headers_of(collection.root, collection.files, Header, PictureError)) is not None:
        return Coded(*held)

    def attempt(file: str) -> Header | PictureError:
        try:
            return probe_row(collection.root / file)
        except PictureError as error:
            return error

    with ThreadPoolExecutor(8) as pool:  # Waiting for the disk, not computing.
        return Coded.of(header for part in batched(collection.files) for header in pool.map(attempt, part))


def join(
    collections: Sequence[Collection],
    found: Sequence[Sequence[Header | PictureError]],
    config: DataConfig,
    two_kinds: bool = False,
) -> Datasets:
    """Join collections, the headers of whose pictures were `found`, in one label space; `two_kinds` as for `open_data`.

    Raises:
        DataError: see `open_data`.
    """
    space, headers = LabelSpace(group for c in collections for group in c.groups), [Coded.of(held) for held in found]
    broken = list[tuple[Path, str]]()
    for collection, held in zip(collections, headers, strict=True):
        for row, error in held.of_kind(PictureError):
            path = collection.root / collection.files[row]
            if isinstance(error, HalvesError):
                raise DataError(f"{divided(path)[0]}: {error}; it was read as a pair, by --data.pairs")
            broken.append((path, str(error)))
        if not any(isinstance(header, Header) for header in held.distinct()):
            raise DataError(f"no picture of {collection.root} can be read; the first, {collection.files[0]}: {held[0]}")
    picture, format_notes = choose_format(collections, headers, config, two_kinds)
    splits: dict[str, list[PictureSet]] = {split: [] for split in SPLITS}
    for index, (collection, held) in enumerate(zip(collections, headers, strict=True)):
        for split in SPLITS:
            splits[split].append(_picture_set(collection, held, split, index, space, picture))
        _check_training(collection, splits["train"][index], space, broken)
    notes = format_notes + [f"{c.name}: {remark}" for c in collections for remark in c.remarks()]
    frames = [(c, held.of_kind(Header, lambda header: header.frames > 1)) for c, held in zip(collections, headers, strict=True)]
    if several := [f"{c.files[row]} {header.frames}" for c, found in frames for row, header in found]:
        notes.append(some(several, "pictures of several frames, of which the first is read"))
    unknown = {s.name: int((s.known.sum(1) == 0).sum()) for s in splits["train"] if s.alternatives or s.known.any()}
    notes += [f"{name}: training pictures without a known label: {count:,}" for name, count in unknown.items() if count]
    notes += [f"no {split} pictures in {s.name}" for split in ("val", "test") for s in splits[split] if not len(s)]
    return Datasets(space, picture, splits, notes, broken, _fingerprint(collections, headers))


def with_own_names(collections: Sequence[Collection]) -> list[Collection]:
    """Number the names of datasets that come twice: faces, faces-2."""
    result: dict[str, Collection] = {}
    for collection in collections:
        numbered = (f"{collection.name}-{number}" for number in itertools.count(2))
        name = next(name for name in itertools.chain([collection.name], numbered) if name not in result)
        result[name] = _named(collection, name)
    return list(result.values())


def _named(collection: Collection, name: str) -> Collection:
    return replace(collection, name=name, groups=tuple(replace(group, dataset=name) for group in collection.groups))


def _picture_set(
    collection: Collection,
    headers: Coded[Header | PictureError],
    split: str,
    dataset: int,
    space: LabelSpace,
    picture: PictureFormat,
) -> PictureSet:
    here = headers.each(lambda header: isinstance(header, Header))
    rows = np.flatnonzero(here & Coded.of(collection.split).each(lambda word: word == split))
    known = torch.zeros(len(rows), space.num_labels, dtype=torch.uint8)
    labels = torch.zeros_like(known, dtype=torch.float32 if space.numbers else torch.uint8)
    span = space.dataset_span(dataset)
    labels[:, span] = torch.from_numpy(collection.labels[rows]).to(labels.dtype)
    known[:, span] = torch.from_numpy(collection.known[rows].view(np.uint8))
    shown = headers.take(rows)
    sizes = {(h.height, h.width) for h in shown.distinct() if isinstance(h, Header)}
    held = PictureSet(
        name=collection.name,
        dataset=dataset,
        paths=Paths(collection.root, taken(collection.files, rows)),
        labels=labels,
        known=known,
        space=space,
        identity=taken(collection.identity, rows) if collection.identity else None,
        size=next(iter(sizes)) if len(sizes) == 1 and picture.depth < 32 else None,
        pack=collection.pack,
        source=picture.source,
        instances={collection.root / file: collection.root / ids for file, ids in collection.instances.items()},
    )
    said = Coded([f"{h.width}x{h.height}" if isinstance(h, Header) else "" for h in shown.kinds], shown.codes)
    both = [(pair[0], row) for pair in (held.pairs() if len(sizes) > 1 else ()) for row in pair]
    told = [[f"{collection.files[rows[row]]} {said[row]}" for row in pair] for pair in both if said[pair[0]] != said[pair[1]]]
    return replace(held, unequal=tuple(" and ".join(names) for names in told))


def _check_training(collection: Collection, train: PictureSet, space: LabelSpace, broken: list[tuple[Path, str]]) -> None:
    """Refuse a dataset without training pictures, or with a domain that training would never see."""
    unreadable = [f"{path}: {reason}" for path, reason in broken if path.is_relative_to(collection.root)]
    perhaps = f" ({some(unreadable, 'pictures that cannot be read', 1)})" if unreadable else ""
    if not len(train):
        raise DataError(f"{collection.root} has no training pictures; put some into the split 'train'{perhaps}")
    span = space.dataset_span(train.dataset)
    for index in (i for i in space.numbers if span.start <= i < span.stop):
        values = train.labels[train.known[:, index] > 0, index].unique()
        if len(values) < 2:
            what = f"is {values[0]:g} in every training picture" if len(values) else "has no value in any training picture"
            raise DataError(
                f"{collection.root}: the number {space.names[index]} {what}, so it cannot be learned; add pictures with other "
                f"values, or leave it out{perhaps}"
            )
    choices = {index for choice in train.alternatives for index in choice}
    for index in (i for i in range(span.start, span.stop) if i not in space.numbers):
        held, known = int(train.labels[:, index].sum()), int(train.known[:, index].sum())
        if held == 0 or (held == known and index not in choices):
            found = "no" if held == 0 else "every"
            raise DataError(
                f"{collection.root}: {found} training picture has the label {space.names[index]}, so it cannot be learned; "
                f"add pictures {'with' if held == 0 else 'without'} it, or leave it out: of a table, --data.labels "
                f"names the others{perhaps}"
            )


def _fingerprint(collections: Sequence[Collection], headers: Sequence[Coded[Header | PictureError]]) -> str:
    digest = hashlib.sha256()
    for c, held in zip(collections, headers, strict=True):
        readable = Coded((False, True), held.each(lambda header: isinstance(header, Header)))
        digest.update(f"[{json.dumps(c.name)}, ".encode())
        for items in (c.files, Coded.of(c.split), readable):  # A part at a time, what json.dumps writes of them all.
            for number, part in enumerate(batched(items)):
                digest.update(f"{', ' if number else '['}{json.dumps(part)[1:-1]}".encode())
            digest.update(b"], ")
        digest.update(f"{json.dumps([list(g.labels) for g in c.groups])}]".encode())
        numbers = any(group.kind == "number" for group in c.groups)
        digest.update(np.ascontiguousarray(c.labels, np.float32 if numbers else np.uint8).ravel().data)
        digest.update(np.ascontiguousarray(c.known).ravel().data)
    return digest.hexdigest()[:32]
