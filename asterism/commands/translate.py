"""`asterism translate`: translate pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asterism.commands.flags import add_engine, add_machine, check_engine

if TYPE_CHECKING:
    from asterism.inference.target_words import Edit
    from asterism.inference.translator import Translator

ABOUT = "translate pictures, recordings or folders"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("run", metavar="RUN", help="run, model file, hub name, or demo: the bundled model")
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="pictures, recordings, videos or folders; with --engine ray also s3://... and patterns such as 'in/**'",
    )
    parser.add_argument(
        "--to", action="append", metavar="TARGET", help="Blond_Hair, Eyeglasses=no, happy, AU12=0.8; repeat for several"
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder for the results; for a single result also its file name"
    )
    parser.add_argument("--labels", metavar="WORDS", help="labels that the sources have: Male,Young=no; others are predicted")
    parser.add_argument(
        "--fit",
        choices=("letterbox", "crop", "full"),
        default="letterbox",
        help="pictures of other sizes: scaled and padded, their centre, or full resolution, whole or in tiles [letterbox]",
    )
    parser.add_argument("--tile", type=int, metavar="PIXELS", help="with --fit full: side of the tiles [whole, or 512]")
    parser.add_argument("--overlap", type=int, metavar="PIXELS", help="with --fit full: what tiles share [a quarter]")
    parser.add_argument(
        "--region",
        action="append",
        default=[],
        metavar="X,Y,W,H",
        help="translate only this rectangle, in pixels, of each picture, such as a face; repeatable",
    )
    parser.add_argument("--frames", choices=("first", "all"), default="first", help="of a GIF, APNG or WebP [first]")
    parser.add_argument("--format", metavar="SUFFIX", help=".png, .jpg, .webp, .tif or .npy [what holds the model's pictures]")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="pictures at once [16]")
    there = parser.add_mutually_exclusive_group()
    there.add_argument("--overwrite", action="store_true", help="replace results that are there")
    there.add_argument("--skip-existing", action="store_true", help="make only the results that are not there")
    parser.add_argument("--style", type=int, metavar="SEED", help="recipes with styles: the seed of a style")
    parser.add_argument("--count", type=int, metavar="N", help="with --style: use N seeds, starting at SEED [1]")
    parser.add_argument(
        "--like",
        action="append",
        default=[],
        metavar="PICTURE",
        help="recipes with styles: take the style of PICTURE; others, without --to: take its labels; repeatable",
    )
    parser.add_argument(
        "--table", type=Path, metavar="CSV", help="says the labels of each --like PICTURE [the model reads them]"
    )
    parser.add_argument("--truncation", type=float, default=1.0, metavar="PSI", help="1: the style; 0: the domain's mean style")
    parser.add_argument("--strength", type=float, default=1.0, help="1: the style, or the whole change; 0: the source's own")
    parser.add_argument("--from", dest="source", metavar="DOMAIN", help="with --strength: domain that the source is read as")
    parser.add_argument(
        "--masks",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="models with masked skips: folder of masks named like the pictures",
    )
    parser.add_argument("--mask", action="store_true", help="also write where the model paints, if it has an attention")
    parser.add_argument(
        "--instances",
        type=Path,
        metavar="DIR",
        help="models of label maps with instances: a folder of these",
    )
    parser.add_argument(
        "--diff",
        nargs="?",
        type=float,
        const=25.0,
        metavar="PERCENT",
        help="also draw the changes; a change of this share of the value range has full colour [25]",
    )
    parser.add_argument(
        "--vocoder",
        type=Path,
        metavar="FILE",
        help="recordings: a vocoder, .onnx or .pt2 [Griffin and Lim's algorithm]",
    )
    add_machine(parser)
    add_engine(parser)
    parser.add_argument(
        "--max-errors", type=int, metavar="N", help="with --engine ray: give up when more sources failed [never]"
    )


def run(args: argparse.Namespace) -> int:
    """Translate pictures."""
    from asterism.inference.folder import translate_folder
    from asterism.inference.regions import region_of
    from asterism.inference.translator import load
    from asterism.inference.voices import Voices, are_features, translate_recordings
    from asterism.sound.recordings import is_recording

    if args.count is not None and (args.style is None or args.count < 1):
        args.parser.error("--count requires --style SEED and must be at least 1")
    if not args.to and not args.like or (args.table and (args.to or not args.like)):
        args.parser.error(
            "give a target, --to TARGET, or a picture to be like, --like PICTURE, whose labels --table CSV may know"
        )
    check_engine(args, "max_errors")
    options = {
        "labels": args.labels,
        "fit": args.fit,
        "format": args.format,
        "batch_size": args.batch_size,
        "overwrite": args.overwrite,
        "skip_existing": args.skip_existing,
        "styles": [] if args.style is None else list(range(args.style, args.style + (args.count or 1))),
        "like": [Path(reference) for reference in args.like if args.to],
        "truncation": args.truncation,
        "strength": args.strength,
        "source": args.source,
        "masks": args.masks,
        "instances": args.instances,
        "changes": None if args.diff is None else args.diff / 100,
        "attention": args.mask,
        "tile": args.tile,
        "overlap": args.overlap,
        "frames": args.frames,
        "regions": [region_of(text) for text in args.region],
    }
    if args.engine == "ray":
        if not args.to or args.vocoder:
            args.parser.error("--engine ray needs --to TARGET, and takes no --vocoder")
        return _on_ray(args, options)
    translator = load(args.run, device=args.device, precision=args.precision)
    args.images, args.out = [Path(image) for image in args.images], Path(args.out)
    if translator.model.picture.sound and args.to and not are_features(args.images):
        summary = translate_recordings(
            Voices(translator, args.vocoder),
            args.images,
            args.to,
            args.out,
            labels=args.labels,
            overwrite=args.overwrite,
            skip_existing=args.skip_existing,
            progress=True,
        )
        print(summary)
        return 0 if summary.written or summary.kept else 1
    if all(map(is_recording, args.images)):
        Voices(translator)  # Says that the model takes none.
    if args.vocoder:
        args.parser.error("--vocoder is for recordings and models of voices")
    told = args.to or [_like(translator, Path(picture), args.table) for picture in args.like]
    summary = translate_folder(translator, args.images, told, args.out, progress=True, **options)
    print(summary)
    return 0 if summary.written or summary.kept else 1


def _like(translator: Translator, picture: Path, table: Path | None) -> tuple[Edit, ...]:
    """Return the target of what a table, or else the model, says of a picture."""
    from asterism.inference import told_by_picture, told_by_table

    if table is not None:
        return told_by_table.like(translator, table, picture)
    return told_by_picture.like(translator, picture, f"like-{picture.stem}")


def _on_ray(args: argparse.Namespace, options: dict[str, Any]) -> int:
    """Translate pictures on a Ray cluster."""
    from asterism.batch.translate import translate_on_ray
    from asterism.storage.model_file import find_model

    summary = translate_on_ray(
        find_model(args.run),
        args.images,
        args.to,
        args.out,
        options=options,
        device=args.device,
        precision=args.precision,
        address=args.address,
        cores=args.cores or 1,
        max_errors=args.max_errors,
    )
    print(summary)
    return 1 if summary.skipped else 0
