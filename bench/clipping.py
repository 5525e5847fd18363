"""What clipping does to a critic, and what a penalty does: `python -m bench.clipping RUN_WGAN RUN_WGAN_GP --out FIGURE.png`.

Runs of wgan and wgan_gp, of any number, are read as they stand: the weights of the critic's layers, and, of each picture, the
norms of the gradient of its score with respect to what each layer makes, from the picture itself to the last layer. A table is
printed and a figure drawn. After Figure 1 of arXiv:1704.00028, which shows the same of runs on a toy.
"""

from __future__ import annotations

import argparse
import io
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from asterism.data.pictures import to_float
from asterism.data.reading import load_rows
from asterism.evaluation.checkpoints import chosen
from asterism.evaluation.run_data import open_run_data
from asterism.recipes.settings import Settings
from asterism.storage.run_files import called
from asterism.storage.whole import write_whole

BINS = 80
COLOURS = ((200, 60, 30), (30, 90, 190), (230, 150, 20), (20, 140, 90))
SCALE = 2
"""Pixels of the figure for one of its units, so that letters are sharp."""
WIDE, HIGH, MARGIN = 440, 220, 56


@dataclass(frozen=True)
class Critic:
    """What is shown of a run.

    Args:
        name: the run's.
        what: recipe, step and how weights are kept small.
        bound: the size that weights are clipped to; 0: none.
        weights: all of its layers' weights, in one row.
        places: what gradients are taken of: the picture, then the layers.
        norms: [places, N], of each picture.
    """

    name: str
    what: str
    bound: float
    weights: Tensor
    places: list[str]
    norms: Tensor


def main() -> None:
    """Read the options, measure, print a table and draw the figure."""
    parser = argparse.ArgumentParser(prog="bench.clipping", description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of runs of wgan and wgan_gp")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="the figure")
    parser.add_argument("--pictures", type=int, default=256, metavar="N", help="held-out pictures [256]")
    parser.add_argument("--data", action="append", metavar="DATA", help="present location of the data, if it changed")
    args = parser.parse_args()
    critics = [measure(run, args.pictures, args.data) for run in args.runs]
    for critic in critics:
        print("\n".join(table(critic)))
    file = io.BytesIO()
    draw(critics).save(file, "PNG", optimize=True)
    write_whole(args.out, file.getvalue())
    print(f"figure: {args.out}")


def measure(run: Path, count: int, data: list[str] | None = None) -> Critic:
    """Measure the critic of a run's last checkpoint, on pictures between held-out ones and fakes, where the penalty looks.

    Batch norms take their running statistics, so that a picture's gradient is its own.

    Raises:
        SystemExit: a run of another recipe.
    """
    model, checkpoints = chosen(run, "last", torch.device("cpu"))
    _, step, recipe = next(checkpoints)
    if model.name not in ("wgan", "wgan_gp"):
        raise SystemExit(f"{run} is a run of {model.name}; expected one of wgan or wgan_gp, which have critics")
    recipe.float().eval().requires_grad_(False)
    datasets = open_run_data(Settings.of_run(run, data), model)
    held = datasets.splits["test"][0]
    x = to_float(load_rows(held, range(min(count, len(held))), datasets.picture), datasets.picture)
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(len(x), recipe.abilities.latent, generator=rng)
    mix = torch.rand(len(x), 1, 1, 1, generator=rng)
    places, norms = gradient_norms(recipe.critic, mix * x + (1 - mix) * recipe.generate(z, z[:, :0]))
    weights = torch.cat([layer.weight.flatten() for layer in layers(recipe.critic).values()])
    bound = float(getattr(recipe.config, "clamp", 0))
    how = f"clipped to {bound:g}" if bound else f"penalty {recipe.config.penalty_weight:g}"
    return Critic(called(run), f"{model.name}, {how}, {step:,} steps of the critic", bound, weights, places, norms)


def layers(critic: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that have a matrix of weights, in order: convolutions and full layers."""
    return {name: m for name, m in critic.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}


def gradient_norms(critic: nn.Module, x: Tensor) -> tuple[list[str], Tensor]:
    """Return the places, and the norms [places, N] of the gradients of the scores of pictures x [N, C, h, w] at them."""
    made: list[Tensor] = [x.requires_grad_()]
    hooks = [m.register_forward_hook(lambda _, __, out: made.append(out)) for m in layers(critic).values()]
    score = critic(x).sum()
    for hook in hooks:
        hook.remove()
    gradients = torch.autograd.grad(score, made)
    places = ["picture", *(f"layer {number}" for number in range(1, len(made)))]
    return places, torch.stack([g.flatten(1).norm(dim=1) for g in gradients])


def spread(values: Tensor) -> tuple[float, float, float]:
    """Return the tenth, the fiftieth and the ninetieth percentile."""
    low, middle, high = torch.quantile(values, torch.tensor([0.1, 0.5, 0.9])).tolist()
    return low, middle, high


def at_bound(critic: Critic) -> float:
    """Return the share of weights within a twentieth of the bound, or, by the last step, beyond it."""
    return float((critic.weights.abs() > 0.95 * critic.bound).float().mean()) if critic.bound else 0.0


def table(critic: Critic) -> list[str]:
    """Return what was measured, as lines."""
    low, middle, high = spread(critic.weights.abs())
    lines = [f"{critic.name}: {critic.what}", f"  weights: size {low:.2g}, {middle:.2g}, {high:.2g} (10 %, median, 90 %)"]
    if critic.bound:
        lines.append(f"  weights at the bound: {at_bound(critic):.1%}")
    for place, norms in zip(critic.places, critic.norms, strict=True):
        low, middle, high = spread(norms)
        lines.append(f"  gradient at {place:8} {low:9.3g} {middle:9.3g} {high:9.3g} (10 %, median, 90 %)")
    return lines


def draw(critics: list[Critic]) -> Image.Image:
    """Draw the weights of each critic, and at last the gradients of all, in two columns."""
    rows = len(critics) // 2 + 1
    figure = Image.new("RGB", (SCALE * 2 * (WIDE + MARGIN + 12), SCALE * rows * (HIGH + MARGIN)), "white")
    for place, (critic, colour) in enumerate(zip(critics, COLOURS * len(critics), strict=False)):
        _histogram(_Axes(figure, place), critic, colour)
    _gradients(_Axes(figure, len(critics)), critics)
    return figure


class _Axes:
    """A field of the figure, whose points are shares of its width and height, from its lower left corner."""

    def __init__(self, figure: Image.Image, place: int) -> None:
        row, column = divmod(place, 2)
        self.pen = ImageDraw.Draw(figure, "RGBA")
        self.font = ImageFont.load_default(13 * SCALE)
        self.left = SCALE * (MARGIN + column * (WIDE + MARGIN))
        self.bottom = SCALE * (row * (HIGH + MARGIN) + MARGIN * 0.55 + HIGH)
        corners = (self.at(0, 1), self.at(1, 0))
        self.pen.rectangle((*corners[0], *corners[1]), outline="black", width=SCALE)

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.left + SCALE * WIDE * x, self.bottom - SCALE * HIGH * y

    def say(self, x: float, y: float, words: str, anchor: str, colour: tuple[int, ...] = (0, 0, 0)) -> None:
        self.pen.text(self.at(x, y), words, colour, self.font, anchor)

    def line(self, points: list[tuple[float, float]], colour: tuple[int, ...], width: int = 2) -> None:
        self.pen.line([self.at(*point) for point in points], colour, width * SCALE, "curve")


def _histogram(axes: _Axes, critic: Critic, colour: tuple[int, int, int]) -> None:
    """Draw how the weights of a critic are spread, up to a round number beyond the largest or the bound."""
    size = critic.bound or float(torch.quantile(critic.weights.abs()[:: max(1, len(critic.weights) // 100_000)], 0.995))
    end = 1.2 * size
    shares = torch.histc(critic.weights, BINS, -end, end) / len(critic.weights)
    most = float(shares.max())
    for number, share in enumerate(shares.tolist()):
        box = (*axes.at(number / BINS, 0.85 * share / most), *axes.at((number + 1) / BINS, 0))
        axes.pen.rectangle(box, fill=colour)
    for mark in (-size, 0.0, size):
        x = (mark + end) / (2 * end)
        axes.line([(x, 0), (x, -0.025)], (0, 0, 0), 1)
        axes.say(x, -0.04, f"{mark:.2g}", "mt")
    axes.say(0, 1.03, f"{critic.name}: {critic.what}", "lb")
    if critic.bound:
        axes.say(0.5, 0.97, f"{at_bound(critic):.0%} of all weights stand at the bound", "ma")


def _gradients(axes: _Axes, critics: list[Critic]) -> None:
    """Draw the medians of gradients at each place, on a logarithmic scale, with bands that hold 80% of the pictures."""
    spreads = [[spread(norms) for norms in critic.norms] for critic in critics]
    numbers = [max(value, 1e-12) for places in spreads for three in places for value in three]
    low, high = math.floor(math.log10(min(numbers))), math.ceil(math.log10(max(numbers)))
    height = lambda value: (math.log10(max(value, 1e-12)) - low) / max(1, high - low)  # noqa: E731
    for power in range(low, high + 1):
        y = (power - low) / max(1, high - low)
        axes.line([(0, y), (1, y)], (0, 0, 0, 40), 1)
        axes.say(-0.015, y, f"{10.0**power:g}", "rm")
    for critic, places, colour in zip(critics, spreads, COLOURS * len(critics), strict=False):
        across = [(number + 0.5) / len(places) for number in range(len(places))]
        band = [(x, height(three[0])) for x, three in zip(across, places, strict=True)]
        band += [(x, height(three[2])) for x, three in reversed(list(zip(across, places, strict=True)))]
        axes.pen.polygon([axes.at(*point) for point in band], (*colour, 50))
        axes.line([(x, height(three[1])) for x, three in zip(across, places, strict=True)], colour)
        for x, three in zip(across, places, strict=True):
            axes.pen.circle(axes.at(x, height(three[1])), 4 * SCALE, colour)
        axes.say(across[0], height(places[0][2]) + 0.04, critic.name, "mb", colour)
    longest = max((critic.places for critic in critics), key=len)
    for number, place in enumerate(longest):
        axes.say((number + 0.5) / len(longest), -0.04, place, "mt")
    axes.say(0, 1.03, "gradient of the score: median norm, and 80% of the pictures", "lb")


if __name__ == "__main__":
    main()
