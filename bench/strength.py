"""How a model's edits grow with strength: of how many test pictures the classifier's probability rises all the way.

`python -m bench.strength RUN [--data PATH] [--pictures 60]`, for recipes that are told a strength. A picture is asked for every
alternative that it lacks, and for the opposite of every other label, at five strengths. A table shows, for each label, how many
pictures there were, of how many the probability of the wanted label rose at every step (or fell by less than `SLACK`: where it
is nearly 1 it cannot rise), its means, and the mean change of the picture at strength 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from asterism.data.dataset import open_data
from asterism.evaluation.judge import trained_judge
from asterism.evaluation.pictures import Pictures, spread
from asterism.inference.translator import load
from asterism.recipes.render import translate, whole_target
from asterism.recipes.settings import Settings

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
SLACK = 0.005


def rises(probabilities: Tensor, slack: float = SLACK) -> Tensor:
    """Say of which pictures [N] the probability [N, S] rises, but for the slack, from each strength to the next, and in all."""
    steps = probabilities.diff(dim=1)
    return (steps >= -slack).all(1) & (probabilities[:, -1] > probabilities[:, 0])


def wanted_probability(logits: Tensor, siblings: Sequence[int], index: int, on: Tensor) -> Tensor:
    """Return the probability [N] that label `index` is as wanted: that it holds, or where not `on` that it does not."""
    if siblings:
        return logits[:, list(siblings)].softmax(1)[:, siblings.index(index)]
    return torch.where(on, logits[:, index].sigmoid(), 1 - logits[:, index].sigmoid())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.strength", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", action="append", metavar="PATH", help="where the data are now [those of the run]")
    parser.add_argument("--pictures", type=int, default=60, help="test pictures [60]")
    args = parser.parse_args()
    model = load(args.run)
    recipe, space = model.recipe, model.model.space
    if not recipe.abilities.by_strength:
        parser.error(f"recipe {model.model.name} is told no strength")
    settings = Settings.of_run(args.run, args.data)
    data = open_data(settings.data)
    judge = trained_judge(args.run, settings, data.space, data.splits["train"], model.machine, {})
    held = Pictures(data.splits["test"][0], model.model.picture, print)
    rows = spread(len(held), args.pictures)
    x, labels = held.load(rows), held.labels[rows]
    all_rise, asked, still = 0, 0, list[float]()
    print("| target | pictures | rises | " + " | ".join(f"{s:g}" for s in STRENGTHS) + " | change at 0 |\n" + "|---" * 9 + "|")
    for name, targets in space.single_edits(labels, held.set.dataset):
        index = space.index(name)
        lacking = ((targets != labels).any(1)).nonzero()[:, 0]
        own, want, source = x[lacking], targets[lacking], labels[lacking]
        dataset = torch.full((len(lacking),), held.set.dataset)
        found = []
        for strength in STRENGTHS:
            told = recipe.condition(whole_target(space, want, dataset), source, strength)
            with torch.inference_mode():
                y = translate(recipe, model.machine.take(own), told.to(model.machine.device)).float().cpu()
            found.append(wanted_probability(judge.logits(y), space.siblings(index), index, want[:, index] > 0))
            if strength == 0:
                still.append(float((y - own).abs().mean()))
        probabilities = torch.stack(found, 1)
        up = rises(probabilities)
        all_rise, asked = all_rise + int(up.sum()), asked + len(up)
        means = " | ".join(f"{p:.3f}" for p in probabilities.mean(0).tolist())
        print(f"| {name} | {len(up)} | {up.float().mean():.1%} | {means} | {still[-1]:.4f} |", flush=True)
    print(f"| all | {asked} | {all_rise / asked:.1%} |" + " |" * len(STRENGTHS) + f" {sum(still) / len(still):.4f} |")


if __name__ == "__main__":
    main()
