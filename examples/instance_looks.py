"""Give single instances of a label map a look of their own, by a pix2pixHD model that has features.

    python examples/instance_looks.py runs/streets map.png instances.png out.png --style 7 --instance 26001=12

The picture is what `asterism translate --style 7` makes of the map, without `--style` that of the mean look; but an instance
that is named has the look of its own seed, and several may be named. A seed draws a look for every class; an instance takes
that of its class. It needs asterism alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import asterism
from asterism.data.label_maps import read_ids
from asterism.inference.styles import Style


def look(text: str) -> tuple[int, int]:
    """Read `ID=SEED`."""
    instance, seed = text.split("=")
    return int(instance), int(seed)


def main() -> None:
    """Translate one map."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run or model file of pix2pixhd with recipe.features, from label maps with instances")
    parser.add_argument("map", type=Path, help="ids of classes")
    parser.add_argument("instances", type=Path, help="ids of instances, up to 65,535")
    parser.add_argument("out", type=Path, help="the picture to write")
    parser.add_argument("--style", type=int, metavar="SEED", help="look of all that is not named (default: the mean look)")
    parser.add_argument(
        "--instance", type=look, action="append", default=[], metavar="ID=SEED", help="an instance and its look; repeatable"
    )
    parser.add_argument("--fit", choices=("letterbox", "crop", "full"), default="letterbox", help="as of asterism translate")
    options = parser.parse_args()

    model = asterism.load(options.run)
    recipe, taken = model.recipe, model.model.picture.taken
    if not hasattr(recipe, "centres") or taken.channels < 2:
        parser.error(f"{options.run} has no looks of instances: train pix2pixhd with --recipe.features 3, and instance maps")
    held = set(read_ids(options.instances)[0].flatten().tolist())
    if missing := [instance for instance, _ in options.instance if instance not in held]:
        parser.error(f"{options.instances} holds no instance {missing[0]}; it holds {', '.join(map(str, sorted(held)[:20]))}")
    spread = recipe.spread

    def mixed(x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        told = torch.full((len(x),), recipe.target, device=x.device)
        features = spread(x, s)
        for instance, seed in options.instance:
            own = spread(x, Style(seed).of(model.styles, x, told))
            features = torch.where(x[:, 1:] == instance, own, features)
        return features

    recipe.spread = mixed  # What the generator sees of looks; all else is as always.
    made = model.translate(options.map, model.labels[0], style=options.style, instances=options.instances, fit=options.fit)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    made.save(options.out)


if __name__ == "__main__":
    main()
