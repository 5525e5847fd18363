"""`asterism directions`: find directions of a generator's codes that mean something."""

from __future__ import annotations

import argparse
from pathlib import Path

from asterism.commands.flags import add_machine

ABOUT = "find directions of codes, for generate --along"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("run", metavar="RUN", help="run, model file or hub name of a recipe that generates")
    parser.add_argument(
        "--classifier",
        type=Path,
        metavar="FILE",
        help="model file of a classifier, which labels samples [the one that evaluation trained in the run's folder]",
    )
    parser.add_argument("--samples", type=int, default=2000, metavar="N", help="samples that it labels [2000]")
    parser.add_argument(
        "--pictures", type=int, default=0, metavar="N", help="instead: N of the run's training pictures, projected"
    )
    parser.add_argument("--components", type=int, default=0, metavar="K", help="also K principal directions, pc1, pc2, ... [0]")
    add_machine(parser, precision="float32")


def run(args: argparse.Namespace) -> int:
    """Find directions and keep them beside the model."""
    from asterism.evaluation.directions import from_pictures, from_samples
    from asterism.evaluation.feature_networks import classifier_of, own_classifier
    from asterism.inference.decoding import keep_directions
    from asterism.inference.reading import own_projector, read_by
    from asterism.inference.translator import load

    model = load(args.run, device=args.device, precision=args.precision)
    model.model.require("generates")
    if args.pictures:
        projector = own_projector(model)
        read = read_by(model, projector) if projector else None
        found, left = from_pictures(model, Path(args.run), count=args.pictures, components=args.components, read=read)
    else:
        file = args.classifier or own_classifier(args.run)
        recipe = classifier_of(file, model.machine, model.model.picture).recipe if file else None
        found, left = from_samples(model, recipe, count=args.samples, components=args.components)
    path = keep_directions(model, found)
    for reason in left:
        print(f"left out: {reason}")
    for name, direction in found.by_name.items():
        print(f"{name:24} length {float(direction.norm()):.2f}; {found.facts[name]}")
    print(f"kept in {path}; asterism generate {args.run} --along {next(iter(found.by_name))}=1 --sheet FILE.png")
    return 0
