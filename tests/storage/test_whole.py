"""Files that are written whole or not at all, by everything that writes one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from asterism.data.pictures import write
from asterism.engine.log import Log
from asterism.report import write_report
from asterism.storage.model_file import ModelError, write_file
from asterism.storage.whole import write_json, write_whole
from tests.helpers.reporting import make_run

WRITERS: dict[str, Callable[[Path], object]] = {
    "config.json": lambda path: write_json(path, {"name": "stargan"}),
    "log.jsonl": lambda path: Log(path.parent, 10),
    "report.html": lambda path: write_report([path.parent]),
    "a.png": lambda path: write(path, np.zeros((4, 4, 3), np.uint8)),
    "model.safetensors": lambda path: write_file(path, b"new"),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("broken", ["write", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    name: str, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run")
    (run / name).write_bytes((run / name).read_bytes() if (run / name).exists() else b"old")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        if broken == "replace":
            patch.setattr(os, "replace", refuse)
        else:  # No room: the file opens, and takes nothing.
            patch.setattr(
                "asterism.storage.whole.open", lambda path, mode: path.touch() or open("/dev/full", mode, 0), raising=False
            )
        with pytest.raises((OSError, ModelError), match="No space left"):
            WRITERS[name](run / name)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    WRITERS[name](run / name)
    assert {path for path in run.rglob("*") if path.is_file()} == set(before)
    assert (run / name).read_bytes() != before[run / name]


def refuse(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_two_programs_that_write_one_file_do_not_share_a_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of what is not whole yet is a process's own."""
    names: list[str] = []
    monkeypatch.setattr(os, "replace", lambda old, new: names.append(Path(old).name))
    for number in (11, 12):
        monkeypatch.setattr(os, "getpid", lambda number=number: number)
        write_whole(tmp_path / "a", b"x")
    assert names == [".a.11", ".a.12"]
