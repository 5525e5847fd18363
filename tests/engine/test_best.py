"""Evaluation while a run trains: the best checkpoint is kept, training is not disturbed, and a run may end early."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from asterism.engine.best import Best
from asterism.engine.trainer import TrainingError
from asterism.evaluation.training import quick_evaluation
from asterism.recipes.base import Recipe
from asterism.recipes.model import load_model
from asterism.recipes.stargan import StarGAN
from asterism.signals import Stopped
from asterism.storage.run_files import read_log
from asterism.training import train
from tests.helpers.runs import BRIEF, assert_same_state, small, state


class Scripted:
    """Gives numbers from a list, and remembers the weights that it was shown."""

    criterion, better = "fid", "lower"

    def __init__(self, values: list[float | None], measured_by: str = "one") -> None:
        self.measured_by = measured_by
        self.values, self.shown = list(values), list[torch.Tensor]()

    def measure(self, recipe: Recipe) -> dict[str, float | None]:
        self.shown.append(next(iter(recipe.generator.parameters())).detach().clone())
        torch.rand(3)  # Nobody's random numbers may matter.
        return {"fid": self.values.pop(0), "reached": 0.5}


def by(evaluation: Scripted) -> Callable[..., Scripted]:
    return lambda *context: evaluation


def settings(**own: Any) -> dict[str, Any]:
    every = {"train__steps": 8, "train__evaluate_every": 2, "train__checkpoint_every": 4, "train__log_every": 3}
    return small(**every, train__ema_kimg=1, train__decay_steps=0) | {
        key.replace("__", "."): value for key, value in own.items()
    }


def test_the_best_is_kept_beside_the_last_and_the_model_is_the_best(table_dir: Path, tmp_path: Path) -> None:
    scripted = Scripted([5.0, 2.0, 3.0, 4.0])
    train("stargan", table_dir, tmp_path / "run", overrides=settings(), evaluation=by(scripted))
    folder = tmp_path / "run" / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["best.pt", "step_00000004.pt", "step_00000008.pt"]
    best = torch.load(folder / "best.pt", weights_only=True)
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert best["step"] == model.info["step"] == 4
    assert model.info["scores"] == {"fid": 2.0, "reached": 0.5} and model.info["criterion"] == "fid"
    first = next(iter(model.recipe.generator.parameters()))
    assert torch.equal(first, scripted.shown[1]), "the averaged weights were measured, and are the model's"
    lines = read_log(tmp_path / "run" / "log.jsonl")
    assert [(line["step"], line["scores"]["fid"]) for line in lines if "scores" in line] == [
        (2, 5.0),
        (4, 2.0),
        (6, 3.0),
        (8, 4.0),
    ]
    assert all("terms" in line for line in lines), "a measured step has a line of its own losses too"


def test_measuring_does_not_disturb_training_nor_its_resumption(table_dir: Path, tmp_path: Path) -> None:
    train("stargan", table_dir, tmp_path / "plain", overrides=settings(train__evaluate_every=0))
    train("stargan", table_dir, tmp_path / "whole", overrides=settings(), evaluation=by(Scripted([5.0, 2.0, 3.0, 4.0])))
    train(
        "stargan", table_dir, tmp_path / "parts", overrides=settings(train__steps=5), evaluation=by(Scripted([5.0, 2.0, 9.0]))
    )
    train("stargan", table_dir, tmp_path / "parts", overrides=settings(), evaluation=by(Scripted([3.0, 4.0])))
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert whole["best"]["step"] == parts["best"]["step"] == 4 and whole["best"]["scores"] == parts["best"]["scores"]
    trained = ("networks", "average", "optimizers")
    plain = state(tmp_path / "plain")
    for other in (plain, parts):
        assert_same_state({key: whole[key] for key in trained}, {key: other[key] for key in trained})
    models = [load_model(tmp_path / name / "model.safetensors") for name in ("whole", "parts")]
    assert all(torch.equal(a, b) for a, b in zip(*(m.recipe.state_dict().values() for m in models), strict=True))


def test_a_run_ends_when_patience_does_and_goes_on_with_more(table_dir: Path, tmp_path: Path, capsys: Any) -> None:
    overrides = settings(train__steps=20, train__patience=2)
    outcome = train("stargan", table_dir, tmp_path / "run", overrides=overrides, evaluation=by(Scripted([1.0, None, 2.0])))
    assert outcome.step == 6 and "stopping early" in capsys.readouterr().out
    assert state(tmp_path / "run")["step"] == 6, "the last one is saved too"
    again = train("stargan", table_dir, tmp_path / "run", overrides=overrides, evaluation=by(Scripted([])))
    assert again.step == 6, "the same command does not go on"
    more = settings(train__steps=8, train__patience=5)
    assert train("stargan", table_dir, tmp_path / "run", overrides=more, evaluation=by(Scripted([0.5]))).step == 8
    assert load_model(tmp_path / "run" / "model.safetensors").info["step"] == 8


def test_a_model_file_that_is_gone_is_made_again_from_the_best(table_dir: Path, tmp_path: Path) -> None:
    train("stargan", table_dir, tmp_path / "run", overrides=settings(), evaluation=by(Scripted([5.0, 2.0, 3.0, 4.0])))
    before = load_model(tmp_path / "run" / "model.safetensors")
    (tmp_path / "run" / "model.safetensors").unlink()
    train("stargan", table_dir, tmp_path / "run", overrides=settings(), evaluation=by(Scripted([])))
    after = load_model(tmp_path / "run" / "model.safetensors")
    assert after.info == before.info and after.info["step"] == 4
    assert all(torch.equal(a, b) for a, b in zip(*(m.recipe.state_dict().values() for m in (before, after)), strict=True))
    stated = settings() | {"train.licence": "MIT"}
    train("stargan", table_dir, tmp_path / "run", overrides=stated, evaluation=by(Scripted([])))
    assert load_model(tmp_path / "run" / "model.safetensors").info == dict(before.info) | {"licence": "MIT"}


def test_a_run_without_measurements_keeps_the_last(table_dir: Path, tmp_path: Path) -> None:
    train("stargan", table_dir, tmp_path / "run", overrides=settings(), evaluation=lambda *context: None)
    assert load_model(tmp_path / "run" / "model.safetensors").info["step"] == 8
    assert not (tmp_path / "run" / "checkpoints" / "best.pt").exists()


def test_missing_and_infinite_numbers_are_the_worst() -> None:
    best = Best()
    high, low = Scripted([]), Scripted([])
    high.criterion, high.better = low.criterion, low.better = "a", "higher"
    low.better = "lower"
    assert best.take(1, {"a": None}, high) and best.take(2, {"a": 0.1}, high)
    assert not best.take(3, {"a": float("nan")}, high) and not best.take(4, {}, high)
    assert best.take(5, {"a": 0.2}, high) and best.evaluations_since_best == 0 and best.step == 5
    assert not best.take(6, {"a": 0.3}, low) and best.evaluations_since_best == 1


def test_numbers_of_another_classifier_are_not_compared(
    table_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when a run of an older version, whose classifier was another, is resumed: the best is chosen anew."""
    train("stargan", table_dir, tmp_path, overrides=settings(train__steps=4), evaluation=by(Scripted([5.0, 2.0])))
    capsys.readouterr()
    train("stargan", table_dir, tmp_path, overrides=settings(), evaluation=by(Scripted([30.0, 40.0], "another")))
    assert capsys.readouterr().out.count("the best is chosen anew") == 1
    model = load_model(tmp_path / "model.safetensors")
    assert (model.info["step"], model.info["scores"]["fid"]) == (6, 30.0)


def test_the_quick_protocol_runs_while_training(
    table_dir: Path,
    tmp_path: Path,
    small_judge: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All of it: the classifier is trained once, validation pictures are translated, the better of two steps is kept."""
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "cache"))  # Where no other test has trained the classifier.
    monkeypatch.setattr("asterism.evaluation.evaluate.counting", lambda text: pytest.fail("a bar beside that of the training"))
    own = settings(train__steps=4, train__evaluate_every=2, train__device="cpu")
    train("stargan", table_dir, tmp_path / "run", overrides=own)
    scored = [line for line in read_log(tmp_path / "run" / "log.jsonl") if "scores" in line]
    assert [line["step"] for line in scored] == [2, 4] and {"reached", "preserved", "fid", "identity error"} <= set(
        scored[0]["scores"]
    )
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert model.info["scores"]["fid"] == min(line["scores"]["fid"] for line in scored)
    said = capsys.readouterr().out
    assert said.count("training the judging classifier") == 1
    assert said.index("starting, 4 steps") < said.index("training the judging classifier"), "nobody waits for it at the start"
    train("stargan", table_dir, tmp_path / "again", overrides=own)
    assert "training the judging classifier" not in capsys.readouterr().out
    again = [line["scores"] for line in read_log(tmp_path / "again" / "log.jsonl") if "scores" in line]
    assert again == [line["scores"] for line in scored], "the same run, the same numbers"


def test_models_of_an_earlier_phase_are_no_candidates(
    table_dir: Path, tmp_path: Path, small_judge: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """IcGAN's GAN translates nothing before its encoders are trained, however low the FID."""
    numbers = iter([1.0, 5.0, 4.0])
    monkeypatch.setattr("asterism.evaluation.training.over_all", lambda record: [{"values": {"fid": next(numbers)}}])
    own = BRIEF | {"train.steps": 6, "train.evaluate_every": 2, "train.device": "cpu", "recipe.gan_steps": 2}
    train("icgan", table_dir, tmp_path / "run", preset="small", overrides=own)
    info = load_model(tmp_path / "run" / "model.safetensors").info
    assert (info["step"], info["scores"]["fid"]) == (6, 4.0)
    assert capsys.readouterr().out.count("the best is chosen anew") == 1


def test_a_signal_or_an_error_while_the_classifier_trains_loses_nothing(
    table_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = settings(train__steps=4, train__evaluate_every=2, train__device="cpu")

    def raising(error: BaseException) -> None:
        def trained_judge(*context: Any) -> None:
            raise error

        monkeypatch.setattr("asterism.evaluation.training.trained_judge", trained_judge)

    raising(Stopped(signal.SIGTERM, "the judging classifier is kept"))
    outcome = train("stargan", table_dir, tmp_path / "run", overrides=own)
    assert outcome.signal == signal.SIGTERM and state(tmp_path / "run")["step"] == outcome.step == 3
    assert "the judging classifier is kept" in capsys.readouterr().out
    raising(TrainingError("out of memory at step 0"))
    assert train("stargan", table_dir, tmp_path / "run", overrides=own).step == 4
    assert "not measured: out of memory" in capsys.readouterr().out
    assert load_model(tmp_path / "run" / "model.safetensors").info["step"] == 4


def test_a_step_that_cannot_be_measured_does_not_end_training(
    discs: Path, tmp_path: Path, small_judge: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither where weights have diverged for a while, nor where no validation picture can be decoded."""
    translate, log = StarGAN.translate, tmp_path / "run" / "log.jsonl"

    def diverged(self: StarGAN, x: torch.Tensor, told: torch.Tensor, **rest: Any) -> torch.Tensor:
        measured = log.exists() and "scores" in log.read_text()
        return translate(self, x, told, **rest) * (1.0 if measured else float("nan"))

    own = settings(train__steps=4, train__evaluate_every=2, train__device="cpu")
    monkeypatch.setattr(StarGAN, "translate", diverged)
    train("stargan", discs, tmp_path / "run", overrides=own)
    scored = [line["scores"]["fid"] for line in read_log(log) if "scores" in line]
    assert scored[0] is None and scored[1] > 0 and "not measured: the outputs" in capsys.readouterr().out
    assert load_model(tmp_path / "run" / "model.safetensors").info["step"] == 4

    data = shutil.copytree(discs, tmp_path / "table")
    for i in range(97, 109):
        file = data / "images" / f"{i:06}.png"
        file.write_bytes(file.read_bytes()[:-60])
    outcome = train("stargan", data, tmp_path / "other", overrides=own)
    told = capsys.readouterr().out
    assert outcome.step == 4 and "no picture of table can be decoded: no measurement during training" in told


def test_without_validation_pictures_a_run_says_so_and_keeps_the_last(
    shapes_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["file,split,domain"]
    for folder in sorted(shapes_dir.iterdir()):
        lines += [f"{path.relative_to(shapes_dir)},train,{folder.name}" for path in sorted(folder.iterdir())]
    data = tmp_path / "data"
    data.mkdir()
    for folder in shapes_dir.iterdir():
        (data / folder.name).symlink_to(folder)
    (data / "manifest.csv").write_text("\n".join(lines))
    train("stargan", data, tmp_path / "run", overrides=settings(train__steps=2))
    assert "no validation pictures: no measurement during training" in capsys.readouterr().out
    assert quick_evaluation is not None and load_model(tmp_path / "run" / "model.safetensors").info["step"] == 2


def test_the_best_of_an_older_checkpoint_is_read() -> None:
    """Its count of evaluations had another name."""
    best = Best.of_checkpoint({"step": 4, "scores": {"a": 1.0}, "criterion": "a", "waited": 3})
    assert best == Best(4, {"a": 1.0}, "a", evaluations_since_best=3)
