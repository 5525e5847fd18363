"""The command line: every command parses its words, calls the library and prints; nothing else happens here."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from asterism import __version__
from asterism.config import DataConfig, TrainConfig, closest, fields_of


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
    except (ValueError, RuntimeError, OSError) as error:
        if args.traceback:
            raise
        print(f"asterism: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Declare the commands and their flags; everything else is a dotted key of the configuration."""
    parser = argparse.ArgumentParser(prog="asterism", description="Train one model to translate images between many domains.")
    parser.add_argument("--version", action="version", version=f"asterism {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int | None], help: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", allow_abbrev=False)
        command.add_argument("--traceback", action="store_true", help="show where an error was raised")
        command.set_defaults(command=run, parser=command, takes_keys=False)
        return command

    def add_keys(command: argparse.ArgumentParser) -> None:
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        command.epilog = (
            "configuration keys, as --KEY VALUE (asterism list RECIPE shows recipe.* and presets):\n" + describe_keys()
        )
        command.set_defaults(takes_keys=True)

    demo = add("demo", run_demo, "train on the bundled sample and write a report")
    demo.add_argument("--out", default="runs/demo", help="the run's folder")

    doctor = add("doctor", run_doctor, "examine data before training; exit status 0 if training would start")
    doctor.add_argument("data", nargs="+", metavar="DATA", help="folder or table")
    doctor.add_argument("--recipe", default="stargan", help="recipe for the estimate of time and memory")
    doctor.add_argument("--preset")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    add_keys(doctor)

    train = add("train", run_train, "train a recipe; the same command again resumes")
    train.add_argument("recipe", help="asterism list shows them")
    train.add_argument("--data", action="append", required=True, metavar="DIR", help="folder or table; repeat to join datasets")
    train.add_argument("--out", required=True, metavar="RUN", help="the run's folder")
    train.add_argument("--preset", help="named settings of the recipe")
    train.add_argument("--init", metavar="MODEL", help="run or model file whose weights a new run starts from")
    train.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), help="short for --train.device")
    train.add_argument("--dry-run", action="store_true", help="print the resolved configuration and the estimate, then stop")
    add_keys(train)

    translate = add("translate", run_translate, "translate pictures or folders")
    translate.add_argument("run", help="run, model file or hub name")
    translate.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="pictures or folders")
    translate.add_argument(
        "--to", action="append", required=True, metavar="TARGET", help="Blond_Hair, Eyeglasses=no, happy; repeats"
    )
    translate.add_argument("--out", required=True, type=Path, metavar="DIR")
    translate.add_argument("--labels", metavar="WORDS", help="labels that the sources have: Male,Young=no")
    translate.add_argument("--fit", choices=("letterbox", "crop"), default="letterbox", help="how other shapes enter the model")
    translate.add_argument("--format", metavar="SUFFIX", help=".png, .jpg, .webp, .tif or .npy; chosen by the model's pictures")
    translate.add_argument("--batch-size", type=int, default=16)
    translate.add_argument("--overwrite", action="store_true")
    add_machine(translate)

    evaluate = add("evaluate", run_evaluate, "measure a run on held-out pictures")
    evaluate.add_argument("run")
    evaluate.add_argument("--split", choices=("val", "test"), default="test")
    evaluate.add_argument("--data", action="append", metavar="DIR", help="where the data are now, if not where they were")
    add_machine(evaluate)

    report = add("report", run_report, "write report.html of one or several runs")
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    report.add_argument("--out", type=Path)

    export = add("export", run_export, "write a model in another format")
    export.add_argument("run")
    export.add_argument("--format", choices=("published",), required=True)
    export.add_argument("--out", required=True, type=Path, metavar="DIR")

    imported = add("import", run_import, "make a run from published checkpoints")
    imported.add_argument("recipe")
    imported.add_argument("files", nargs="+", type=Path, metavar="FILE")
    imported.add_argument("--labels", required=True, help="A,B,C or celeba:binary:A,B;rafd:one_of:C,D")
    imported.add_argument("--image-size", required=True, metavar="N", help="128 or 128x96")
    imported.add_argument("--licence", default="", help="licence of the weights, kept in the model file")
    imported.add_argument("--out", required=True, type=Path, metavar="RUN")

    listing = add("list", run_list, "list recipes, or one recipe's presets and keys")
    listing.add_argument("recipe", nargs="?")

    info = add("info", run_info, "describe a run or model file")
    info.add_argument("run")
    return parser


def add_machine(command: argparse.ArgumentParser) -> None:
    """Add the two flags of everything that runs a trained model."""
    command.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    command.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")


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


def describe_keys(recipe: type | None = None) -> str:
    """Return one line per configuration key: name, default, help."""
    sections = [("recipe", recipe)] if recipe else [("data", DataConfig), ("train", TrainConfig)]
    lines = []
    for section, cls in sections:
        for name, declared in fields_of(cls).items():
            default = "x".join(map(str, declared.default)) if isinstance(declared.default, tuple) else declared.default
            unit = f" {declared.metadata['unit']}" if declared.metadata["unit"] else ""
            lines.append(f"  {f'{section}.{name}':34} {declared.metadata['help']} [{default}{unit}]")
    return "\n".join(lines)


def run_demo(args: argparse.Namespace) -> int:
    """Train on the bundled sample."""
    from asterism.demo import demo

    return demo(Path(args.out))


def run_doctor(args: argparse.Namespace) -> int:
    """Examine data."""
    from asterism.data.dataset import open_data
    from asterism.data.doctor import describe, examine
    from asterism.engine.estimate import estimate
    from asterism.recipes.settings import Settings

    settings = Settings.resolve(args.recipe, args.data, args.preset, args.overrides)
    diagnosis = examine(settings.data)
    cost = None
    if diagnosis.ok:
        try:
            cost = estimate(settings, open_data(settings.data))
        except ValueError as error:  # The networks cannot take these pictures: as fatal as broken data.
            diagnosis.problems.append(str(error))
    if args.json:
        print(json.dumps(diagnosis.to_json() | {"estimate": cost.__dict__ if cost else None}, indent=2))
    else:
        describe(diagnosis, estimate=cost_lines(args.recipe, cost) if cost else [])
    return 0 if diagnosis.ok else 1


def cost_lines(recipe: str, cost: Any) -> list[str]:
    """Say an estimate in words."""
    parameters = ", ".join(f"{name} {count / 1e6:.1f} M" for name, count in cost.parameters.items())
    return [
        f"{recipe} on {cost.machine}",
        f"parameters: {parameters}",
        f"time: about {cost.seconds / 60:.1f} minutes per 1,000 steps, without data loading",
        f"memory: about {cost.memory / 2**30:.2f} GiB",
    ]


def run_train(args: argparse.Namespace) -> int:
    """Train or resume."""
    from asterism.engine.run import refuse_changes, run
    from asterism.recipes.settings import Settings

    if args.device:
        args.overrides["train.device"] = args.device
    settings = Settings.resolve(args.recipe, args.data, args.preset, args.overrides)
    out = Path(args.out)
    if args.dry_run:
        from asterism.data.dataset import open_data
        from asterism.engine.estimate import estimate

        refuse_changes(settings, out)
        print(json.dumps(settings.to_json(), indent=2))
        print("\n".join(cost_lines(args.recipe, estimate(settings, open_data(settings.data)))))
        return 0
    outcome = run(settings, out, args.init)
    if outcome.signal is not None:
        print(f"saved at step {outcome.step}; the same command resumes")
        return 128 + outcome.signal
    print(f"done: {out}\n  asterism translate {out} PICTURE --to TARGET --out DIR\n  asterism report {out}")
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
        print(f"  {preset:14} {values}")
    print(f"\nkeys:\n{describe_keys(recipe.Config)}")
    return 0


def run_info(args: argparse.Namespace) -> int:
    """Describe a model."""
    from asterism.model_file import find_model, load_model

    path = find_model(args.run)
    model = load_model(path)
    picture = model.picture
    print(f"{path}\nrecipe    {model.name}")
    print(f"pictures  {picture.channels} x {picture.height} x {picture.width}, {picture.depth} bit")
    for group in model.space.groups:
        alternatives = "".join(f"; one of {', '.join(e)}" for e in group.exclusive)
        print(f"labels    {group.dataset} ({group.kind}): {', '.join(group.labels)}{alternatives}")
    for key, value in model.info.items():
        print(f"{key:9} {value if isinstance(value, str) else json.dumps(value)}")
    if model.missing:
        print(f"missing   {', '.join(model.missing)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
