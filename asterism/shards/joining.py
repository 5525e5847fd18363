"""The indexes of several shards as one: names that are unique and sorted, columns that all of them have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from asterism.shards.index import Array, Index
from asterism.shards.labels import says_nothing
from asterism.tables.compact import PART, Words, taken
from asterism.tables.names import SPLIT_WORDS
from asterism.tables.words import plain_name
from asterism.wording import some

SPLIT = "split"

Recoded = Callable[[int], Array]
"""Makes the codes of a column for the pictures of one shard, whose number it is given."""


def join(urls: Sequence[str], indexes: Sequence[Index]) -> tuple[dict[str, Any], Iterator[tuple[str, Array]]]:
    """Return what is no array, as JSON values, and the arrays of all pictures, sorted by name.

    Where pictures of different shards have one name, all names get that of their shard before them. Pictures of which nothing
    says the split are in that which the names of the shards say, if all of these do.

    Args:
        urls: of the shards, in order.
        indexes: of the shards; what they hold is let go as the arrays are made, so that both are never there as a whole.
    """
    notes = [note for index in indexes for note in index.notes]
    counts = np.array([len(index.names) for index in indexes])
    names = Words.joined([Words.of(index.names) for index in indexes])
    for index in indexes:
        index.names = ()
    order, same = _sorted(names)
    if len(same):
        short = np.repeat(_short(urls), counts)
        names = Words.of(f"{own}/{name}" for own, name in zip(short, names, strict=True))
        order, same = _sorted(names)
    if len(same):
        notes.append(some(names.take(order[same]), "names that come twice, left out", 1))
        order = np.delete(order, same)
    columns, dropped = _columns(urls, indexes, counts)
    if dropped:
        notes.append(some(dropped, "columns of texts that are different for nearly every picture, not used"))
    facts, headers = _facts(indexes)
    told = {"shards": [index.url for index in indexes], "facts": facts, "notes": notes}
    told |= {"columns": [(name, words) for name, (words, _) in columns.items()]}
    return told, _arrays(names, order, counts, indexes, headers, [codes for _, codes in columns.values()])


def _arrays(
    names: Words, order: Array, counts: Array, indexes: Sequence[Index], headers: list[Array], columns: list[Recoded]
) -> Iterator[tuple[str, Array]]:
    """Yield the arrays by name, each in this order."""

    def of_all(parts: Iterable[Array]) -> Array:
        whole: Array = np.concatenate([*parts])[order]
        return whole

    for name in ("offset", "length"):
        yield name, of_all(vars(index).pop(name) for index in indexes)
    yield "shard", of_all(np.full(count, shard, np.int32) for shard, count in enumerate(counts.tolist()))
    yield "header", of_all(own[vars(index).pop("header")] for index, own in zip(indexes, headers, strict=True))
    for number, codes_of in enumerate(columns):
        yield f"codes{number}", of_all(map(codes_of, range(len(indexes))))
    sorted_names = Words.of(taken(names, order))
    yield "letters", sorted_names.data
    yield "ends", sorted_names.ends[1:].astype(np.int64)


def _sorted(names: Words) -> tuple[Array, Array]:
    """Return the order of names, and the places in it of those that are as the one before."""
    lengths = np.diff(names.ends)
    wide = np.zeros((len(names), max(1, lengths.max(initial=0))), np.uint8)
    for start in range(0, len(names), PART):
        stop = min(start + PART, len(names))
        filled = np.arange(wide.shape[1]) < lengths[start:stop, None]
        wide[start:stop][filled] = names.data[names.ends[start] : names.ends[stop]]
    listed = wide.view(f"S{wide.shape[1]}").reshape(-1)
    order = np.arange(len(names), dtype=np.int32 if len(names) < 2**31 else np.int64)
    parts = [slice(start, start + PART + 1) for start in range(0, len(names), PART)]
    if not all((listed[part][1:] >= listed[part][:-1]).all() for part in parts):
        order[:] = np.argsort(listed, kind="stable")
    found = [part.start + 1 + np.flatnonzero(_alike(listed[order[part]])) for part in parts]
    return order, np.concatenate([np.zeros(0, np.int64), *found])


def _alike(listed: Array) -> Array:
    alike: Array = listed[1:] == listed[:-1]
    return alike


def _facts(indexes: Sequence[Index]) -> tuple[list[Any], list[Array]]:
    """Return all facts, and for each index which of them each of its own is."""
    numbers: dict[str, int] = {}
    facts, parts = list[Any](), list[Array]()
    for index in indexes:
        own = np.zeros(max(1, len(index.facts)), np.int32)
        for place, held in enumerate(index.facts):
            own[place] = numbers.setdefault(repr(held), len(numbers))
            facts += [held] if len(numbers) > len(facts) else []
        parts.append(own)
    return facts, parts


def _columns(
    urls: Sequence[str], indexes: Sequence[Index], counts: Array
) -> tuple[dict[str, tuple[list[str], Recoded]], list[str]]:
    """Return by name the words of each column, and what makes the codes of a shard's pictures; and the columns not used."""
    columns, dropped, total = dict[str, tuple[list[str], Recoded]](), list[str](), int(counts.sum())
    for name in dict.fromkeys(name for index in indexes for name in index.columns):
        numbers: dict[str, int] = {"": 0}
        places = [[numbers.setdefault(word, len(numbers)) for word in index.columns.get(name, ([""],))[0]] for index in indexes]
        if says_nothing(name, list(numbers), total):
            dropped.append(name)
            for index in indexes:
                index.columns.pop(name, None)
        elif len(numbers) > 1:
            columns[name] = list(numbers), _recoded(name, indexes, counts, places, np.min_scalar_type(len(numbers) - 1))
    said = _said(urls)
    if all(said) and not any(plain_name(name) == SPLIT for name in columns):
        words = ["", *dict.fromkeys(said)]
        columns[SPLIT] = words, lambda shard: np.full(counts[shard], words.index(said[shard]), np.uint8)
    return columns, dropped


def _recoded(name: str, indexes: Sequence[Index], counts: Array, places: list[list[int]], kind: Any) -> Recoded:
    """Return what makes the codes of a column of a shard's pictures, once."""

    def codes(shard: int) -> Array:
        _, own = indexes[shard].columns.pop(name, (None, np.zeros(counts[shard], np.int32)))
        recoded: Array = np.array(places[shard], kind)[own]
        return recoded

    return codes


def _said(urls: Sequence[str]) -> list[str]:
    """Return the split that the name of each shard begins with, or that of its folder; empty where neither says one."""
    found = []
    for url in urls:
        folder, name = ["", *url.split("/")][-2:]
        words = (re.split(r"[^A-Za-z]", name)[0], folder)
        found.append(next(filter(None, (SPLIT_WORDS.get(word.lower(), "") for word in words)), ""))
    return found


def _short(urls: Sequence[str]) -> list[str]:
    """Return names for shards: as many of the last parts of their paths as tell them apart, without what ends them."""
    for parts in range(1, max(url.count("/") for url in urls) + 2):
        short = ["/".join(url.rpartition(".")[0].split("/")[-parts:]) for url in urls]
        if len(set(short)) == len(urls):
            break
    return short
