"""Derive the one picture or feature format of a run from the headers of all files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from asterism.config import DataConfig
from asterism.data.collection import Collection
from asterism.data.label_maps import label_format
from asterism.data.listing import DataError, some
from asterism.data.pairs import sources_of_pairs
from asterism.data.pictures import Header, PictureError, PictureFormat
from asterism.tables.compact import Coded, taken

Headers = Sequence[Coded[Header | PictureError]]
"""Of each collection, in the order of its files."""


def choose_format(
    collections: Sequence[Collection], headers: Headers, config: DataConfig, two_kinds: bool
) -> tuple[PictureFormat, list[str]]:
    """Choose size, channels, depth and value range for all the datasets; return them, and notes for a person.

    Args:
        two_kinds: pairs may lead from pictures of one kind to those of another: from label maps, or from other channels.

    Raises:
        DataError: pictures that do not go together, or not with the configuration.
    """
    pack = collections[0].pack
    if pack is not None and pack.kinds is not None:
        return _packed(collections, pack.kinds, config, two_kinds), []
    first = sources_of_pairs(collections[0]) if two_kinds and len(collections) == 1 else None
    if first is None:
        if given := [f"--data.{name}" for name in ("classes", "source_range") if getattr(config, name)]:
            raise DataError(
                f"{given[0]} is for what pairs of two domains are translated from, and these data, or the recipe, have no such "
                "pairs; leave it out"
            )
        return _one_format(collections, headers, config)
    (sources, source_headers), (made, made_headers) = (_part(collections[0], headers[0], first, side) for side in (True, False))
    if not sources.files or not made.files:  # None of a domain can be read.
        return _one_format(collections, headers, config)
    if config.classes or config.channels is None:
        maps = label_format(sources, config.classes, config.size, config.crop)
        if maps is not None:
            picture, notes = _one_format([made], [made_headers], config)
            return replace(picture, source=maps[0]), [*notes, f"the pictures of {sources.groups[0].labels[0]} are {maps[1]}"]
    theirs, ours = ({h.channels for h in held if isinstance(h, Header)} for held in (source_headers, made_headers))
    differ = config.channels is None and len(theirs) == len(ours) == 1 and theirs != ours
    if not differ and config.source_range is None:
        return _one_format(collections, headers, config)
    picture, notes = _one_format([made], [made_headers], config)
    same = max(h.depth for h in source_headers if isinstance(h, Header)) == picture.depth
    own = replace(config, value_range=config.source_range or (config.value_range if same else None))
    source, more = _one_format([sources], [source_headers], own)
    if 32 in (picture.depth, source.depth):
        return _one_format(collections, headers, config)
    text = "from {} to {} the pictures change from {} channels of {} bits to {} of {}"
    told = text.format(*sources.groups[0].labels, source.channels, source.depth, picture.channels, picture.depth)
    return replace(picture, source=source), [*notes, *more, told]


def _packed(collections: Sequence[Collection], kinds: PictureFormat, config: DataConfig, two_kinds: bool) -> PictureFormat:
    """Return the format of a pack of pairs that lead from pictures of one kind to those of another."""
    classes = kinds.taken.classes
    if not two_kinds or len(collections) > 1 or config.classes not in (None, classes):
        raise DataError(
            f"{collections[0].root} was packed as pairs from {kinds.taken.words} to {kinds.made.words}, which this run cannot "
            "take: pack the files again with other --data.classes or --data.channels"
        )
    (low, high), own = config.value_range or (kinds.low, kinds.high), config.source_range or (kinds.taken.low, kinds.taken.high)
    return replace(kinds, low=low, high=high, source=replace(kinds.taken, low=own[0], high=own[1]))


def _part(
    collection: Collection, headers: Coded[Header | PictureError], first: Sequence[bool], wanted: bool
) -> tuple[Collection, Coded[Header | PictureError]]:
    """Return the readable pictures of a collection that are sources, or those that are not, with their headers."""
    rows = np.array([row for row, _ in headers.of_kind(Header) if first[row] is wanted], np.int64)
    files, split = (taken(given, rows) for given in (collection.files, collection.split))
    return replace(collection, files=files, split=split), headers.take(rows)


def _one_format(collections: Sequence[Collection], headers: Headers, config: DataConfig) -> tuple[PictureFormat, list[str]]:
    kinds = [(h, count) for found in headers for h, count in found.counts().items() if isinstance(h, Header)]
    counts, depths = Counter[int](), Counter[int]()
    for h, count in kinds:
        counts[h.channels] += count
        depths[h.depth] += count

    def those(holds: Callable[[Header], bool]) -> Iterator[tuple[str, Header, str]]:
        for c, found in zip(collections, headers, strict=True):
            yield from ((str(c.root / c.files[row]), h, c.split[row]) for row, h in found.of_kind(Header, holds))

    unfit = [f"{path} of {h.channels}" for path, h, _ in those(lambda h: not h.converts_to(config.channels or h.channels))]
    depth = max(depths)
    if depth == 32 and len(depths) > 1:
        pictures = depths.total() - depths[32]
        floats = next(those(lambda h: h.depth == 32))[0]
        raise DataError(
            f"{depths[32]:,} files hold features (floats), such as {floats}; {pictures:,} are pictures: train on one kind"
        )
    if depth < 32:
        _check_crop(collections, headers, config)
    if unfit:
        raise DataError(
            f"--data.channels {config.channels}: {some(unfit, 'pictures that cannot be converted')}; omit it or these"
        )
    if len(counts) > 1 and config.channels is None:
        examples = {c: next(those(lambda h, c=c: h.channels == c))[0] for c in counts}  # type: ignore[misc]
        found = "; ".join(f"{count:,} with {c}, such as {examples[c]}" for c, count in counts.most_common())
        if depth == 32:
            raise DataError(f"the features have different numbers of channels: {found}; train on those of one number")
        raise DataError(
            f"the pictures have different numbers of channels: {found}. Choose what to convert them to: --data.channels 3 for "
            "colour (transparency is laid on white), 1 for grey"
        )
    for collection in collections:
        if collection.pack is not None and collection.pack.depth != depth:
            raise DataError(
                f"{collection.root} was packed with {collection.pack.depth} bits, other data of this run have {depth}: pack "
                "them together, with one asterism pack command"
            )
    if depth == 32:
        return _feature_format(collections, list(those(lambda h: True)), config, next(iter(counts)))
    full = float(2**depth - 1)
    low, high = config.value_range or (0.0, full)
    if not 0 <= low < high <= full:
        raise DataError(
            f"--data.value_range is {low:g},{high:g}; expected two values from 0 to {full:g}, which {depth} bits hold, the "
            "lower first"
        )
    if len(depths) > 1 and (low, high) != (0, full):
        raise DataError(
            f"--data.value_range {low:g},{high:g}: {depths[8]:,} pictures have 8 bits, {depths[16]:,} have 16; save them alike"
        )
    height, width = config.size
    return PictureFormat(config.channels or next(iter(counts)), height, width, low, high, depth, config.crop), []


def _feature_format(
    collections: Sequence[Collection], held: Sequence[tuple[str, Header, str]], config: DataConfig, channels: int
) -> tuple[PictureFormat, list[str]]:
    """Check that all features, (path, header, split), have the rows and enough columns, and find their range in training."""
    height, width = config.size
    if config.crop:
        raise DataError(f"--data.crop {config.crop} is for pictures; features are cropped to the columns of --data.size")
    rows = Counter(header.height for _, header, _ in held)
    (most, _), *others = rows.most_common()
    if others:
        odd = [f"{file} {header.height}x{header.width}" for file, header, _ in held if header.height != most]
        raise DataError(
            f"{some(odd, f'features without the {most} rows that the others have')}; make them alike, or leave them out"
        )
    if most != height:
        raise DataError(f"the features have {most} rows, which are not resized: give --data.size {most}x{width}")
    if short := [f"{file} {header.height}x{header.width}" for file, header, _ in held if header.width < width]:
        raise DataError(
            f"{some(short, f'features of fewer than the {width} columns of --data.size')}; choose fewer, such as --data.size "
            f"{height}x{min(header.width for _, header, _ in held)}, or leave these out"
        )
    notes: list[str] = []
    sounds = {collection.pack.sound if collection.pack else None for collection in collections}
    if len(sounds) > 1:
        raise DataError("the recordings of several data sets go together only if one asterism pack command packed them all")
    if config.value_range is not None:
        low, high = config.value_range
    elif None not in sounds:  # Normalised already.
        low, high = -1.0, 1.0
    else:
        training = [header for _, header, split in held if split == "train"] or [header for _, header, _ in held]
        values = [header.values for header in training if header.values]
        low, high = min(v[0] for v in values), max(v[1] for v in values)
        notes = [f"the training features reach from {low:g} to {high:g}, mapped to -1 and 1; --data.value_range sets others"]
    if not low < high:
        raise DataError(
            f"the range of features is {low:g} to {high:g}; give two values, the lower first, with --data.value_range"
        )
    return PictureFormat(channels, height, width, low, high, depth=32, sound=sounds.pop()), notes


def _check_crop(collections: Sequence[Collection], headers: Headers, config: DataConfig) -> None:
    height, width = config.size
    crop_height, crop_width = (config.crop * side / max(height, width) for side in (height, width))
    for collection, held in zip(collections, headers, strict=True):
        if collection.pack is not None:  # Cropped already.
            continue
        found = held.of_kind(Header, lambda h: h.height < crop_height or h.width < crop_width)
        if small := [f"{collection.files[row]} {h.width}x{h.height}" for row, h in found]:
            raise DataError(
                f"{collection.root}: {some(small, f'pictures smaller than the crop of {config.crop} pixels')}; "
                "choose a smaller --data.crop, or 0 for the largest area of every picture"
            )
