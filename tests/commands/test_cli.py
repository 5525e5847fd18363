"""The command line: the whole way from data to report, and what it says of bad input, before anything is written."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from asterism import __version__
from asterism.cli import build_parser, main, parse
from asterism.commands import list_
from asterism.config import DataConfig
from asterism.data.dataset import open_data
from asterism.engine import checkpoint

GOLDEN = Path(__file__).parents[1] / "golden" / "stargan"

NARROW = (
    "--recipe.conv_dim 4 --recipe.num_blocks 1 --recipe.discriminator_conv_dim 4 --recipe.discriminator_layers 3 "
    "--data.size 32 --data.workers 0 --train.batch_size 4 --train.precision float32"
).split()
SHORT = [*NARROW, "--train.steps", "2", "--train.log_every", "1"]

FLAGS = {
    "demo": "--out",
    "doctor": "--recipe --preset --json",
    "pack": "--out --shards --per-shard --recipe --preset",
    "train": "--data --out --preset --init --model --device --dry-run",
    "translate": "--to --out --labels --fit --tile --overlap --region --frames --format --batch-size --overwrite "
    "--skip-existing --style --count --like --table --truncation --strength --from --masks --mask --instances --diff --vocoder "
    "--device --precision --engine --address --cores --max-errors",
    "interpolate": "--to --table --style --like --steps --format --side --fps --truncation --strength --from --labels --fit "
    "--batch-size --overwrite --out --device --precision",
    "generate": "--count --seeds --to --code --traverse --codes --along --truncation --way --steps --fps --out --sheet "
    "--format --batch-size --overwrite --device --precision",
    "edit": "--picture --from --codes --paint --sketch --warp --out --to --labels --candidates --steps --stay --seed --choose "
    "--fit --overwrite --device --precision",
    "directions": "--classifier --samples --pictures --components --device --precision",
    "project": "--out --keep --to --labels --by --projector --compare --method --starts --steps --features --feature-weight "
    "--seed --fit --batch-size --overwrite --device --precision",
    "grid": "--to --like --style --truncation --strength --side --labels --fit --instances --batch-size --overwrite --out "
    "--device --precision",
    "judge": "--train --against --out --count --batch-size --data --device --precision",
    "evaluate": "--protocol --split --checkpoint --extractor --pictures --outputs --passes --random --batch-size --data "
    "--device --precision --engine --address --cores",
    "report": "--out",
    "studio": "--host --port --login --max-upload --vocoder --device --precision",
    "serve": "--host --port --token --batch-size --max-upload --max-pixels --max-seconds --places --timeout --vocoder --drain"
    " --device --precision",
    "export": "--format --precision --opset --data --out --push --overwrite",
    "import": "--labels --domains --image-size --keep --licence --out",
    "list": "",
    "info": "",
}
"""Frozen: a new knob is a field of the configuration, unless it is about files or about using a model."""
EVERYWHERE = ("help", "traceback", "recipe_files")
"""Flags of every command, and of every one that takes a model."""


def train(data: Path, out: Path, *words: str, recipe: str = "stargan") -> int:
    return main(["train", recipe, "--data", str(data), "--out", str(out), *SHORT, *words])


def refusal(status: int, capsys: pytest.CaptureFixture[str]) -> str:
    """The message of a command that was refused: on the error stream, with status 1 and without traceback."""
    told = capsys.readouterr()
    assert status == 1 and told.err.startswith("asterism: ") and "Traceback" not in told.err, told
    return told.err.removeprefix("asterism: ").strip()


@pytest.fixture(scope="module")
def run(table_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run with a classifier; not to be written to."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert train(table_dir, out) == 0
    return out


# -- the whole way -----------------------------------------------------------------------------------------------------


def test_from_data_to_report(
    run: Path, table_dir: Path, tmp_path: Path, small_judge: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(shutil.copytree(run, tmp_path / "run"))
    assert train(table_dir, out) == 0
    assert "nothing left to train: the run is at step 2 of 2" in capsys.readouterr().out
    assert train(table_dir, out, "--train.steps", "3") == 0
    assert "resuming at step 2 of 3" in capsys.readouterr().out

    assert main(["info", str(out)]) == 0
    told = capsys.readouterr().out
    assert "recipe       stargan" in told and "one of Red, Green, Blue; any of Border" in told and "scores" not in told
    assert "8 bits, values 0 to 255" in told

    pictures = tmp_path / "pictures"
    (pictures / "deep").mkdir(parents=True)
    Image.new("RGB", (37, 61), "red").save(pictures / "odd.png")
    Image.new("L", (50, 20)).save(pictures / "deep" / "grey.jpg")
    (pictures / "broken.png").write_text("no picture")
    (pictures / ".DS_Store").write_bytes(b"x")
    words = ["translate", str(out), str(pictures), "--out", str(tmp_path / "t"), "--to", "Green", "--to", "Border=no,Blue"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "broken.png: it is not a readable picture" in told and "files written: 4; sources left out: 1" in told
    sizes = {p.relative_to(tmp_path / "t").as_posix(): Image.open(p).size for p in (tmp_path / "t").rglob("*.*")}
    assert sizes == {
        "odd__Green.png": (37, 61),
        "odd__no-Border+Blue.png": (37, 61),
        "deep/grey__Green.png": (50, 20),
        "deep/grey__no-Border+Blue.png": (50, 20),
    }

    assert main(["evaluate", str(out), "--split", "val", "--protocol", "quick"]) == 0
    told = capsys.readouterr().out
    assert (
        "val pictures, last checkpoint, step 3" in told and "copy the input" in told and max(map(len, told.splitlines())) < 128
    )
    assert main(["info", str(out)]) == 0
    assert "copy the input: reached" in capsys.readouterr().out

    assert main(["report", str(out)]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page.name == "report.html" and "copy the input" in page.read_text(encoding="utf-8")


def test_published_checkpoints_come_and_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(GOLDEN / f"celeba-{letter}.ckpt") for letter in "GD"]
    words = ["--labels", "a,b,c,d,e", "--image-size", "64", "--out"]
    assert main(["import", "fixed_point", *files, *words, str(tmp_path / "run")]) == 0
    assert main(["info", str(tmp_path / "run")]) == 0
    assert "recipe       fixed_point" in capsys.readouterr().out
    assert main(["export", str(tmp_path / "run"), "--format", "published", "--out", str(tmp_path / "out")]) == 0
    assert [Path(line).name for line in capsys.readouterr().out.split()] == ["0-G.ckpt", "0-D.ckpt"]
    there, out = [*"export --format published --out".split(), str(tmp_path / "out"), str(tmp_path / "run")], tmp_path / "out"
    (out / "0-G.ckpt").write_text("kept by hand")
    assert "0-D.ckpt would be replaced: give another --out, or say --overwrite" in refusal(main(there), capsys)
    assert (out / "0-G.ckpt").read_text() == "kept by hand"
    assert main([*there, "--overwrite"]) == 0 and torch.load(out / "0-G.ckpt", weights_only=True)
    capsys.readouterr()
    again = ["import", "stargan", *files, *words, str(tmp_path / "run")]
    assert "not empty: choose another folder" in refusal(main(again), capsys)


@pytest.mark.parametrize("command", ["train", "rehearse"])
def test_a_run_starts_from_a_model_of_its_own_recipe_only(
    command: str, run: Path, shapes_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--init", str(run), *(["--dry-run"] if command == "rehearse" else [])]
    said = refusal(train(shapes_dir, tmp_path / "new", *more, recipe="fixed_point"), capsys)
    assert said == "--init has recipe stargan; this run trains fixed_point"
    said = refusal(train(shapes_dir, tmp_path / "new", *more, "--recipe.conv_dim", "8"), capsys)
    assert said.endswith("set --recipe.conv_dim 4, as the model has")
    assert not (tmp_path / "new").exists()
    assert train(shapes_dir, tmp_path / "new", *more) == 0  # Onto other labels.
    assert (tmp_path / "new").exists() == (command == "train")


# -- bad input ---------------------------------------------------------------------------------------------------------


def change_nothing(shapes: Path, table: Path) -> Path:
    return table


def empty_folder(shapes: Path, table: Path) -> Path:
    (shapes.parent / "empty").mkdir()
    return shapes.parent / "empty"


def one_domain(shapes: Path, table: Path) -> Path:
    for name in ("green", "blue"):
        shutil.rmtree(shapes / name)
    return shapes


def one_level_too_high(shapes: Path, table: Path) -> Path:
    (shapes.parent / "high").mkdir()
    shapes.rename(shapes.parent / "high" / "shapes")
    return shapes.parent / "high"


def mixed_channels(shapes: Path, table: Path) -> Path:
    Image.new("L", (32, 32)).save(shapes / "red" / "grey.png")
    return shapes


def rows_without_files(shapes: Path, table: Path) -> Path:
    shutil.rmtree(table / "images")
    return table


def folders(shapes: Path, table: Path) -> Path:
    return shapes


BAD: list[tuple[Callable[[Path, Path], Path], str, str]] = [
    (change_nothing, "--data.labels Red,Bordr", "--data.labels Bordr: no table has such a column (did you mean Border?)"),
    (folders, "--data.labels red", "without a table, folders are labels"),
    (empty_folder, "", "holds no pictures; expected one folder of pictures per domain"),
    (one_domain, "", "one domain only (red); expected two or more folders"),
    (one_level_too_high, "", "did you mean --data {tmp}/high/shapes?"),
    (mixed_channels, "", "72 with 3, such as {tmp}/shapes/blue/blue_000.png; 1 with 1, such as {tmp}/shapes/red/grey.png"),
    (mixed_channels, "", "--data.channels 3 for colour"),
    (rows_without_files, "", "has rows: 72 (000001.png, 000002.png, 000003.png, ...), but none of the pictures is there"),
    (folders, "--data.crop 40", "pictures smaller than the crop of 40 pixels: 72"),
    (
        folders,
        "--data.size 34",
        "sides must be multiples of 4 and at least 8 (recipe.discriminator_layers 3); the nearest is 32x32",
    ),
    (folders, "--data.size 4x32", "the nearest is 8x32"),
    (folders, "--data.value_range 0,300", "two values from 0 to 255, which 8 bits hold"),
    (folders, "--train.step 5", "train.step is not an option"),
    (folders, "--train.steps many", "train.steps is 'many'; expected a whole number"),
    (folders, "--preset smal", "did you mean small?"),
    (folders, "--device mps" if not torch.backends.mps.is_available() else "--device cuda", "is not available to PyTorch"),
    (folders, "--device cuda:99", "device 'cuda:99' is not available to PyTorch"),
    (folders, "--init nowhere", "there is no model 'nowhere'"),
]


@pytest.mark.parametrize(("spoil", "words", "message"), BAD, ids=[f"{s.__name__} {w}" for s, w, _ in BAD])
def test_bad_input_is_refused_before_anything_is_written(
    spoil: Callable[[Path, Path], Path],
    words: str,
    message: str,
    shapes_dir: Path,
    table_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shapes, table = (Path(shutil.copytree(d, tmp_path / d.name)) for d in (shapes_dir, table_dir))
    data = spoil(shapes, table)
    said = refusal(train(data, tmp_path / "run", *words.split()), capsys)
    assert message.format(tmp=tmp_path) in said and "\n" not in said
    assert not (tmp_path / "run").exists()


def test_other_settings_other_recipes_and_other_folders_are_not_resumed(
    run: Path, shapes_dir: Path, table_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "recipe.conv_dim: 4 -> 8" in refusal(train(table_dir, run, "--recipe.conv_dim", "8"), capsys)
    assert "recipe: stargan -> fixed_point" in refusal(train(table_dir, run, recipe="fixed_point"), capsys)
    assert f"another run with --init {run}" in refusal(train(shapes_dir, run), capsys)
    (tmp_path / "thesis.txt").write_text("x")
    assert "exists and is not a run" in refusal(train(table_dir, tmp_path), capsys)
    for content in ('{"model_type": "bert"}', "[]", '{"name":'):
        (tmp_path / "config.json").write_text(content)
        assert "is damaged, or of another program: give another --out" in refusal(train(table_dir, tmp_path), capsys)
    (tmp_path / "config.json").unlink()
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(run / "model.safetensors", alone)
    assert f"give another --out, with --init {alone}" in refusal(train(table_dir, alone), capsys)
    shutil.copytree(run, tmp_path / "damaged")
    for path in (tmp_path / "damaged" / "checkpoints").iterdir():
        path.write_bytes(b"cut")
    assert "no checkpoint in" in refusal(train(table_dir, tmp_path / "damaged"), capsys)
    assert (tmp_path / "damaged" / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_a_full_disk_stops_with_the_remedy_and_leaves_no_half_file(
    shapes_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", full)
    said = refusal(train(shapes_dir, tmp_path / "run"), capsys)
    assert "cannot save" in said and "free some space, then run the same command again to resume" in said
    assert not list((tmp_path / "run" / "checkpoints").iterdir())
    monkeypatch.setattr(list_, "run", full)
    assert refusal(main(["list"]), capsys) == "No space left on device; free some space, then run the same command again"


def test_a_domain_that_only_breaks_when_decoded_does_not_kill_the_previews(shapes_dir: Path, tmp_path: Path) -> None:
    """A picture's header may be whole and its pixels cut, in all of the validation pictures."""
    for split in ("train", "val"):
        shutil.copytree(shapes_dir, tmp_path / "data" / split)
    for path in (tmp_path / "data" / "val").rglob("*.png"):
        path.write_bytes(path.read_bytes()[:-60])
    assert train(tmp_path / "data", tmp_path / "run") == 0
    assert (tmp_path / "run" / "previews" / "step_00000002.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--to Rd", "no label 'Rd': did you mean Red? the labels are Red, Green, Blue, Border"),
        ("--to Red,Blue", "Red and Blue exclude each other"),
        ("--to Red=no", "Red can only be replaced: name one of Green, Blue instead"),
        ("--to Red --labels Hat", "no label 'Hat': the labels are Red, Green, Blue, Border"),
        ("--to Red --format .gif", "use one of .png"),
        ("--to Red --batch-size 0", "the batch size is 0; expected at least 1"),
        ("--to Red --out {pictures}", "is both read and written"),
        ("--to Red --out {pictures}/a.png", "a.png is a file; name a folder for the results"),
    ],
)
def test_translate_refuses_before_it_writes(
    words: str, message: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "pictures" / "a.png")
    given = ["translate", str(run), str(tmp_path / "pictures"), "--out", str(tmp_path / "out")]
    assert message in refusal(main([*given, *words.format(pictures=tmp_path / "pictures").split()]), capsys)
    assert [p.name for p in tmp_path.rglob("*")] == ["pictures", "a.png"]


def test_nothing_is_overwritten_without_a_word(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    words = ["translate", str(run), str(tmp_path / "a.png"), "--to", "Red", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    (tmp_path / "out" / "a__Red.png").write_text("retouched by hand")
    assert "would be replaced: give another --out, or say --overwrite" in refusal(main(words), capsys)
    assert (tmp_path / "out" / "a__Red.png").read_text() == "retouched by hand"
    assert main([*words, "--overwrite"]) == 0
    assert Image.open(tmp_path / "out" / "a__Red.png").size == (32, 32)


@pytest.mark.parametrize("command", ["info", "translate", "evaluate", "export", "report"])
def test_what_is_no_run_is_told_so(command: str, shapes_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"translate": [str(shapes_dir), "--to", "Red", "--out", str(tmp_path / "t")]}
    more["export"] = ["--format", "published", "--out", str(tmp_path / "e")]
    for path in (shapes_dir, tmp_path / "gone"):
        said = refusal(main([command, str(path), *more.get(command, [])]), capsys)
        assert str(path) in said and ("is no run" in said or "there is no model" in said)
    assert not list(tmp_path.iterdir())


# -- rehearsals --------------------------------------------------------------------------------------------------------


def test_a_dry_run_tells_settings_and_cost_and_writes_nothing(
    shapes_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(shapes_dir, tmp_path / "run", "--train.epochs", "4", "--dry-run") == 0
    told = capsys.readouterr().out
    settings, end = json.JSONDecoder().raw_decode(told)
    assert settings["recipe"]["conv_dim"] == 4 and settings["data"]["size"] == [32, 32]
    pictures = len(open_data(DataConfig(sources=(str(shapes_dir),))).splits["train"][0])
    assert f"for all {4 * -(-pictures // 4)}, without data loading" in told[end:]
    assert "generator 11.6 k" in told[end:] and "MiB" in told[end:]
    assert not list(tmp_path.iterdir())


def test_the_doctor_says_by_its_status_whether_training_would_start(
    shapes_dir: Path, table_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", str(shapes_dir), str(table_dir), *NARROW]) == 0
    told = capsys.readouterr().out
    for part in ("shapes", "Border", "per 1,000 steps", "memory: about", "Training would start."):
        assert part in told
    assert main(["doctor", str(shapes_dir), *NARROW, "--data.size", "34", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["ok"] and "the nearest is 32x32" in told["problems"][0] and told["estimate"] is None
    assert main(["doctor", str(tmp_path), *NARROW]) == 1
    assert "holds no pictures" in capsys.readouterr().out


# -- words -------------------------------------------------------------------------------------------------------------


def test_the_flags_are_these() -> None:
    action = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    flags = {
        name: " ".join(f for a in command._actions for f in a.option_strings if a.dest not in EVERYWHERE)
        for name, command in action.choices.items()
    }
    assert flags == FLAGS
    unexplained = [(n, a.dest) for n, c in action.choices.items() for a in c._actions if not a.help]
    assert not unexplained


def test_misspelt_commands_end_with_status_2_and_the_nearest_word(capsys: pytest.CaptureFixture[str]) -> None:
    for words, meant in (
        (["translate", "run", "a.png", "--to", "Red", "--out", "t", "--overwite"], "--overwrite"),
        (["train", "stargan", "--data", "d", "--out", "r", "--preste", "small"], "--preset"),
        (["report", "run", "--data.size", "3"], ""),
        (["train", "stargan", "--data", "d", "--out", "r", "--train.steps"], "needs a value"),
        (["train", "stargan", "--data", "d", "--out", "r", "--train.steps", "--data.size", "64"], "steps needs a value"),
        (["train", "stargan", "--data", "d", "--out", "r", "--batch-size", "8"], "did you mean --train.batch_size?"),
        (["train", "stargan", "--data", "d", "--out", "r", "--steps", "8"], "did you mean --train.steps?"),
        (["train", "stargan_v2", "--data", "d", "--out", "r", "--lr", "1"], "did you mean --recipe.lr?"),
        (["pack", "d", "--out", "p", "--size", "64"], "did you mean --data.size?"),
        (["train", "--steps", "8", "stargan", "--data", "d", "--out", "r"], "did you mean --train.steps?"),
        (["report", "--data.size=3", "run"], "unrecognized argument --data.size"),
        (["export", "r", "--format", "hub", "--precision", "float16"], "--precision requires --format onnx, pt2 or aoti"),
        (["export", "r", "--format", "published", "--data", "d"], "--data requires --format onnx, pt2 or aoti"),
        (["translate", "run", "a.png", "--to", "Red", "--out", "t", "--count", "3"], "--count requires --style"),
        (["translate", "run", "a.png", "--to", "Red", "--out", "t", "--style", "1", "--count", "0"], "must be at least 1"),
        (["import", "stargan_v2", "nets.ckpt", "--fan", "--out", "r"], "unrecognized argument --fan: it is --keep fan now"),
        (["serve", "run", "--no-studio"], "leave it out; asterism studio opens that page"),
    ):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 2 and meant in capsys.readouterr().err
    assert main([]) == 2
    assert "COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        "train --train.steps 5 stargan --data d --data.size=64 --out r",
        "--train.steps=5 train --data d --data.size 64 --out r stargan",
        "train stargan --data d --out r --train.steps 5 --data.size 64",
    ],
)
def test_keys_may_stand_anywhere(words: str) -> None:
    args = parse(words.split())
    assert args.overrides == {"train.steps": "5", "data.size": "64"}
    assert (args.recipe, args.data, args.out) == ("stargan", ["d"], "r")
    assert parse(["doctor", "--data.size", "64x64", "faces", "--", "--data.x"]).data == ["faces", "--data.x"]


def test_list_tells_recipes_then_presets_and_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    told = capsys.readouterr().out
    assert "stargan" in told and "celeba+rafd" in told
    assert main(["list", "stargan"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "--train.decay_epochs 100" in told and "recipe.penalty_patches" in told and "One of mean, sum. [mean]" in told
    assert "no recipe 'stargun': did you mean" in refusal(main(["list", "stargun"]), capsys)


@pytest.mark.parametrize("bug", [ValueError("not enough values"), RuntimeError("shapes differ"), KeyError("x"), OSError("?")])
def test_a_bug_keeps_its_traceback_and_says_where_to_report_it(
    bug: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise bug

    monkeypatch.setattr(list_, "run", broken)
    assert main(["list"]) == 1
    told = capsys.readouterr().err
    assert "Traceback" in told and f"{type(bug).__name__}: {bug}" in told and ", in broken" in told
    last = told.strip().splitlines()[-1]
    assert last.startswith(f"asterism: this is a bug in asterism {__version__}") and last.endswith("issue tracker")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (FileNotFoundError(2, "No such file or directory", "faces.csv"), "faces.csv: No such file or directory"),
        (PermissionError(13, "Permission denied", "/etc/runs"), "/etc/runs: Permission denied"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory (CUDA out of memory): give a smaller --batch-size"),
        (MemoryError("Unable to allocate 2 GiB"), "out of memory (Unable to allocate 2 GiB): give a smaller --batch-size"),
    ],
)
def test_what_the_system_lacks_is_a_sentence(
    error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking(*_: object) -> None:
        raise error

    monkeypatch.setattr(list_, "run", lacking)
    assert refusal(main(["list"]), capsys).startswith(sentence)


def test_a_missing_file_is_a_sentence(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["translate", str(run), str(tmp_path / "gone.png"), "--to", "Red", "--out", str(tmp_path / "out")]
    assert str(tmp_path / "gone.png") in refusal(main(words), capsys)


def test_an_error_of_ours_shows_its_origin_when_asked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no run"):
        main(["info", str(tmp_path), "--traceback"])
