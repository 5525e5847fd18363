"""Translation tasks: edits of single labels, ordered pairs of domains, a picture's own labels, chains of targets and back.

Or what is generated, without sources.

Every random draw of a task is a function of the seed, the task, the picture's row and the draw's number, so that neither
batches nor interruptions change it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from asterism.evaluation.pictures import Pictures, spread
from asterism.labels import LabelSpace
from asterism.metrics.truth import Partners


@dataclass(frozen=True)
class Task:
    """Pictures of one set, and what each is translated to; or pictures that are generated.

    Args:
        name: in words that a target of `asterism translate` may have; with the source where that is fixed.
        pictures: index of the set.
        rows: the sources, in order; without sources the numbers of the outputs.
        wanted: full labels [n, L] of the targets; of chains [n, J, L], of the J targets in turn, the last its own labels.
        index: the label that is edited; none where the target is the picture's own labels, or there are no sources.
        value: what it is to become.
        source: index of the label that all sources have, where the task is a pair of domains.
        mode: `label`, or for recipes with styles `latent` or `reference`.
        outputs: translations of each source.
        like: without sources the sets whose real pictures the outputs are compared with; empty: there are sources.
        passes: after how many passes through its chain, ascending, a picture is measured; empty: there are no chains.
    """

    name: str
    pictures: int
    rows: tuple[int, ...]
    wanted: Tensor
    index: int | None
    value: float = 1.0
    source: int | None = None
    mode: str = "label"
    outputs: int = 1
    like: tuple[int, ...] = ()
    passes: tuple[int, ...] = ()

    @property
    def own(self) -> bool:
        """Whether the target is the picture's own labels, in one translation."""
        return self.index is None and not self.like and not self.passes

    @property
    def stages(self) -> list[Task]:
        """What is measured one after another: of chains a task for each number of passes, else the task itself."""
        if not self.passes:
            return [self]
        said = {count: f"{count} pass{'es' * (count > 1)}" for count in self.passes}
        return [replace(self, mode=words, passes=(count,)) for count, words in said.items()]

    @property
    def title(self) -> str:
        """The name, and the mode where the recipe has several."""
        return self.in_mode(self.name)

    def in_mode(self, words: str) -> str:
        """Return words with the mode after them, where the recipe has several."""
        return words if self.mode == "label" else f"{words}, {self.mode}"

    def generator(self, seed: int, row: int) -> torch.Generator:
        """Return the generator of the draws for one source."""
        return generator_of(f"{seed}|{self.name}|{self.mode}|{self.pictures}|{row}")


def generator_of(words: str) -> torch.Generator:
    """Return a generator whose draws are a function of some words."""
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big") >> 1)


def edits(sets: Sequence[Pictures], space: LabelSpace, limit: int) -> list[Task]:
    """Return the published list of StarGAN's test targets: every label of a picture's dataset that it does not have.

    An alternative replaces the one that holds; any other label is switched, on and off in two tasks; a number is set to the
    end of its range that is further away, again in two tasks.

    Args:
        limit: sources of each set, drawn once; 0 takes all.
    """
    tasks = []
    for number, pictures in enumerate(sets):
        rows = torch.tensor(spread(len(pictures), limit))
        labels = pictures.labels[rows]
        for name, wanted in space.single_edits(labels, pictures.set.dataset):
            index = space.index(name)
            changed = (wanted != labels).any(1) & (pictures.known[rows, index] > 0)
            for value in sorted(set(wanted[changed, index].tolist()), reverse=True):
                chosen = changed & (wanted[:, index] == value)
                task = Task(space.say(index, value), number, tuple(rows[chosen].tolist()), wanted[chosen], index, value)
                tasks.append(task)
    return tasks


def own_labels(sets: Sequence[Pictures], space: LabelSpace, limit: int) -> list[Task]:
    """Return the tasks whose target is what the pictures are already."""
    tasks = []
    for number, pictures in enumerate(sets):
        rows = [row for row in spread(len(pictures), limit) if pictures.known[row].any()]
        if rows:
            tasks.append(Task(f"own labels of {pictures.set.name}", number, tuple(rows), pictures.labels[rows], None))
    return tasks


def pairs(sets: Sequence[Pictures], space: LabelSpace, limit: int, outputs: int, modes: Sequence[str]) -> list[Task]:
    """Return every ordered pair of domains, K (K - 1) per dataset: StarGAN v2 (arXiv:1912.01865), Section 4.

    The domains of a dataset are its first set of alternatives. There are no references of a domain without pictures.

    Args:
        limit: sources of each domain, drawn once; 0 takes all.
    """
    tasks = []
    for number, pictures in enumerate(sets):
        choice = space.domains(pictures.set.dataset)
        for source in choice:
            held = pictures.set.holding(source).nonzero()[:, 0]
            rows = held[spread(len(held), limit)]
            for target in choice:
                if target == source or not len(rows):
                    continue
                wanted = pictures.labels[rows].clone()
                wanted[:, list(choice)] = 0
                wanted[:, target] = 1
                name = f"{space.names[source]} to {space.names[target]}"
                has = pictures.set.holding(target).any()
                tasks += [
                    Task(name, number, tuple(rows.tolist()), wanted, target, 1.0, source, mode, outputs)
                    for mode in modes
                    if has or mode != "reference"
                ]
    return tasks


def chains(
    sets: Sequence[Pictures],
    space: LabelSpace,
    limit: int,
    length: int,
    passes: tuple[int, ...],
    seed: int,
    names: Sequence[str],
) -> list[Task]:
    """Return, for each set, every picture's chain of targets, which ends with its own labels.

    A target is what `edits` translates to, an edit of the picture's own labels, whatever the chain holds before it.

    Args:
        limit: sources of each set, drawn once; 0 takes all.
        length: targets of a chain, drawn for each picture by the seed; 0 takes all.
        passes: see `Task`.
        names: the labels that may be edited.
    """
    tasks = []
    for number, pictures in enumerate(sets):
        rows = spread(len(pictures), limit)
        labels, known = pictures.labels[rows], pictures.known[rows]
        found = [(n, w) for n, w in space.single_edits(labels, pictures.set.dataset) if n in names]
        applies = [(w != labels).any(1) & (known[:, space.index(n)] > 0) for n, w in found]
        kept, stations = list[int](), list[list[Tensor]]()
        for i, row in enumerate(rows):
            mine = [j for j, applied in enumerate(applies) if applied[i]]
            order = torch.randperm(len(mine), generator=generator_of(f"{seed}|chain|{number}|{row}"))
            drawn = sorted(order[: length or None].tolist())
            if drawn:
                kept.append(i)
                stations.append([found[mine[place]][1][i] for place in drawn])
        if kept:
            most = max(map(len, stations))
            whole = [[*held, *[labels[i]] * (most + 1 - len(held))] for i, held in zip(kept, stations, strict=True)]
            wanted = torch.stack([torch.stack(held) for held in whole])
            name = f"again and again, {pictures.set.name}"
            tasks.append(Task(name, number, tuple(rows[i] for i in kept), wanted, None, passes=passes))
    return tasks


def without_sources(sets: Sequence[Pictures], space: LabelSpace, count: int, told: bool) -> list[Task]:
    """Return the tasks of a recipe that generates.

    Args:
        count: pictures to make; 0 makes as many as there are real ones.
        told: whether it is told labels: those of the real pictures, then, set by set; else one task is over all sets.
    """
    if not told:
        total = count or sum(map(len, sets))
        wanted = torch.zeros(total, space.num_labels)
        return [Task("generated", 0, tuple(range(total)), wanted, None, like=tuple(range(len(sets))))]
    tasks = []
    for number, pictures in enumerate(sets):
        rows = torch.arange(count or len(pictures))
        wanted = pictures.labels[torch.tensor(spread(len(pictures), len(rows)))[rows % min(len(pictures), len(rows))]]
        tasks.append(Task(f"like {pictures.set.name}", number, tuple(rows.tolist()), wanted, None, like=(number,)))
    return tasks


def partnered(tasks: Sequence[Task], partners: Sequence[Partners]) -> list[Task]:
    """Return the tasks with those sources only that have a true partner.

    Args:
        partners: of each set.
    """
    result = []
    for task in tasks:
        true = partners[task.pictures].find(task.rows, task.wanted)
        held = [i for i, row in enumerate(true) if row is not None]
        if held:
            result.append(replace(task, rows=tuple(task.rows[i] for i in held), wanted=task.wanted[held]))
    return result
