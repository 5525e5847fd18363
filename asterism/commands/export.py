"""`asterism export`: write a model in another format."""

from __future__ import annotations

import argparse
from pathlib import Path

ABOUT = "write a model in another format, and compare it with the translator"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("run", metavar="RUN", help="run, model file or hub name")
    parser.add_argument(
        "--format",
        choices=("onnx", "pt2", "aoti", "hub", "published"),
        required=True,
        help="onnx; pt2: torch.export; aoti: the same, compiled for this processor; hub: a folder with a model card; "
        "published: checkpoints for the published code",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "float16", "int8"),
        help="precision of the file; int8 for onnx only; not for hub and published [float32]",
    )
    parser.add_argument("--opset", type=int, metavar="N", help="onnx: version of the operators [20]")
    parser.add_argument("--data", action="append", metavar="DIR", help="pictures to calibrate and compare on [the run's]")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file; for hub and published, a folder [in RUN/export]")
    parser.add_argument("--push", metavar="OWNER/NAME", help="hub: upload the folder; a new repository is private")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")


def run(args: argparse.Namespace) -> int:
    """Write a model in another format."""
    if args.push and args.format != "hub":
        args.parser.error("--push requires --format hub")
    if args.format not in ("hub", "published"):
        from asterism.export.job import export

        export(
            args.run,
            args.format,
            precision=args.precision or "float32",
            data=args.data or (),
            out=args.out,
            overwrite=args.overwrite,
            opset=args.opset,
            tell=print,
        )
        return 0
    if args.precision or args.data or args.opset:
        flag = "--precision" if args.precision else "--data" if args.data else "--opset"
        args.parser.error(f"{flag} requires --format onnx, pt2 or aoti; {args.format} stores the weights unchanged")
    if args.format == "hub":
        return _to_hub(args)
    from asterism.inference.published.layouts import export_published
    from asterism.recipes.model import load_model
    from asterism.storage.model_file import find_model

    model = find_model(args.run)
    for path in export_published(load_model(model), args.out or model.parent / "export", overwrite=args.overwrite):
        print(path)
    return 0


def _to_hub(args: argparse.Namespace) -> int:
    """Write the model's folder, and upload it where that is asked for."""
    from asterism.inference.card import hub_licence
    from asterism.inference.hub import push_to_hub, save_pretrained
    from asterism.storage.model_file import find_model
    from asterism.storage.run_files import read_model

    model = find_model(args.run)
    if hub_licence(str(read_model(model).get("info", {}).get("licence") or "")) == {"license": "unknown"}:
        print("the weights have no stated licence: state it with --train.licence when training or --licence when importing")
    if args.out or not args.push:
        folder = args.out or model.parent / "export" / "hub"
        print(save_pretrained(args.run, folder, name=args.push, overwrite=args.overwrite))
    if args.push:
        print(push_to_hub(args.run, args.push))
    return 0
