"""Systems that are measured: the trained model and, as reference, the input, real pictures and random weights.

Shapes: N sources, K outputs of each, N K in the order of the sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from asterism.config import ConfigError
from asterism.evaluation.pictures import Pictures, spread
from asterism.evaluation.tasks import Task
from asterism.machine import Machine, at_least_float32
from asterism.metrics.truth import Partners
from asterism.recipes import recipe_class
from asterism.recipes.base import Recipe
from asterism.recipes.render import asked, generate, translate

NAMES = {
    "translated": "translated",
    "generated": "generated",
    "nearest": "partner of the nearest training source",
    "mean": "mean training picture of the target",
    "colour": "its mean colour",
    "copy": "copy the input",
    "real": "real pictures of the target",
    "random": "random weights",
}
"""Kinds of rows and their names."""


class DivergedError(ConfigError):
    """Weights whose outputs hold NaN, which in measures means that one does not apply."""


class Generator:
    """A recipe's translations, or the pictures that it generates.

    Args:
        kind: `translated` or `generated`, or `random` for an untrained recipe.
    """

    def __init__(self, kind: str, recipe: Recipe, machine: Machine, sets: Sequence[Pictures], seed: int) -> None:
        self.kind, self.recipe, self.machine, self.sets, self.seed = kind, recipe, machine, sets, seed
        self.where = (machine.device, machine.full_dtype)

    def outputs(self, task: Task, rows: Sequence[int], x: Tensor, wanted: Tensor) -> Tensor:
        """Return the translations, float32 [N K, C, H, W] in [-1, 1], of sources x [N, C, H, W] to labels [N, L].

        Without sources, the pictures of latents. Where the target is the pictures' own labels, the style is their own too.
        """
        pictures = self.sets[task.pictures]
        if task.like:
            return self.generate(task, rows, wanted)
        if task.own:
            return self.back(x, x, wanted, wanted, pictures.set.dataset)
        if self.recipe.picture.source:
            x = pictures.taken(rows)
        x, own, wanted = (t.repeat_interleave(task.outputs, 0) for t in (x, pictures.labels[list(rows)], wanted))
        return self.translate(x, own, wanted, pictures.set.dataset, self._styles(task, rows, wanted))

    def again(self, task: Task, rows: Sequence[int], x: Tensor, wanted: Tensor) -> Iterator[Tensor]:
        """Translate sources x [N, C, H, W] through their chains [N, J, L], which lead back, and that again and again.

        A translation that would change no label is left out. Styles, where there are, are drawn once for each target, so that
        all passes do the same; the last translation takes that of the source, as `back`.

        Yields:
            The pictures [N, C, H, W] after each of the task's numbers of passes.
        """
        pictures, can = self.sets[task.pictures], self.recipe.abilities
        dataset, labels = pictures.set.dataset, pictures.labels[list(rows)]
        styles: list[Tensor | None] = [None] * wanted.shape[1]
        if can.style:
            z = self._latents([task.generator(self.seed, row) for row in rows], wanted.shape[1]).unflatten(0, (len(rows), -1))
            styles = [self._drawn(z[:, j], wanted[:, j], dataset) for j in range(wanted.shape[1] - 1)]
            styles.append(self.read(x, labels, dataset) if can.reads_style else None)
        y, held = x, labels
        for done in range(1, task.passes[-1] + 1):
            for j, s in enumerate(styles):
                moves = (held != wanted[:, j]).any(1)
                y = y.clone()
                if moves.any():
                    own = s if s is None else s[moves]
                    y[moves] = self.translate(y[moves], held[moves], wanted[moves, j], dataset, own)
                held = wanted[:, j]
            if done in task.passes:
                yield y

    def back(self, x: Tensor, y: Tensor, labels: Tensor, wanted: Tensor, dataset: int) -> Tensor:
        """Return y, which has the labels `wanted`, translated to the labels [N, L] and the style of its source x: the cycle."""
        if self.recipe.abilities.targets:
            return torch.full_like(y, torch.nan)  # The measure does not apply: there is no way back.
        s = self.read(x, labels, dataset) if self.recipe.abilities.reads_style else None
        return self.translate(y, wanted, labels, dataset, s)

    def read(self, references: Tensor, labels: Tensor, dataset: int) -> Tensor:
        """Return the styles [N, S] of references [N, C, H, W], read as pictures of the domains of labels [N, L]."""
        with torch.inference_mode(), self.machine.autocast():
            return at_least_float32(self.recipe.read_style(references.to(*self.where), self._told(labels, dataset)))

    def translate(self, x: Tensor, labels: Tensor, wanted: Tensor, dataset: int, s: Tensor | None = None) -> Tensor:
        """Translate pictures with `labels` to `wanted` [N, L], of one dataset; float32 on the CPU, clamped to [-1, 1].

        Raises:
            DivergedError: what comes out is not finite.
        """
        with torch.inference_mode(), self.machine.autocast():
            y = translate(self.recipe, x.to(*self.where), self._told(wanted, dataset, labels), s)
            return _finite(y.float().cpu())

    def generate(self, task: Task, rows: Sequence[int], wanted: Tensor) -> Tensor:
        """Return the pictures of a task's latents, for labels [N, L]; as `translate` returns them.

        Raises:
            DivergedError: what comes out is not finite.
        """
        z = self._latents([task.generator(self.seed, row) for row in rows], task.outputs)
        told = self._told(wanted.repeat_interleave(task.outputs, 0), self.sets[task.pictures].set.dataset)
        with torch.inference_mode(), self.machine.autocast():
            return _finite(generate(self.recipe, z.to(*self.where), told).float().cpu())

    def _told(self, labels: Tensor, dataset: int, source: Tensor | None = None) -> Tensor:
        labels, source = labels.to(*self.where), (labels if source is None else source).to(*self.where)
        return asked(self.recipe, labels, torch.full((len(labels),), dataset, device=self.where[0]), source)

    def _latents(self, generators: Sequence[torch.Generator], outputs: int) -> Tensor:
        """Draw the latents [N K, Z] of N sources from a generator each."""
        return torch.cat([torch.randn(outputs, self.recipe.abilities.latent, generator=g) for g in generators])

    def _styles(self, task: Task, rows: Sequence[int], wanted: Tensor) -> Tensor | None:
        """Return the styles [N K, S] of a task's mode; none for the mean style, or a recipe without styles."""
        if task.mode == "label":
            return None
        generators = [task.generator(self.seed, row) for row in rows]
        if task.mode == "latent":
            return self._drawn(self._latents(generators, task.outputs), wanted, self.sets[task.pictures].set.dataset)
        assert task.index is not None
        pictures = self.sets[task.pictures]
        held = pictures.set.holding(task.index).nonzero()[:, 0]
        drawn = torch.cat([held[torch.randint(len(held), (task.outputs,), generator=g)] for g in generators])
        return self.read(pictures.load(drawn.tolist()), wanted, pictures.set.dataset)

    def _drawn(self, z: Tensor, wanted: Tensor, dataset: int) -> Tensor:
        """Return the styles [N, S] of latents z [N, Z] for labels [N, L]."""
        with torch.inference_mode(), self.machine.autocast():
            return at_least_float32(self.recipe.draw_style(z.to(*self.where), self._told(wanted, dataset)))


class Copy:
    """The input as it is: perfect at keeping, useless at reaching."""

    kind = "copy"

    def outputs(self, task: Task, rows: Sequence[int], x: Tensor, wanted: Tensor) -> Tensor:
        """Return the sources."""
        return x.repeat_interleave(task.outputs, 0)

    def again(self, task: Task, rows: Sequence[int], x: Tensor, wanted: Tensor) -> Iterator[Tensor]:
        """Yield the sources, whatever the number of passes."""
        yield from [x] * len(task.passes)

    def back(self, x: Tensor, y: Tensor, labels: Tensor, wanted: Tensor, dataset: int) -> Tensor:
        """Return y: copying back changes nothing."""
        return y


class Real:
    """Real pictures of the target: any that have the label; for a single output the true partner, where there is one."""

    kind = "real"

    def __init__(self, sets: Sequence[Pictures], partners: Sequence[Partners], seed: int) -> None:
        self.sets, self.partners, self.seed = sets, partners, seed

    def outputs(self, task: Task, rows: Sequence[int], x: Tensor, wanted: Tensor) -> Tensor | None:
        """Return real pictures [N K, C, H, W]; none where the split has none with the label, or no more of them."""
        if task.like:
            held = [(number, row) for number in task.like for row in range(len(self.sets[number]))]
            order = spread(len(held), len(task.rows))
            mine = [held[order[place]] for place in rows if place < len(order)]
            return torch.cat([self.sets[number].load([row]) for number, row in mine]) if mine else None
        if task.index is None:
            return None
        pictures = self.sets[task.pictures]
        found = self.partners[task.pictures].find(rows, wanted)
        others = pictures.set.holding(task.index, task.value).nonzero()[:, 0]
        if not len(others):
            return None
        drawn: list[int] = []
        for row, true in zip(rows, found, strict=True):
            any_of = others[torch.randint(len(others), (task.outputs,), generator=task.generator(self.seed, row))].tolist()
            drawn += any_of if true is None or task.outputs > 1 else [true]
        return pictures.load(drawn)


def _finite(y: Tensor) -> Tensor:
    """Return outputs if all of their values are numbers; else raise DivergedError."""
    if not y.isfinite().all():
        raise DivergedError(
            "outputs hold infinite or NaN values: these weights have diverged and cannot be measured; choose "
            "another --checkpoint"
        )
    return y


def untrained(recipe: Recipe, name: str, seed: int, machine: Machine) -> Recipe:
    """Return a recipe of the same configuration with initial weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made: Recipe = recipe_class(name)(recipe.config, recipe.space, recipe.picture)
    return made.eval().requires_grad_(False).to(machine.device, machine.full_dtype)
