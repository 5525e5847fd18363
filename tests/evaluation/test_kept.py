"""What an evaluation keeps: when it is interrupted, for the next run on the same data, and where its files are damaged."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asterism.cli import main
from asterism.config import ConfigError
from asterism.engine.trainer import Outcome, Trainer
from asterism.evaluation import evaluate as evaluating
from asterism.evaluation import session
from asterism.evaluation.cache import cache_folder, read_tensor, write_tensor
from asterism.evaluation.candidates import Generator
from asterism.evaluation.checkpoints import chosen
from asterism.evaluation.evaluate import evaluate
from asterism.evaluation.judge import classifier_settings, what_matters
from asterism.recipes.settings import Settings
from asterism.runs.scores import keep, read_scores, why_not_comparable
from tests.helpers.evaluating import CPU, JUDGE, STARGAN, values
from tests.helpers.model_files import rewrite


def test_a_signal_ends_an_evaluation_with_a_sentence(run: Path, small_judge: None, capsys: pytest.CaptureFixture[str]) -> None:
    """SIGTERM is what schedulers send; SIGINT counts although the shell of a background job had it ignored."""

    def killed(number: int) -> Any:
        def kill(*_: Any) -> None:
            os.kill(os.getpid(), number)
            time.sleep(5)

        return kill

    words = ["evaluate", str(run), "--protocol", "quick", "--device", "cpu"]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for number, where, told in (
            (signal.SIGTERM, "open_run_data", "interrupted before the first measurement"),
            (signal.SIGINT, "one", f"what is measured is kept in {run}"),
            (signal.SIGTERM, "one", f"what is measured is kept in {run}"),
        ):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(evaluating, where, killed(number))
                assert main(words) == 128 + number
            said = capsys.readouterr().err
            assert said.startswith("asterism: stopped. ") and told in said and "same command" in said
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN, "as it was"
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupted_evaluation_goes_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "SAVE_SECONDS", 0)
    translate, made, most = Generator.translate, [], [10**6]

    def counted(self: Generator, x: Tensor, *rest: Any) -> Tensor:
        if sum(made) >= most[0]:
            raise KeyboardInterrupt
        made.append(len(x))
        return translate(self, x, *rest)

    monkeypatch.setattr(Generator, "translate", counted)
    both: dict[str, Any] = {"protocols": ["quick", "stargan"], "parameters": {"pictures": 30}, "precision": "float64"}
    whole = evaluate(run, batch=8, **both, **CPU)[STARGAN]
    everything, most[0] = sum(made), sum(made) * 3 // 4  # In the second protocol.
    made.clear()
    with pytest.raises(KeyboardInterrupt, match="run the same command"):
        evaluate(run, batch=8, **both, **CPU)
    assert read_scores(run / "scores.json")[STARGAN] == json.loads(json.dumps(whole)), "the older scores stand"
    most[0] = 10**6
    (run / "samples" / ".partial-of-a-call-that-nobody-gives-again").mkdir()
    again = evaluate(run, batch=16, **both, **CPU)[STARGAN]
    assert everything <= sum(made) <= everything + 80, "at most a batch, and the sheets, are translated twice"
    assert values(whole, "translated")["reached"] is not None
    for metric, value in values(whole, "translated").items():
        assert values(again, "translated")[metric] == pytest.approx(value, rel=1e-6)
    assert not list((run / "samples").glob(".partial*"))


def test_a_damaged_cache_is_computed_again_with_a_word(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = evaluate(run, protocols=["quick"], **CPU)
    capsys.readouterr()
    for path in (cache_folder() / "features").iterdir():
        content = bytearray(path.read_bytes())
        content[-1] ^= 1  # Still a safetensors file.
        path.write_bytes(content)
    classifiers = list((cache_folder() / "classifiers").iterdir())
    for path in classifiers:
        path.write_bytes(path.read_bytes()[:100])
    again = evaluate(run, protocols=["quick"], **CPU)
    told = capsys.readouterr().out
    assert "its hash differ" in told and "training it again" in told
    assert [values(r, "copy") for r in again.values()] == [values(r, "copy") for r in whole.values()]
    evaluate(run, protocols=["quick"], **CPU)
    assert "again" not in capsys.readouterr().out


def test_a_tensor_of_the_cache_is_read_back_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "a" / "tensor"
    assert read_tensor(file) is None
    write_tensor(file, torch.arange(6.0).view(2, 3))
    assert torch.equal(read_tensor(file), torch.arange(6.0).view(2, 3))
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ValueError):
        read_tensor(file)


def test_the_classifier_is_trained_once_for_all_runs_on_the_same_data(run: Path, discs: Path, tmp_path: Path) -> None:
    first = evaluate(run, protocols=["quick"], **CPU)["quick/classifier/test/last"]
    moved = shutil.copytree(discs, tmp_path / "elsewhere" / "table")
    shutil.rmtree(run / "classifier", ignore_errors=True)
    second = evaluate(run, protocols=["quick"], data=[str(moved)], **CPU)["quick/classifier/test/last"]
    assert not (run / "classifier").exists(), "the cache had it"
    assert why_not_comparable(first, second) is None
    (moved / "images" / "000001.png").write_bytes((moved / "images" / "000002.png").read_bytes())
    evaluate(run, protocols=["quick"], data=[str(moved)], **CPU)
    assert (run / "classifier").exists(), "other pictures, another classifier"


def test_an_interrupted_classifier_is_not_kept(run: Path, discs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_whole = Trainer.train

    def stopped(self: Trainer) -> Outcome:
        return Outcome(train_whole(self).step, signal=2)

    other = {"device": "cpu", "classifier": JUDGE | {"train.seed": 7}}
    known = set((cache_folder() / "classifiers").glob("*"))
    monkeypatch.setattr(Trainer, "train", stopped)
    with pytest.raises(KeyboardInterrupt, match=r"is kept at step 60 of 60 in .*: the same command goes on from there"):
        evaluate(run, protocols=["quick"], **other)
    assert set((cache_folder() / "classifiers").glob("*")) == known and not (run / "scores.json").exists()
    monkeypatch.setattr(Trainer, "train", train_whole)
    evaluate(run, protocols=["quick"], **other)
    assert len(set((cache_folder() / "classifiers").glob("*")) - known) == 1


@pytest.mark.parametrize("content", ['{"format": 1, "protocols": {"stargan": {"reached": 0.9}}}', '{"format": 2, "prot'])
def test_scores_that_cannot_be_read_are_moved_aside(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = {"protocol": "quick", "extractor": {"name": "classifier"}, "split": "test", "checkpoint": "last"}
    for number in (1, 2):  # A second one does not take the first one's place.
        (tmp_path / "scores.json").write_text(content)
        keep(tmp_path, record)
        assert f"it is now scores.old_{number}.json" in capsys.readouterr().out
        assert (tmp_path / f"scores.old_{number}.json").read_text() == content
        assert read_scores(tmp_path / "scores.json") == {"quick/classifier/test/last": record}
    keep(tmp_path, record | {"split": "val"})
    assert len(read_scores(tmp_path / "scores.json")) == 2 and capsys.readouterr().out == ""


def test_a_run_without_checkpoints_is_measured_by_its_model_file(run: Path) -> None:
    """An imported run has none; a model file with scores of its training holds the weights of its best."""
    shutil.rmtree(run / "checkpoints")
    device = torch.device("cpu")
    for which in ("all", "last", "model"):
        assert [(name, step) for name, step, _ in chosen(run, which, device)[1]] == [("last", 1)]
    with pytest.raises(ConfigError, match="has no best checkpoint: it was not evaluated while it trained"):
        chosen(run, "best", device)
    rewrite(run / "model.safetensors", info={"step": 1, "scores": {"fid": 3.0}})
    for which in ("all", "best"):
        assert [(name, step) for name, step, _ in chosen(run, which, device)[1]] == [("best", 1)]


def test_the_classifiers_that_version_0_1_0_kept_are_found_again() -> None:
    """Their names are hashes of these settings; settings that came later count where they are not the default."""
    asked = {"data.size": 32, "data.labels": "a,b", "data.pattern": "{a}_*", "data.unlabelled": "keep"}
    judge = classifier_settings(Settings.resolve("stargan", ["faces"], "small", asked), 1200, {})
    data = {"size": [32, 32], "crop": 0, "flip": True, "zoom": 1.0, "channels": None, "value_range": None, "balance": False}
    length = {"batch_size": 32, "decay_epochs": None, "decay_steps": 200, "ema_kimg": 0.0, "ema_ramp": 0.05, "seed": 0}
    first = {"length": [200, None], "recipe": {"lr": 0.001, "width": 32}, "data": data, "train": length}
    assert json.loads(json.dumps(what_matters(judge))) == first
    maps = dataclasses.replace(judge, data=dataclasses.replace(judge.data, classes=7))
    assert json.loads(json.dumps(what_matters(maps))) == first | {"data": data | {"classes": 7}}
