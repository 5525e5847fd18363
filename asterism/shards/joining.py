"""The indexes of several shards as one: names that are unique and sorted, columns that all of them have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from asterism.shards.index import Array, Index
from asterism.shards.labels import Codes, says_nothing
from asterism.tables.compact import Words
from asterism.tables.names import SPLIT_WORDS
from asterism.tables.words import plain_name
from asterism.wording import some

SPLIT = "split"


def join(urls: Sequence[str], indexes: Sequence[Index]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return what is no array, as JSON values, and the arrays of all pictures sorted by name.

    Where pictures of different shards have one name, all names get that of their shard before them. Pictures of which nothing
    says the split are in that which the names of the shards say, if all of these do.

    Args:
        urls: of the shards, in order.
    """
    notes = [note for index in indexes for note in index.notes]
    counts = np.array([len(index.names) for index in indexes])
    names = Words.joined([Words.of(index.names) for index in indexes])
    listed, order = _sorted(names)
    if (listed[1:] == listed[:-1]).any():
        short = np.repeat(_short(urls), counts)
        names = Words.of(f"{own}/{name}" for own, name in zip(short, names, strict=True))
        listed, order = _sorted(names)
    same = np.flatnonzero(listed[1:] == listed[:-1]) + 1
    if len(same):
        notes.append(some([name.decode(errors="replace") for name in listed[same[:3]]], "names that come twice, left out", 1))
        order = np.delete(order, same)
    del listed
    shard = np.repeat(np.arange(len(indexes), dtype=np.int32), counts)
    columns, dropped = _columns(urls, indexes, counts)
    if dropped:
        notes.append(some(dropped, "columns of texts that are different for nearly every picture, not used"))
    facts, header = _facts(indexes)
    names = names.take(order)
    ends = names.ends[1:].astype(np.int64)
    arrays: dict[str, Array] = {"ends": ends, "letters": names.data, "shard": shard[order], "header": header[order]}
    arrays |= {name: _all([getattr(index, name) for index in indexes], np.int64)[order] for name in ("offset", "length")}
    arrays |= {f"codes{i}": codes[order] for i, (_, codes) in enumerate(columns.values())}
    told = {"shards": [index.url for index in indexes], "facts": facts, "notes": notes}
    return told | {"columns": [(name, words) for name, (words, _) in columns.items()]}, arrays


def _sorted(names: Words) -> tuple[Array, Array]:
    """Return names in order, as bytes of one length, and where each was."""
    lengths = np.diff(names.ends.astype(np.int64))
    wide = np.zeros((len(names), max(1, lengths.max(initial=0))), np.uint8)
    wide[np.arange(wide.shape[1]) < lengths[:, None]] = names.data
    listed = wide.view(f"S{wide.shape[1]}").reshape(-1)
    order = np.argsort(listed, kind="stable")
    return listed[order], order


def _all(parts: Sequence[Array], kind: Any) -> Array:
    return np.concatenate([*parts, np.zeros(0, kind)]).astype(kind, copy=False)


def _facts(indexes: Sequence[Index]) -> tuple[list[Any], Codes]:
    numbers: dict[str, int] = {}
    facts, parts = list[Any](), list[Array]()
    for index in indexes:
        own = np.zeros(max(1, len(index.facts)), np.int32)
        for place, held in enumerate(index.facts):
            own[place] = numbers.setdefault(repr(held), len(numbers))
            facts += [held] if len(numbers) > len(facts) else []
        parts.append(own[index.header])
    return facts, _all(parts, np.int32)


def _columns(
    urls: Sequence[str], indexes: Sequence[Index], counts: Array
) -> tuple[dict[str, tuple[list[str], Codes]], list[str]]:
    columns, dropped, total = dict[str, tuple[list[str], Codes]](), list[str](), int(counts.sum())
    for name in dict.fromkeys(name for index in indexes for name in index.columns):
        numbers: dict[str, int] = {"": 0}
        parts = list[Array]()
        for index, count in zip(indexes, counts, strict=True):
            words, codes = index.columns.get(name, ([""], np.zeros(count, np.int32)))
            own = np.array([numbers.setdefault(word, len(numbers)) for word in words], np.int32)
            parts.append(own[codes])
        if says_nothing(name, list(numbers), total):
            dropped.append(name)
        elif len(numbers) > 1:
            columns[name] = list(numbers), _all(parts, np.int32)
    said = _said(urls)
    if all(said) and not any(plain_name(name) == SPLIT for name in columns):
        words = ["", *dict.fromkeys(said)]
        columns[SPLIT] = words, np.repeat(np.array([words.index(word) for word in said], np.int32), counts)
    return columns, dropped


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
