"""`asterism project`: find the codes of pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from asterism.commands.flags import add_machine

ABOUT = "find the codes whose pictures are most like given ones"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("run", metavar="RUN", help="run, model file or hub name")
    parser.add_argument("images", nargs="+", type=Path, metavar="PICTURE", help="pictures or folders")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for codes, pictures and the sheet")
    parser.add_argument("--keep", action="store_true", help="keep the codes beside the model too, for generate --code")
    parser.add_argument("--to", metavar="TARGET", help="target, for recipes that are told labels; domain of styles")
    parser.add_argument("--labels", metavar="WORDS", help="labels that the pictures have, where codes are labels")
    parser.add_argument(
        "--by",
        choices=("network", "optimisation", "hybrid"),
        help="a projector, a search from drawn codes, or a search from the projector's [hybrid where the run has a projector]",
    )
    parser.add_argument("--projector", type=Path, metavar="RUN", help="run of asterism train projector [RUN/projector]")
    parser.add_argument("--compare", action="store_true", help="also print the errors of all three ways")
    parser.add_argument("--method", choices=("lbfgs", "adam"), default="lbfgs", help="how to search [lbfgs]")
    parser.add_argument("--starts", type=int, default=4, metavar="N", help="codes that each search begins with [4]")
    parser.add_argument("--steps", type=int, metavar="N", help="steps of each search [lbfgs: 100; adam: 300]")
    parser.add_argument(
        "--features",
        metavar="NETWORK",
        help="network that compares pictures beside their pixels: a classifier's model file, FILE.pt2, module:Class, inception "
        "or none [the classifier that evaluation trained in the run's folder, if it did]",
    )
    parser.add_argument("--feature-weight", type=float, default=0.1, metavar="W", help="its weight [0.1]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the starts [0]")
    parser.add_argument(
        "--fit", choices=("crop", "letterbox"), default="crop", help="how to fit pictures of other shapes [crop]"
    )
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="searches at once [64]")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    add_machine(parser, precision="float32")  # Gradients.


def run(args: argparse.Namespace) -> int:
    """Project pictures."""
    from asterism.evaluation.feature_networks import feature_network, own_classifier
    from asterism.inference.projected_files import compare_ways, project_files
    from asterism.inference.reading import FOLDER, own_projector, read_by
    from asterism.inference.translator import load

    model = load(args.run, device=args.device, precision=args.precision)
    given = args.features or str(own_classifier(args.run) or "none")
    features = None if given == "none" else feature_network(given, model.machine, model.model.picture)
    if features is not None:
        print(f"pictures are compared through {given}, too")
    projector = args.projector or own_projector(model)
    by = args.by or ("hybrid" if projector else "optimisation")
    if projector is None and (by != "optimisation" or args.compare):
        args.parser.error(
            f"the run has no projector yet: asterism train projector --model {args.run} --out {args.run}/{FOLDER}"
        )
    read = read_by(model, projector) if projector is not None else None
    how = {
        "to": args.to,
        "labels": args.labels,
        "method": args.method,
        "features": features,
        "feature_weight": args.feature_weight,
        "seed": args.seed,
        "fit": args.fit,
        "batch_size": args.batch_size,
    }
    ways = {
        "network": {"starts": 1, "steps": 0, "read": read},
        "optimisation": {"starts": args.starts, "steps": args.steps},
        "hybrid": {"starts": args.starts, "steps": args.steps, "read": read},
    }
    summary = project_files(model, args.images, args.out, keep=args.keep, overwrite=args.overwrite, **how, **ways[by])
    print(summary)
    if args.compare and read is not None:
        errors = compare_ways(model, args.images, read, starts=args.starts, steps=args.steps, **how)
        print("\n".join(f"{way:14}{sum(of) / len(of):.4f}" for way, of in errors.items()))
    return 0 if summary.written else 1
