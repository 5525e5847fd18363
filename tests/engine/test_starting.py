"""Who may train in a run folder, on what, and from where: locks, data that were renamed, scripts without a guard."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asterism import train
from asterism.config import ConfigError
from asterism.data.dataset import open_data
from asterism.engine import log
from asterism.engine.listener import Silent
from asterism.evaluation import judge
from asterism.lock import LockedError, locked
from asterism.machine import Machine
from asterism.recipes.settings import Settings
from tests.helpers.runs import small, state


def test_a_folder_is_one_process_at_a_time_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    folder = f"pathlib.Path({str(tmp_path / 'run')!r})"
    code = f"import os, pathlib, asterism.lock\nheld = asterism.lock.locked({folder})\nheld.__enter__()"
    with locked(tmp_path / "run"):
        alive = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "LockedError" in alive.stderr and "is being trained by process" in alive.stderr
        with pytest.raises(LockedError, match=r"by process \d+ on .*: wait until it ends, stop it, or give another --out"):
            locked(tmp_path / "run").__enter__()
    assert not (tmp_path / "run").exists(), "nothing is left behind"
    dead = subprocess.run([sys.executable, "-c", code + "\nos._exit(1)"], capture_output=True, text=True)
    assert not dead.stderr and (tmp_path / "run" / ".lock").exists()
    with locked(tmp_path / "run"):
        pass


def test_a_lock_ends_well_whose_file_cannot_be_removed_while_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "used by another process", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    for _ in range(2):  # What is left keeps nobody out.
        with locked(tmp_path / "run"):
            pass


def test_tensorboard_has_every_line_when_the_run_ends(discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its writer holds points back for two minutes, and loses them with the process."""
    held, kept = list[int](), list[int]()

    class Writer:
        def add_scalar(self, name: str, value: float, step: int) -> None:
            held.append(step)

        def flush(self) -> None:
            kept.extend(held)
            held.clear()

    monkeypatch.setattr(log, "_tensorboard", lambda run, step: Writer())
    train("stargan", discs, tmp_path / "run", overrides=small(train__steps=2), listener=Silent(), evaluation=None)
    assert 2 in kept and not held


def test_a_judge_is_trained_by_one_process_at_a_time(discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two evaluations of one run would write the checkpoints of its classifier together."""
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "cache"))
    settings = Settings.resolve("stargan", [str(discs)], overrides=small())
    datasets, machine = open_data(settings.data), Machine.choose("cpu")

    def second(settings: Settings, folder: Path, *_: object, **named: object) -> None:
        with pytest.raises(LockedError, match="wait until it ends, or stop it"):
            locked(folder, remedy="or stop it").__enter__()
        raise KeyboardInterrupt

    monkeypatch.setattr(judge, "start", second)
    with pytest.raises(KeyboardInterrupt):
        judge.trained_judge(tmp_path / "run", settings, datasets.space, datasets.splits["train"], machine, {})


def test_a_second_training_is_refused_while_the_first_lives(discs: Path, tmp_path: Path) -> None:
    refused = []

    class Second(Silent):
        def start(self, step: int, steps: int) -> None:
            with pytest.raises(LockedError) as error:
                train("stargan", discs, tmp_path / "run", overrides=small(train__steps=2), listener=Silent())
            refused.append(str(error.value))

    train("stargan", discs, tmp_path / "run", overrides=small(train__steps=2), listener=Second())
    assert len(refused) == 1 and "is being trained by" in refused[0]
    train("stargan", discs, tmp_path / "run", overrides=small(train__steps=3), listener=Silent())
    assert state(tmp_path / "run")["step"] == 3, "a run that ended is free"


def test_a_run_goes_on_with_the_same_data_in_a_folder_of_another_name(discs: Path, tmp_path: Path) -> None:
    shutil.copytree(discs, tmp_path / "moved" / "people")
    for data, steps in ((discs, 1), (tmp_path / "moved" / "people", 2)):
        train("stargan", data, tmp_path / "run", overrides=small(train__steps=steps), listener=Silent(), evaluation=None)
    held = state(tmp_path / "run")
    assert held["step"] == 2 and held["labels"][0]["dataset"] == discs.resolve().name, "labels keep the names that they had"
    (tmp_path / "moved" / "people" / "images" / "000001.png").unlink()
    with pytest.raises(ConfigError, match="the pictures, labels or splits differ"):
        train("stargan", tmp_path / "moved" / "people", tmp_path / "run", overrides=small(train__steps=3), listener=Silent())


def test_a_plain_script_may_train_with_workers(discs: Path, tmp_path: Path) -> None:
    """As in the documentation: no function, no guard; workers must not run it again."""
    settings = small(train__steps=2, data__workers=2)
    call = f"asterism.train('stargan', {str(discs)!r}, 'run', overrides={settings!r}, evaluation=None)"
    script = f"import asterism\nprint('once')\n{call}"
    (tmp_path / "train.py").write_text(script)
    done = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("once") == 1, done.stderr[-2000:]
