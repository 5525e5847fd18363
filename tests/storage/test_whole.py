"""Files that are written whole or not at all, by everything that writes one."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from asterism.data.pictures import PictureFormat, write
from asterism.engine import checkpoint
from asterism.engine.log import Log
from asterism.errors import AsterismError
from asterism.inference.png_rows import png_rows
from asterism.inference.sequence import write_sequence
from asterism.report import write_report
from asterism.storage.model_file import write_tensors
from asterism.storage.whole import write_json, write_whole, writing
from tests.helpers.reporting import make_run

WRITERS: dict[str, Callable[[Path], object]] = {
    "config.json": lambda path: write_json(path, {"name": "stargan"}),
    "log.jsonl": lambda path: Log(path.parent, 10),
    "report.html": lambda path: write_report([path.parent]),
    "a.png": lambda path: write(path, np.zeros((4, 4, 3), np.uint8)),
    "model.safetensors": lambda path: write_tensors(path, {"a": torch.zeros(4)}, {}),
    "step_00000001.pt": lambda path: checkpoint.write(path, {"step": 1}),
    "way.gif": lambda path: sequence(path, "gif"),
    "way.png": lambda path: sequence(path, "strip"),
    "grid.png": lambda path: rows(path),
}


def sequence(path: Path, kind: str) -> None:
    frames = [np.full((4, 4, 3), value, np.uint8) for value in (0, 200)]
    write_sequence(path, iter(frames), PictureFormat(3, 4, 4), kind, side=None, fps=10, first=frames[0])


def rows(path: Path) -> None:
    with png_rows(path, 4) as append:
        append(np.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("broken", ["write", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    name: str, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run")
    (run / name).write_bytes((run / name).read_bytes() if (run / name).exists() else b"old")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch, no_room() if broken == "write" else nullcontext():
        if broken == "replace":
            patch.setattr(os, "replace", refuse)
        with pytest.raises((OSError, AsterismError), match="No space left|File too large|a part of it only") as told:
            WRITERS[name](run / name)
    assert str(run / name) in str(told.value)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    WRITERS[name](run / name)
    assert {path for path in run.rglob("*") if path.is_file()} == set(before)
    assert (run / name).read_bytes() != before[run / name]


@contextmanager
def no_room() -> Iterator[None]:
    """Let every file of this process end after a few bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def refuse(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_two_programs_that_write_one_file_do_not_share_a_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of what is not whole yet is a process's own."""
    names: list[str] = []
    monkeypatch.setattr(os, "replace", lambda old, new: names.append(Path(old).name))
    for number in (11, 12):
        monkeypatch.setattr(os, "getpid", lambda number=number: number)
        write_whole(tmp_path / "a", b"x")
    assert names == [".partial-11-a", ".partial-12-a"]


def test_a_folder_comes_into_place_whole(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writing(tmp_path / "new" / "pack") as partial:
        partial.mkdir()
        (partial / "a").write_text("half")
        raise ZeroDivisionError
    assert not list((tmp_path / "new").iterdir())
    with writing(tmp_path / "new" / "pack", sync=True) as partial:
        partial.mkdir()
        (partial / "a").write_text("whole")
        assert not (tmp_path / "new" / "pack").exists()
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("a")] == ["new/pack/a"]
