"""Commands where the system lacks what a desktop has: an encoding, a home, a folder that can be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from asterism.cache import UnwritableError, cache_folder, writable_cache
from asterism.cli import main
from asterism.evaluation.evaluate import evaluate
from asterism.terminal import in_words
from tests.helpers.runs import small

WORDS = """
from asterism.cli import main
settings = {settings!r}
commands = [
    ["doctor", "data"],
    ["train", "stargan", "--data", "data", "--out", "run", *settings],
    ["info", "run"],
    ["list", "stargan"],
    ["translate", "run", "data/猫/0.png", "--to", "Zoë", "--out", "out"],
    ["grid", "run", "data/猫/0.png", "--out", "grid.png"],
    ["report", "run"],
    ["pack", "data", "--out", "packed", "--data.size", "32"],
    ["export", "run", "--format", "hub", "--out", "hub"],
]
for words in commands:
    assert main(words) == 0, words
assert main(["translate", "run", "data/猫/0.png", "--to", "ß", "--out", "out"]) == 1
print("all went")
"""


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two domains whose names no 8-bit encoding holds together."""
    for name in ("Zoë", "猫"):
        for i in range(8):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (30 * i, 0, 0)).save(tmp_path / "data" / name / f"{i}.png")
    return tmp_path


def test_all_commands_speak_where_streams_know_ascii_only_and_nobody_has_a_home(pets: Path) -> None:
    settings = [f"--{key}={value}" for key, value in small(train__steps=1, train__evaluate_every=0).items()]
    gone = ("HOME", "LANG", "XDG_CACHE_HOME", "PYTHONUTF8")
    env = {key: value for key, value in os.environ.items() if key not in gone} | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    code = WORDS.format(settings=settings)
    done = subprocess.run([sys.executable, "-c", code], cwd=pets, env=env, capture_output=True)
    told, wrong = done.stdout.decode("ascii"), done.stderr.decode("ascii")
    assert done.returncode == 0 and told.endswith("all went\n"), wrong[-3000:]
    assert "\\u732b" in told and "\\xdf" in wrong, "characters are told by their numbers"
    assert (pets / "out" / "0__Zoë.png").exists()


def test_a_cache_that_cannot_be_written_is_told_before_work_begins(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UnwritableError, match=r"cache/classifiers cannot be written \(.*\): set ASTERISM_CACHE to a folder"):
        evaluate(run, device="cpu")
    assert not (run / "classifier").exists(), "nothing was trained that would be lost"
    monkeypatch.delenv("ASTERISM_CACHE")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("nobody")))
    assert cache_folder().name == "asterism"
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "own"))
    assert writable_cache("features") == tmp_path / "own" / "features"


def test_a_folder_that_is_not_ours_has_its_remedy() -> None:
    assert in_words(PermissionError(13, "Permission denied", "run/.lock")) == (
        "run/.lock: Permission denied; results go to another folder by --out"
    )


@pytest.mark.parametrize(("command", "package"), [("studio", "gradio"), ("serve", "uvicorn")])
def test_a_missing_extra_is_named(
    command: str, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # As where it is not installed.
    monkeypatch.delitem(sys.modules, "asterism.serving.server", raising=False)
    assert main([command, "runs/faces"]) == 1
    said = capsys.readouterr().err
    assert package in said and f'pip install "asterism[{command}]"' in said and "Traceback" not in said


def test_a_file_that_may_not_be_read_has_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "labels.csv").write_text("file,Red")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    said = in_words(PermissionError(13, "Permission denied", str(tmp_path / "labels.csv")))
    assert said == f"{tmp_path / 'labels.csv'}: Permission denied; give yourself the right to read it"


def test_a_studio_without_gradio_says_what_to_install(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asterism.commands.studio.find_spec", lambda name: None)
        assert main(["studio", str(run)]) == 1
    said = capsys.readouterr().err
    assert 'pip install "asterism[studio]"' in said and "bug" not in said
    for words in ("--max-upload nan", "--max-upload -1", "--port 70000"):
        with pytest.raises(SystemExit):
            main(["studio", str(run), *words.split()])
        assert "expected" in capsys.readouterr().err
