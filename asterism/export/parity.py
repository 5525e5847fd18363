"""Compare an exported file with the translator on pictures: differences and speed.

Differences are in the range of pictures, [-1, 1]; those of styles and logits are relative to the largest of them, where that
is above 1.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asterism.data.pictures import to_float, to_stored
from asterism.export.graphs import Graph
from asterism.inference.generator import latents
from asterism.inference.translator import Translator
from asterism.labels import LabelSpace
from asterism.recipes.base import Recipe
from asterism.recipes.render import generate, translate, whole_target
from asterism.storage.model_file import ModelError

LARGEST_DIFFERENCE = {"float32": 1e-4, "float16": 2e-2}
"""Precision -> largest allowed difference from the translator."""
LEAST_PSNR = 30.0
"""Lowest allowed PSNR of int8 against float32, in dB."""
WANTED_PSNR = 35.0
"""PSNR in dB below which more layers stay in float32."""
LEAST_REPEATS, SECONDS = 5, 0.5
"""Minimum repetitions and seconds of a timing; the fastest counts."""


@dataclass(frozen=True)
class Difference:
    """How far a result is from what it should be.

    Args:
        largest, mean: of the absolute differences.
        psnr: peak signal-to-noise ratio in dB, of signals in [-1, 1].
    """

    largest: float
    mean: float
    psnr: float

    @classmethod
    def of(cls, y: Tensor, truth: Tensor) -> Difference:
        """Compare two tensors of one shape."""
        gap = (y.double() - truth.double()).abs() / max(1.0, float(truth.abs().max()))
        squared = float(gap.square().mean())
        return cls(float(gap.max()), float(gap.mean()), 10 * math.log10(4 / squared) if squared else math.inf)

    def check(self, name: str, precision: str) -> None:
        """Refuse a difference above the tolerance of the precision.

        Raises:
            ModelError: names both, and what to do.
        """
        if precision == "int8" and self.psnr < LEAST_PSNR:
            raise ModelError(
                f"the int8 {name} is {self.psnr:.1f} dB from float32; at least {LEAST_PSNR:.0f} dB are needed: calibrate with "
                "more typical pictures (--data), or take --precision float16; nothing was written"
            )
        most = LARGEST_DIFFERENCE.get(precision, math.inf)
        worst = self.mean if name == "masks" else self.largest  # Masks have a threshold: rounding may turn single pixels over.
        if not worst <= most:
            raise ModelError(
                f"the exported {name} differs from the translator by up to {worst:.2g}; at most {most:g} is tolerated "
                f"for {precision}: nothing was written"
            )


@dataclass(frozen=True)
class Trial:
    """Pictures with targets: what the translator makes of them, and what a program gives the exported graphs for it.

    Args:
        inputs: of each graph, by its name; one sample per picture.
        wanted: what each graph should give, from the translator and its recipe in float32.
        labels: the wanted labels [M, L].
    """

    inputs: Mapping[str, Mapping[str, Tensor]]
    wanted: Mapping[str, Tensor]
    labels: Tensor


def trial(translator: Translator, graphs: Sequence[Graph], x: Tensor, seed: int = 0) -> Trial:
    """Draw targets for pictures x [M, C, H, W] and let the translator, on the CPU in float32, translate them."""
    space, recipe, count = translator.model.space, translator.recipe, len(x)
    rng = torch.Generator().manual_seed(seed)
    lacking = [space.index(name) for name in translator.model.unreachable]
    reached = sorted({space.dataset_of[i] for i in range(space.num_labels) if i not in lacking}) or [0]
    dataset = torch.tensor(reached)[torch.arange(count) % len(reached)]
    labels = space.sample_uniform(dataset, rng)
    while (void := labels[:, lacking].any(1)).any():
        labels[void] = space.sample_uniform(dataset[void], rng)
    can, wanted = recipe.abilities, dict[str, Tensor]()
    told = recipe.condition(whole_target(space, labels, dataset), torch.zeros_like(labels))
    given: dict[str, Tensor] = {"image": x, can.told: told}
    seeds = range(seed * count, (seed + 1) * count)
    given["latent"] = latents(seeds, can.latent)
    with torch.no_grad():
        if can.generates:
            wanted["generator"] = generate(recipe, given["latent"], told)
        if can.style:
            given["style"] = wanted["mapping"] = recipe.draw_style(given["latent"], told)
        if can.reads_style:
            wanted["style_encoder"] = recipe.read_style(x, told)
        if can.masks:
            pairs = [recipe.find_masks(x[i : i + 1]) for i in range(count)]
            if all(pairs):
                wanted["masks"] = torch.cat([torch.cat(pair, 1) for pair in pairs])
            else:
                recipe.mask_by(_some_masks)
                pairs = [_some_masks(x)]
            given |= {name: torch.cat([pair[i] for pair in pairs]) for i, name in enumerate(can.masks)}
        if can.judges and not translator.model.missing:
            wanted["classifier"] = recipe.classify(x)
    if can.translates and can.by_strength:
        wanted["translator"] = translate(recipe, x, told)
    elif can.translates:
        targets = [_target(translator, row, int(d)) for row, d in zip(labels, dataset, strict=True)]
        style = seeds if can.style else [None] * count
        picture = translator.model.picture
        own = to_stored(x, picture) if picture.depth == 32 else x  # Features come and go in their own range.
        made = torch.stack([translator.translate(own[i], targets[i], style=style[i]) for i in range(count)])
        wanted["translator"] = to_float(made, picture) if picture.depth == 32 else made
    return Trial({g.name: {name: given[name] for name in g.inputs} for g in graphs}, wanted, labels)


def _some_masks(x: Tensor) -> tuple[Tensor, Tensor]:
    """Make masks for a model whose caller gives them: the bright parts, and the dark ones."""
    bright = (x.mean(1, keepdim=True) + 1) / 2
    return bright, 1 - bright


def _target(translator: Translator, labels: Tensor, dataset: int) -> dict[str, float]:
    """Say all labels [L] of one dataset that a target may name, so that nothing is left to the class head."""
    named = translator.model.space.named(labels, dataset)
    return {name: value for name, value in named.items() if name in translator.labels}


def found(judge: Recipe, x: Tensor, space: LabelSpace) -> Tensor:
    """Return the labels [M, L] that a classifier finds in pictures."""
    with torch.no_grad():
        return space.decide(judge.classify(x).float())


def milliseconds(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Time two functions in turns, so that both meet the same machine; return the fastest of each in ms."""
    taken: list[tuple[float, float]] = []
    begun = time.perf_counter()
    while len(taken) <= LEAST_REPEATS or time.perf_counter() < begun + SECONDS:
        start = time.perf_counter()
        first()
        between = time.perf_counter()
        second()
        taken.append((between - start, time.perf_counter() - between))
    return 1e3 * min(a for a, _ in taken[1:]), 1e3 * min(b for _, b in taken[1:])
