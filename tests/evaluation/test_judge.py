"""How long the judging classifier trains: briefly where domains are told apart at a glance, else as long as ever."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from asterism.data.dataset import open_data
from asterism.evaluation import judge
from asterism.evaluation.pictures import Pictures
from asterism.machine import Machine
from asterism.recipes.settings import Settings
from asterism.storage.run_files import read_log
from tests.helpers.runs import BRIEF

SMALL = {"recipe.width": 8, "recipe.lr": 3e-3, "train.steps": 60, "train.decay_steps": 60, "train.log_every": 10}


def trained(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **asked: str) -> tuple[list[int], float]:
    """Train the classifier of discs in three colours; return the last step of each training, and its accuracy."""
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(judge, "LEAST_STEPS", 40)
    settings = Settings.resolve(
        "stargan", [str(data)], overrides=BRIEF | {f"data.{key}": value for key, value in asked.items()}
    )
    datasets, machine = open_data(settings.data), Machine.choose("cpu")
    train = datasets.splits["train"]
    found = judge.trained_judge(tmp_path / "run", settings, datasets.space, train, machine, SMALL)
    steps = [read_log(file)[-1]["step"] for file in sorted((tmp_path / "run").rglob("log.jsonl"), key=lambda f: len(f.parts))]
    sets = [Pictures(held, datasets.picture, print) for held in train]
    per_label = judge.accuracy(found, sets, datasets.space, 16)
    return steps, min(per_label.values())


def test_what_is_told_apart_at_a_glance_is_learned_briefly(
    shapes_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "LONG", 60)
    monkeypatch.setattr(judge, "SURE", 0.5)
    assert trained(shapes_dir, tmp_path, monkeypatch) == ([40], 1.0)


def test_what_is_not_is_learned_anew_at_full_length(
    shapes_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(judge, "LONG", 60)
    monkeypatch.setattr(judge, "SURE", 0.0)
    steps, _ = trained(shapes_dir, tmp_path, monkeypatch)
    assert steps == [60, 40] and "not sure enough" in capsys.readouterr().out


def test_where_the_full_length_is_short_there_is_no_trial(
    shapes_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trained(shapes_dir, tmp_path, monkeypatch)[0] == [60]


def test_the_classifier_of_a_run_that_keeps_unlabelled_pictures_learns_from_the_labelled_ones(
    shapes_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    shutil.copytree(shapes_dir, data)
    (data / "unlabelled").mkdir()
    for source in sorted(next(folder for folder in data.iterdir() if any(folder.iterdir())).iterdir())[:4]:
        shutil.copy(source, data / "unlabelled" / source.name)
    assert trained(data, tmp_path, monkeypatch, unlabelled="keep")[1] == 1.0
