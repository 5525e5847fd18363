"""Threads of a command: as many as cores are left."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from asterism import threads


def spin(started: object) -> None:
    started.set()  # type: ignore[attr-defined]
    while True:
        pass


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux tells what cores do")
def test_a_core_that_another_program_uses_is_not_free() -> None:
    core = min(os.sched_getaffinity(0))
    started = multiprocessing.Event()
    busy = multiprocessing.Process(target=spin, args=(started,), daemon=True)
    busy.start()
    try:
        os.sched_setaffinity(busy.pid or 0, {core})
        started.wait()
        assert threads.idle([core], 0.3) < 0.2
    finally:
        busy.kill()
        busy.join()


@pytest.mark.parametrize(
    "free, limit, wanted, reason",
    [
        (4.0, None, None, ""),
        (3.6, None, None, ""),
        (2.2, None, "2", "other programs use 1.8"),
        (0.0, None, "1", "other programs use 4.0"),
        (4.0, 1.5, "2", "its container may use 1.5"),
        (4.0, 0.5, "1", "its container may use 0.5"),
    ],
)
def test_as_many_threads_as_cores_are_left(
    monkeypatch: pytest.MonkeyPatch, free: float, limit: float | None, wanted: str | None, reason: str
) -> None:
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(threads, "idle", lambda cores: free)
    monkeypatch.setattr(threads, "quota", lambda: limit)
    said = threads.settle()
    assert os.environ.get(threads.VARIABLE) == wanted
    assert reason in (said or "")
    monkeypatch.delenv(threads.VARIABLE, raising=False)


def test_a_number_that_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(threads.VARIABLE, "7")
    monkeypatch.setattr(threads, "idle", lambda cores: 0.0)
    assert threads.settle() is None and os.environ[threads.VARIABLE] == "7"


@pytest.mark.parametrize(
    "files, cores",
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_what_a_container_may_use(tmp_path: Path, files: dict[str, str], cores: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads.quota(tmp_path) == cores


def test_a_machine_that_hides_what_its_cores_do_has_them_free(tmp_path: Path) -> None:
    """As some containers and Android do."""
    assert threads._times(tmp_path / "stat") == {}
