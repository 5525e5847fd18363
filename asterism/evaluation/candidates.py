"""What turns sources into outputs: the trained model, and for orientation the input itself, real pictures, random weights.

Shapes: N sources, K outputs of each, N K in the order of the sources.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from asterism.config import ConfigError
from asterism.data.batch import Batch
from asterism.evaluation.pictures import Pictures
from asterism.evaluation.tasks import Task
from asterism.machine import Machine, at_least_float32
from asterism.metrics.truth import Partners
from asterism.recipes import recipe_class
from asterism.recipes.base import Recipe

NAMES = {
    "translated": "translated",
    "copy": "copy the input",
    "real": "real pictures of the target",
    "random": "random weights",
}
"""The kinds of rows, and what they are called."""


class DivergedError(ConfigError):
    """Weights whose translations hold NaN, which in measures means that one does not apply."""


class Generator:
    """A recipe's translations.

    Args:
        kind: `translated`, or `random` for an untrained recipe.
    """

    def __init__(self, kind: str, recipe: Recipe, machine: Machine, sets: Sequence[Pictures], seed: int) -> None:
        self.kind, self.recipe, self.machine, self.sets, self.seed = kind, recipe, machine, sets, seed
        self.where = (machine.device, machine.full_dtype)

    def outputs(self, task: Task, rows: Sequence[int], x: Tensor, wanted: Tensor) -> Tensor:
        """Return the translations, float32 [N K, C, H, W] in [-1, 1], of sources x [N, C, H, W] to labels [N, L].

        Where the target is the pictures' own labels, the style is their own too.
        """
        if task.index is None:
            return self.back(x, x, wanted, self.sets[task.pictures].set.dataset)
        x, wanted = x.repeat_interleave(task.outputs, 0), wanted.repeat_interleave(task.outputs, 0)
        return self.translate(x, wanted, self.sets[task.pictures].set.dataset, self._styles(task, rows, wanted))

    def back(self, x: Tensor, y: Tensor, labels: Tensor, dataset: int) -> Tensor:
        """Return y [N, C, H, W] translated to the labels [N, L] of its source x, and with its style: the cycle."""
        return self.translate(y, labels, dataset, self.read(x, labels) if self.recipe.styled else None)

    def read(self, references: Tensor, labels: Tensor) -> Tensor:
        """Return the styles [N, S] of references [N, C, H, W], read as pictures of the domains of labels [N, L]."""
        with torch.inference_mode(), self.machine.autocast():
            return at_least_float32(self.recipe.read_style(references.to(*self.where), labels.to(*self.where)))

    def translate(self, x: Tensor, wanted: Tensor, dataset: int, s: Tensor | None = None) -> Tensor:
        """Translate pictures to full labels [N, L] of one dataset; float32 on the CPU, clamped to [-1, 1].

        Raises:
            DivergedError: what comes out is not finite.
        """
        where = torch.full((len(x),), dataset)
        known = self.recipe.space.known(where)
        target = Batch(labels=wanted * known, known=known, dataset=where).to(*self.where)
        with torch.inference_mode(), self.machine.autocast():
            if s is not None:
                target = target.extend(s=s)
            y = self.recipe.translate(x.to(*self.where), target).float().clamp(-1, 1).cpu()
        if not y.isfinite().all():
            raise DivergedError(
                "translations hold values that are not numbers: these weights have diverged, so that nothing can be measured; "
                "choose another --checkpoint"
            )
        return y

    def _styles(self, task: Task, rows: Sequence[int], wanted: Tensor) -> Tensor | None:
        """Return the styles [N K, S] of a task's mode; none for the mean style, or a recipe without styles."""
        if task.mode == "label":
            return None
        generators = [task.generator(self.seed, row) for row in rows]
        if task.mode == "latent":
            z = torch.cat([torch.randn(task.outputs, self.recipe.latent_dim, generator=g) for g in generators])
            with torch.inference_mode(), self.machine.autocast():
                return at_least_float32(self.recipe.draw_style(z.to(*self.where), wanted.to(*self.where)))
        pictures = self.sets[task.pictures]
        held = (pictures.labels[:, task.index] * pictures.known[:, task.index]).nonzero()[:, 0]
        drawn = torch.cat([held[torch.randint(len(held), (task.outputs,), generator=g)] for g in generators])
        return self.read(pictures.load(drawn.tolist()), wanted)


class Copy:
    """The input as it is: perfect at keeping, useless at reaching."""

    kind = "copy"

    def outputs(self, task: Task, rows: Sequence[int], x: Tensor, wanted: Tensor) -> Tensor:
        """Return the sources."""
        return x.repeat_interleave(task.outputs, 0)

    def back(self, x: Tensor, y: Tensor, labels: Tensor, dataset: int) -> Tensor:
        """Return y: copying back changes nothing."""
        return y


class Real:
    """Real pictures of the target: any that have the label; for a single output the true partner, where there is one."""

    kind = "real"

    def __init__(self, sets: Sequence[Pictures], partners: Sequence[Partners], seed: int) -> None:
        self.sets, self.partners, self.seed = sets, partners, seed

    def outputs(self, task: Task, rows: Sequence[int], x: Tensor, wanted: Tensor) -> Tensor | None:
        """Return real pictures [N K, C, H, W]; none where the split has none with the label."""
        if task.index is None:
            return None
        pictures = self.sets[task.pictures]
        found = self.partners[task.pictures].find(rows, wanted)
        chosen = (pictures.labels[:, task.index] == float(task.value)) & (pictures.known[:, task.index] > 0)
        others = chosen.nonzero()[:, 0]
        if not len(others):
            return None
        drawn: list[int] = []
        for row, true in zip(rows, found, strict=True):
            any_of = others[torch.randint(len(others), (task.outputs,), generator=task.generator(self.seed, row))].tolist()
            drawn += any_of if true is None or task.outputs > 1 else [true]
        return pictures.load(drawn)


def untrained(recipe: Recipe, name: str, seed: int, machine: Machine) -> Recipe:
    """Return a recipe of the same configuration with initial weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made: Recipe = recipe_class(name)(recipe.config, recipe.space, recipe.picture)
    return made.eval().requires_grad_(False).to(machine.device, machine.full_dtype)
