"""Evaluation: what is measured, on which pictures, and that a half-trained judge never judges."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from asterism import evaluation, train
from asterism.config import ConfigError
from asterism.engine.trainer import Outcome
from asterism.evaluation import evaluate
from asterism.inference.import_ import import_published
from asterism.labels import LabelSpace
from asterism.metrics.accuracy import agreement
from asterism.model_file import load_model
from asterism.run_folder import read_scores
from tests.test_engine import small

GOLDEN = Path(__file__).parent / "golden" / "stargan"
JUDGE = {"recipe.width": 2, "train.epochs": 1, "train.decay_epochs": 1}


@pytest.fixture
def run(table_dir: Path, tmp_path: Path) -> Path:
    """A run on a copy of the table, all of whose pictures are for testing but the first 48."""
    data = tmp_path / "table"
    shutil.copytree(table_dir, data)
    rows = (data / "list_attr_celeba.txt").read_text().splitlines()
    lines = ["file,split," + ",".join(rows[1].split())]
    for i, row in enumerate(rows[2:]):
        file, *values = row.split()
        lines.append(",".join([file, "train" if i < 48 else "test", *values]))
    (data / "labels.csv").write_text("\n".join(lines))
    (data / "list_attr_celeba.txt").unlink()
    train("stargan", data, tmp_path / "run", overrides=small(train__steps=1))
    return tmp_path / "run"


def test_only_known_labels_that_the_edit_leaves_count_as_preserved() -> None:
    decided = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    labels = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    known = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(agreement(decided, labels, known), torch.tensor([1 / 2, 2 / 3, 1.0]))


def test_scores_count_every_translation_once(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = evaluate(run, device="cpu", precision="float32", classifier=JUDGE)
    counts = {name: values["pictures"] for name, values in scores["targets"].items()}
    assert counts["Border"] == 24 and counts["Red"] + counts["Green"] + counts["Blue"] == 2 * 24
    assert read_scores(run / "scores.json") == {"stargan/classifier/test/last": scores}
    assert [row["name"] for row in scores["rows"]][-2:] == ["translated, all targets", "copy the input"]
    assert (run / "samples" / "held_out.png").exists()
    told = capsys.readouterr().out
    assert "error ratio" not in told, "no true pictures, so no column for them"
    assert "test pictures, step 1" in told and "training the classifier" in told
    evaluate(run, device="cpu", precision="float32", classifier=JUDGE)
    assert "training the classifier" not in capsys.readouterr().out


def test_a_broken_picture_is_named_and_not_replaced_by_another(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training takes another picture in its place; here that one would count twice."""
    broken = run.parent / "table" / "images" / "000072.png"
    broken.write_bytes(broken.read_bytes()[:-60])
    scores = evaluate(run, device="cpu", precision="float32", classifier=JUDGE)
    assert scores["targets"]["Border"]["pictures"] == 23
    assert "000072.png" in capsys.readouterr().out


def test_an_interrupted_classifier_is_not_kept(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = evaluation.run_training

    def stopped(settings: object, folder: Path) -> Outcome:
        return Outcome(real(settings, folder).step, signal=2)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluation, "run_training", stopped)
    with pytest.raises(KeyboardInterrupt):
        evaluate(run, device="cpu", precision="float32", classifier=JUDGE)
    assert not (run / "classifier" / "model.safetensors").exists() and not (run / "scores.json").exists()
    monkeypatch.setattr(evaluation, "run_training", real)
    evaluate(run, device="cpu", precision="float32", classifier=JUDGE)
    assert load_model(run / "classifier" / "model.safetensors").info["step"] > 0


def test_imported_models_are_measured_on_data_with_their_labels(run: Path, tmp_path: Path) -> None:
    """Whatever the data's folder is called, and though the words of the import do not say which labels exclude others."""
    table = tmp_path / "table"
    rows = (table / "labels.csv").read_text().splitlines()
    more = [rows[0] + ",Odd,Unused"] + [f"{row},{i % 2},{i % 3 % 2}" for i, row in enumerate(rows[1:])]
    (table / "labels.csv").write_text("\n".join(more))
    space = LabelSpace.from_text("Red,Green,Blue,Border,Odd")
    import_published("stargan", [GOLDEN / "celeba-G.ckpt"], space=space, size=(64, 64), out=tmp_path / "imported")
    scores = evaluate(tmp_path / "imported", data=[str(table)], device="cpu", precision="float32", classifier=JUDGE)
    assert list(scores["targets"]) == ["Red", "Green", "Blue", "Border", "Odd"]
    assert scores["targets"]["Red"]["pictures"] < 24, "a picture is not translated to the colour that it has"


def test_data_that_are_gone_or_have_other_labels_are_refused(run: Path, shapes_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="have the labels blue, green, red; the model knows Red, Green, Blue, Border"):
        evaluate(run, data=[str(shapes_dir)])
    with pytest.raises(ConfigError, match="no picture is in the split 'val'"):
        evaluate(run, split="val")
    (tmp_path / "table").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"no longer at .*table: say where they are by --data"):
        evaluate(run)
