"""Pairs: pictures of one thing in two domains or more, which share an identity."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from asterism.data.arrays import Array
from asterism.data.collection import Collection
from asterism.data.halves import divided
from asterism.data.listing import DataError, some

CONVENTIONS = (["a", "b"], ["label", "img"])
"""Folders of these names, in this order, are taken for the two halves of pairs where files in them have equal names."""

INSTANCES = ("inst", "instance", "instances")
"""Names of the folder, or the column of a table, with the instance maps of label maps."""

_ENDINGS = re.compile(r"_gt(Fine|Coarse)_(labelIds|labelTrainIds|instanceIds)$|_leftImg8bit$")


def name_of_pair(file: str) -> str:
    """Return what the pictures of a pair call it: the stem, without what Cityscapes adds to say which one it is."""
    return _ENDINGS.sub("", PurePosixPath(file).stem)


def in_order(domains: Sequence[str]) -> list[str] | None:
    """Return two domains in the order of translation, where their names say that they are pairs; else none."""
    return next((list(turned) for turned in (domains, domains[::-1]) if [n.lower() for n in turned] in CONVENTIONS), None)


def groups(identity: Sequence[str] | None, held: Array) -> list[list[int]]:
    """Return the rows of each thing that is shown in two domains or more.

    Args:
        identity: of each picture, empty where that is not said; or none.
        held: [M, K], which of the K domains a picture has; one with several, or none, is in no pair.
    """
    found = defaultdict(list)
    alone = held.sum(1) == 1
    for row, (who, domain) in enumerate(zip(identity or (), held.argmax(1) if held.size else (), strict=False)):
        if who and alone[row]:
            found[who].append((row, domain))
    return [[row for row, _ in rows] for rows in found.values() if len({domain for _, domain in rows}) > 1]


def sources_of_pairs(collection: Collection) -> list[bool] | None:
    """Say which pictures are of the first of two domains of pairs, which is translated to the second; none of other data."""
    group, *others = collection.groups
    if others or group.kind != "one_of" or len(group.labels) != 2 or not groups(collection.identity, collection.labels):
        return None
    return (collection.labels[:, 0] > 0).tolist()


def by_names(
    places: Mapping[str, tuple[str, str]], domains: Sequence[str], pairs: str | None, notes: list[str]
) -> list[str] | None:
    """Return what the halves of a file, or files of equal stems, share where these are pairs; none where they are not.

    They are where pairs are asked for, and in two domains of a convention, such as A and B; of two others a note names what
    would be. A stem that comes twice in a domain is in no pair.

    Args:
        places: file -> its split, empty where that is not said, and its domain.
        pairs: `--data.pairs`.
        notes: to which sentences for a person are added.
    """
    names = {}
    for file, (split, _) in places.items():
        whole, half = divided(file)
        names[file] = whole if half is not None else "/".join(filter(None, (split, name_of_pair(file))))
    counts = Counter((names[file], domain) for file, (_, domain) in places.items() if domain in domains)
    shared = Counter(name for (name, _), count in counts.items() if count == 1)
    identity = [name if shared[name] > 1 else "" for name in names.values()]
    if not any(identity):
        return None
    if pairs or in_order(domains):
        return identity
    if len(domains) == 2:
        equal = sorted({name for name in identity if name})
        notes.append(some(equal, f"names that {' and '.join(domains)} share; --data.pairs AtoB takes these for pairs"))
    return None


def ordered(collection: Collection, domains: Sequence[str]) -> Collection:
    """Return a collection of one `one_of` group with its domains in this order."""
    (group,) = collection.groups
    places = [group.labels.index(name) for name in domains]
    labels, known = collection.labels[:, places], collection.known[:, places]
    return replace(collection, groups=(replace(group, labels=tuple(domains)),), labels=labels, known=known)


def directed(collection: Collection, pairs: str | None) -> Collection:
    """Note the pairs of a collection, and turn its two domains round where they are to be translated from B to A.

    Raises:
        DataError: pairs are asked for, and there are no two domains or no pairs of them.
    """
    first, *others = collection.groups
    domains = () if others or first.kind != "one_of" else first.labels
    rows = groups(collection.identity, collection.labels) if domains else []
    if pairs and ((pairs != "names" and len(domains) != 2) or not rows):
        found = f"pairs of {some(domains, 'domains')}" if rows else "no pictures that are said to be pairs"
        raise DataError(
            f"--data.pairs {pairs}: {collection.root} holds {found}; expected two domains in which files have equal names (of "
            "more, say names), files that hold two pictures side by side, a table with columns of pictures, or a column pair_id"
        )
    if not rows:
        return collection
    paired = {row for held in rows for row in held}
    alone = [file for row, file in enumerate(collection.files) if row not in paired]
    domains = domains[::-1] if pairs == "BtoA" else domains
    turn = "" if pairs else "; --data.pairs BtoA turns them round"
    notes = [f"pairs: {len(rows):,} things, each in several of {len(domains)} domains"] if pairs else []
    notes = [f"pairs: {len(rows):,}, from {domains[0]} to {domains[1]}{turn}"] if len(domains) == 2 else notes
    notes += [some(alone, "pictures without a partner, which recipes that learn from pairs refuse")] if alone else []
    return replace(ordered(collection, domains), notes=collection.notes + notes)
