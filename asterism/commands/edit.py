"""`asterism edit`: edit pictures by strokes, on a model's manifold."""

from __future__ import annotations

import argparse
from pathlib import Path

from asterism.commands.flags import add_machine

ABOUT = "edit by strokes: the model's pictures that have what was drawn"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("run", metavar="RUN", help="run, model file or hub name")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--picture", type=Path, metavar="PHOTO", help="start from a photograph, which is projected")
    start.add_argument("--from", dest="start", metavar="SUM", help="start from saved codes: me, seed7, candidate_03, a - b + c")
    parser.add_argument("--codes", type=Path, metavar="FILE", help="file of the codes' names [codes.safetensors of the run]")
    parser.add_argument("--paint", type=Path, metavar="FILE", help="colours wanted, as a picture that is transparent elsewhere")
    parser.add_argument("--sketch", type=Path, metavar="FILE", help="lines wanted, likewise")
    parser.add_argument(
        "--warp",
        action="append",
        default=[],
        metavar="Y,X,Y2,X2[,WIDTH]",
        help="move a patch, in the model's pixels; repeatable",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for candidates, their sheet and codes")
    parser.add_argument("--to", metavar="TARGET", help="target, for recipes that are told labels; domain of styles")
    parser.add_argument("--labels", metavar="WORDS", help="labels that the photograph has, where codes are labels")
    parser.add_argument("--candidates", type=int, default=64, metavar="N", help="codes at once [64]")
    parser.add_argument("--steps", type=int, default=40, metavar="N", help="steps of each [40]")
    parser.add_argument("--stay", type=float, default=5 / 3, metavar="W", help="weight of staying near the start [1.67]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the candidates [0]")
    parser.add_argument("--choose", type=int, default=1, metavar="N", help="candidate that way and photograph go to [1]")
    parser.add_argument("--fit", choices=("crop", "letterbox"), default="crop", help="how to fit the photograph [crop]")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    add_machine(parser, precision="float32")


def run(args: argparse.Namespace) -> int:
    """Edit by strokes."""
    from asterism.inference.decoding import code_in_words, decodes, saved_codes
    from asterism.inference.edited_files import write_edit
    from asterism.inference.reading import own_projector, read_by
    from asterism.inference.translator import load

    model = load(args.run, device=args.device, precision=args.precision)
    shared = {"to": args.to, "labels": args.labels, "fit": args.fit}
    kind, start = decodes(model), None
    if args.start:
        saved = saved_codes(model, model.recipe.abilities.latent or model.recipe.abilities.style, args.codes)
        start = code_in_words(model, args.start, saved)
    elif args.picture and kind != "labels":
        projector = own_projector(model)
        found = model.project(args.picture, read=read_by(model, projector) if projector else None, seed=args.seed, **shared)
        start = found.codes[0]
        print(f"{args.picture}: mean squared error of its projection {found.errors[0]:.4f}")
    edited = model.edit(
        start,
        paint=args.paint,
        sketch=args.sketch,
        warp=[_numbers(args.parser, words) for words in args.warp],
        source=args.picture if kind != "latent" else None,
        candidates=args.candidates,
        steps=args.steps,
        stay=args.stay,
        seed=args.seed,
        **shared,
    )
    photo = args.picture if kind == "latent" else None
    summary = write_edit(edited, args.out, photo=photo, number=args.choose - 1, fit=args.fit, overwrite=args.overwrite)
    print(f"candidates: {len(edited.codes)}, of cost {edited.costs[0]:.3f} and more; the way to one is {edited.way}")
    print(f"files written: {len(summary.written)}")
    return 0


def _numbers(parser: argparse.ArgumentParser, words: str) -> list[int]:
    try:
        return [int(word) for word in words.split(",")]
    except ValueError:
        parser.error(f"--warp {words}: expected whole numbers Y,X,Y2,X2 and perhaps a width")
