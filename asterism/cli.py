"""The command line: every command parses its words, calls the library and prints; nothing else happens here."""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asterism import __version__
from asterism.config import DataConfig, TrainConfig, closest, fields_of
from asterism.terminal import Help, amount, counting, describe_keys, duration, in_words, space, waiting, width

if TYPE_CHECKING:
    from asterism.data.dataset import Datasets
    from asterism.recipes.settings import Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status: 0 done, 1 refused or failed, 2 misspelt, 128 + n stopped by signal n."""
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)
    if not hasattr(args, "command"):
        parser.print_help()
        return 2
    try:
        args.overrides = read_overrides(rest, args.parser)
        return int(args.command(args) or 0)
    except BrokenPipeError:  # Whoever read the output has enough of it, such as `head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, RuntimeError, OSError) as error:
        if args.traceback:
            raise
        print(f"asterism: {in_words(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("asterism: stopped", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Declare the commands and their flags; everything else is a dotted key of the configuration."""
    parser = argparse.ArgumentParser(
        prog="asterism", description="Train one model to translate images between many domains.", formatter_class=Help
    )
    parser.add_argument("--version", action="version", version=f"asterism {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int | None], help: str) -> argparse.ArgumentParser:
        about = help[0].upper() + help[1:] + "."
        command = commands.add_parser(name, help=help, description=about, allow_abbrev=False, formatter_class=Help)
        command.add_argument("--traceback", action="store_true", help="show where an error was raised")
        command.set_defaults(command=run, parser=command, takes_keys=False)
        return command

    def add_keys(command: argparse.ArgumentParser) -> None:
        command.set_defaults(takes_keys=True)
        command.epilog = f"configuration, as --KEY VALUE; asterism list RECIPE shows recipe.* and presets:\n{describe_keys()}"

    demo = add("demo", run_demo, "train on the bundled sample and write a report")
    demo.add_argument("--out", default="runs/demo", metavar="RUN", help="the run's folder [runs/demo]")

    doctor = add("doctor", run_doctor, "examine data before training; exit status 0 if training would start")
    doctor.add_argument("data", nargs="+", metavar="DATA", help="folder or table; several are joined")
    doctor.add_argument("--recipe", default="stargan", help="recipe for the estimate of time and memory [stargan]")
    doctor.add_argument("--preset", help="named settings of the recipe")
    doctor.add_argument("--json", action="store_true", help="print JSON, in which every file is named")
    add_keys(doctor)

    train = add("train", run_train, "train a recipe; the same command again resumes")
    train.add_argument("recipe", metavar="RECIPE", help="asterism list shows them")
    train.add_argument(
        "--data", action="append", required=True, metavar="DATA", help="folder or table; repeat to join datasets"
    )
    train.add_argument("--out", required=True, metavar="RUN", help="the run's folder")
    train.add_argument("--preset", help="named settings of the recipe")
    train.add_argument("--init", metavar="MODEL", help="run or model file whose weights a new run starts from")
    train.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), help="short for --train.device")
    train.add_argument("--dry-run", action="store_true", help="check everything, print settings and cost, write nothing")
    add_keys(train)

    translate = add("translate", run_translate, "translate pictures or folders")
    translate.add_argument("run", metavar="RUN", help="run, model file or hub name")
    translate.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="pictures or folders")
    translate.add_argument(
        "--to", action="append", required=True, metavar="TARGET", help="Blond_Hair, Eyeglasses=no, happy; repeat for several"
    )
    translate.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the results")
    translate.add_argument(
        "--labels", metavar="WORDS", help="labels that the sources have: Male,Young=no; others are predicted"
    )
    translate.add_argument(
        "--fit", choices=("letterbox", "crop"), default="letterbox", help="how other shapes enter the model [letterbox]"
    )
    translate.add_argument(
        "--format", metavar="SUFFIX", help=".png, .jpg, .webp, .tif or .npy [what holds the model's pictures]"
    )
    translate.add_argument("--batch-size", type=int, default=16, metavar="N", help="pictures at once [16]")
    translate.add_argument("--overwrite", action="store_true", help="replace results that are there")
    translate.add_argument("--style", type=int, metavar="SEED", help="recipes with styles: style of this seed")
    translate.add_argument("--count", type=int, default=1, metavar="N", help="with --style: this seed and the next, N in all")
    translate.add_argument(
        "--like", action="append", default=[], metavar="PICTURE", help="recipes with styles: its style; repeats"
    )
    translate.add_argument(
        "--truncation", type=float, default=1.0, metavar="PSI", help="1: the style; 0: the domain's mean style"
    )
    translate.add_argument("--strength", type=float, default=1.0, help="1: the style; 0: the source's own, a reconstruction")
    translate.add_argument("--from", dest="source", metavar="DOMAIN", help="with --strength: domain that the source is read as")
    add_machine(translate)

    evaluate = add("evaluate", run_evaluate, "measure a run on held-out pictures")
    evaluate.add_argument("run", metavar="RUN", help="the run's folder")
    evaluate.add_argument("--split", choices=("val", "test"), default="test", help="which pictures [test]")
    evaluate.add_argument("--data", action="append", metavar="DATA", help="where the data are now, if not where they were")
    add_machine(evaluate)

    report = add("report", run_report, "write report.html of one or several runs")
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the runs' folders")
    report.add_argument("--out", type=Path, metavar="FILE", help="the page [report.html in the run, or beside the runs]")

    export = add("export", run_export, "write a model in another format")
    export.add_argument("run", metavar="RUN", help="run, model file or hub name")
    export.add_argument("--format", choices=("published",), required=True, help="checkpoints that the published code reads")
    export.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the files")

    imported = add("import", run_import, "make a run from published checkpoints")
    imported.add_argument("recipe", metavar="RECIPE", help="whose checkpoints they are; the files do not tell")
    imported.add_argument("files", nargs="+", type=Path, metavar="FILE", help="the checkpoint files, in any order")
    imported.add_argument("--labels", required=True, metavar="WORDS", help="A,B,C or celeba:binary:A,B;rafd:one_of:C,D")
    imported.add_argument("--image-size", required=True, metavar="N", help="pixels in training: 128 or 128x96")
    imported.add_argument("--licence", default="", metavar="WORDS", help="licence of the weights, kept in the model file")
    imported.add_argument("--out", required=True, type=Path, metavar="RUN", help="the run's folder, new or empty")

    listing = add("list", run_list, "list recipes, or one recipe's presets and keys")
    listing.add_argument("recipe", nargs="?", metavar="RECIPE", help="the one to describe")

    info = add("info", run_info, "describe a run or model file: labels, pictures, data, scores, licence")
    info.add_argument("run", metavar="RUN", help="run, model file or hub name")
    return parser


def add_machine(command: argparse.ArgumentParser) -> None:
    """Add the two flags of everything that runs a trained model."""
    command.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="where to compute [auto]")
    command.add_argument(
        "--precision", choices=("auto", "float32", "bfloat16"), default="auto", help="float32 is exact [auto: by the device]"
    )


def read_overrides(words: Sequence[str], parser: argparse.ArgumentParser) -> dict[str, str]:
    """Read `--a.b value` and `--a.b=value` from what argparse left over; anything else ends with a usage error."""
    takes_keys = parser.get_default("takes_keys")
    values: dict[str, str] = {}
    words = list(words)
    while words:
        word = words.pop(0)
        key, given, value = word.partition("=")
        if not (takes_keys and word.startswith("--") and "." in key):
            flags = [flag for action in parser._actions for flag in action.option_strings]
            keys = [f"--{k}" for k in _all_keys()] if takes_keys else []
            parser.error(f"unrecognized argument {word}: {closest(word, flags + keys)}")
        if not given:
            if not words:
                parser.error(f"{word} needs a value")
            value = words.pop(0)
        values[key[2:]] = value
    return values


def _all_keys() -> list[str]:
    return [f"{s}.{n}" for s, c in (("data", DataConfig), ("train", TrainConfig)) for n in fields_of(c)]


def run_demo(args: argparse.Namespace) -> int:
    """Train on the bundled sample."""
    from asterism.demo import demo

    return demo(Path(args.out))


def run_doctor(args: argparse.Namespace) -> int:
    """Examine data."""
    from asterism.data.dataset import open_data
    from asterism.data.doctor import describe, examine
    from asterism.recipes.settings import Settings

    settings = Settings.resolve(args.recipe, args.data, args.preset, args.overrides)
    with counting("examining pictures") as progress:
        diagnosis = examine(settings.data, progress)
    lines: list[str] = []
    cost = None
    if diagnosis.ok:
        try:
            lines, cost = expected_cost(settings, open_data(settings.data))
        except ValueError as error:  # The networks cannot take these pictures: as fatal as broken data.
            diagnosis.problems.append(str(error))
    if args.json:
        print(json.dumps(diagnosis.to_json() | {"estimate": cost}, indent=2))
    else:
        describe(diagnosis, estimate=lines)
    return 0 if diagnosis.ok else 1


def expected_cost(settings: Settings, datasets: Datasets) -> tuple[list[str], dict[str, object]]:
    """Estimate a run's cost, in words and as JSON values."""
    from asterism.engine.estimate import estimate

    with waiting("timing a few steps"):
        cost = estimate(settings, datasets)
    parameters = ", ".join(f"{name} {amount(count)}" for name, count in cost.parameters.items())
    lines = [
        f"{settings.name} on {cost.machine}",
        f"parameters: {parameters}",
        f"time: about {duration(cost.seconds)} per 1,000 steps, {duration(cost.seconds * cost.steps / 1000)} for all "
        f"{cost.steps:,}, without data loading",
        f"memory: about {space(cost.memory)}",
    ]
    return lines, vars(cost)


def run_train(args: argparse.Namespace) -> int:
    """Train or resume."""
    from asterism.engine.run import run
    from asterism.recipes.settings import Settings

    if args.device:
        args.overrides["train.device"] = args.device
    settings = Settings.resolve(args.recipe, args.data, args.preset, args.overrides)
    if args.dry_run:
        return rehearse(settings, Path(args.out), args.init)
    out = Path(args.out)
    outcome = run(settings, out, args.init)
    if outcome.signal is not None:
        print(f"saved at step {outcome.step}; the same command resumes")
        return 128 + outcome.signal
    print(f"done: {out}\n  asterism translate {out} PICTURE --to TARGET --out DIR\n  asterism report {out}")
    return 0


def rehearse(settings: Settings, out: Path, init: str | None) -> int:
    """Check all that training would check, and print settings and cost; nothing is written."""
    from asterism.data.dataset import open_data
    from asterism.engine.run import build, initialise, refuse_changes

    refuse_changes(settings, out)
    with waiting("reading the headers of the pictures"):
        datasets = open_data(settings.data)
    if init is not None:
        initialise(build(settings, datasets), init, settings.name)
    lines, _ = expected_cost(settings, datasets)
    print(json.dumps(settings.to_json(), indent=2))
    print("\n".join(lines))
    return 0


def run_translate(args: argparse.Namespace) -> int:
    """Translate pictures."""
    from asterism.inference.folder import translate_folder
    from asterism.inference.translator import load

    translator = load(args.run, device=args.device, precision=args.precision)
    summary = translate_folder(
        translator,
        args.images,
        args.to,
        args.out,
        labels=args.labels,
        fit=args.fit,
        format=args.format,
        batch_size=args.batch_size,
        overwrite=args.overwrite,
        progress=True,
        styles=() if args.style is None else range(args.style, args.style + args.count),
        like=args.like,
        truncation=args.truncation,
        strength=args.strength,
        source=args.source,
    )
    print(summary)
    return 0 if summary.written else 1


def run_evaluate(args: argparse.Namespace) -> int:
    """Measure a run."""
    from asterism.evaluation import evaluate

    evaluate(Path(args.run), split=args.split, data=args.data, device=args.device, precision=args.precision)
    return 0


def run_report(args: argparse.Namespace) -> int:
    """Write a report."""
    from asterism.report import write_report

    print(write_report(args.runs, args.out))
    return 0


def run_export(args: argparse.Namespace) -> int:
    """Write published checkpoints."""
    from asterism.inference.published import export_published
    from asterism.model_file import find_model, load_model

    for path in export_published(load_model(find_model(args.run)), args.out):
        print(path)
    return 0


def run_import(args: argparse.Namespace) -> int:
    """Make a run from published checkpoints."""
    from asterism.config import build
    from asterism.inference.import_ import import_published
    from asterism.labels import LabelSpace

    size = build(DataConfig, {"size": args.image_size}, where="--image-").size
    space = LabelSpace.from_text(args.labels)
    path = import_published(args.recipe, args.files, space=space, size=size, out=args.out, licence=args.licence)
    print(f"{path}\n  asterism translate {args.out} PICTURE --to {space.names[0]} --out DIR")
    return 0


def run_list(args: argparse.Namespace) -> int:
    """List recipes, or describe one."""
    from asterism.recipes import RECIPES, recipe_class

    if args.recipe is None:
        for name in RECIPES:
            recipe = recipe_class(name)
            print(f"{name:14} {recipe.__doc__.strip().splitlines()[0]}\n{'':14} presets: {', '.join(recipe.presets)}")
        return 0
    recipe = recipe_class(args.recipe)
    print(f"{recipe.__doc__.strip()}\n\npresets:")
    for preset, sections in recipe.presets.items():
        values = " ".join(f"--{section}.{key} {value}" for section, v in sections.items() for key, value in v.items())
        print(
            textwrap.fill(values, width(), initial_indent=f"  {preset:14} ", subsequent_indent=" " * 17, break_on_hyphens=False)
        )
    print(f"\nkeys:\n{describe_keys(recipe.Config)}")
    return 0


def run_info(args: argparse.Namespace) -> int:
    """Describe a model."""
    from asterism.model_file import find_model, load_model

    path = find_model(args.run)
    model = load_model(path)
    picture, lines = model.picture, [("model", str(path)), ("recipe", model.name)]
    lines.append(("pictures", f"{picture.height}x{picture.width}, channels {picture.channels}, {picture.depth} bits"))
    for group in model.space.groups:
        single = [label for label in group.labels if not any(label in names for names in group.exclusive)]
        sets = [", ".join(single)] if single and group.kind == "binary" else []
        sets += [f"one of {', '.join(names)}" for names in (group.exclusive or (group.labels,) * (group.kind == "one_of"))]
        lines.append(("labels", f"{group.dataset}: {'; '.join(sets)}"))
    for key, value in model.info.items():
        if key == "data":
            value = [f"{held['name']} ({held['pictures']:,} pictures)" for held in value]
        if value not in (None, "", []):
            lines.append((key.replace("_", " "), ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    if model.missing:
        lines.append(("missing", ", ".join(model.missing)))
    scores = path.with_name("scores.json")
    for row in json.loads(scores.read_text(encoding="utf-8"))["rows"] if scores.exists() else []:
        values = ", ".join(f"{name} {value:.3f}" for name, value in row["values"].items() if value is not None)
        lines.append(("scores", f"{row['name']}: {values}"))
    for key, text in lines:
        print(f"{key:12} {text}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
