"""What a run folder says when files of it are damaged, or another program's."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from asterism.recipes.settings import Settings
from asterism.runs import scores
from asterism.runs.folder import read_run
from asterism.storage.run_files import RunError
from asterism.storage.whole import write_json
from tests.helpers.reporting import make_run

OTHER = {"name": "stargan", "preset": None, "recipe": 5, "data": {}, "train": {}}
DAMAGED = ("", "{", "[]", "5", '{"model_type": "bert"}', json.dumps(OTHER))


@pytest.mark.parametrize("content", DAMAGED)
def test_a_config_that_is_damaged_or_of_another_program_is_told(content: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "config.json").write_text(content)
    (run / "model.safetensors").unlink(missing_ok=True)
    for read in (read_run, Settings.of_run):
        with pytest.raises(RunError, match=r"config\.json is damaged, or of another program"):
            read(run)


def test_a_run_is_opened_with_its_data_where_they_are_now(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    written = json.loads((run / "config.json").read_text())
    settings = Settings.of_run(run)
    assert (settings.name, settings.preset, settings.recipe.reconstruction_weight) == ("stargan", "small", 7.5)
    assert settings.data.sources == tuple(written["data"]["sources"])
    moved = Settings.of_run(run, ["/mnt/avatars"])
    assert moved.data.sources == ("/mnt/avatars",) and moved.data.size == settings.data.size and moved.train == settings.train
    with pytest.raises(RunError, match="no config.json"):
        Settings.of_run(tmp_path)


def test_records_that_are_kept_at_once_are_all_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by two evaluations of one run, of one split each: neither may write what it read before the other wrote."""
    read, together = scores.read_scores, threading.Barrier(2)

    def slowly(file: Path) -> dict[str, scores.Record]:
        found = read(file)
        with suppress(threading.BrokenBarrierError):  # Whoever is alone in here goes on after a moment.
            together.wait(0.2)
        return found

    monkeypatch.setattr(scores, "read_scores", slowly)
    record = {"protocol": "stargan", "extractor": {"name": "classifier"}, "checkpoint": "best"}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda split: scores.keep(tmp_path, {**record, "split": split}), ("val", "test")))
    assert sorted(read(tmp_path / scores.FILE)) == ["stargan/classifier/test/best", "stargan/classifier/val/best"]
    assert [file.name for file in tmp_path.iterdir()] == [scores.FILE]


def test_sheets_and_recordings_outside_of_a_run_are_not_its_own(tmp_path: Path) -> None:
    """A run may be anybody's: a page that is made of it holds no other file of this machine."""
    run = make_run(tmp_path / "run")
    (tmp_path / "secret.png").write_bytes((next((run / "previews").glob("*.png"))).read_bytes())
    (name, record), *_ = scores.read_scores(run / scores.FILE).items()
    inside = {"title": "cases", "file": "previews/step_00000000.png", "columns": [], "caption": ""}
    cases = [inside | {"file": "../secret.png"}, inside | {"file": str(tmp_path / "secret.png")}]
    cases += [inside | {"sounds": [{"name": "a", "file": "../secret.png"}]}]
    write_json(run / scores.FILE, {"format": scores.FORMAT, "protocols": {name: {**record, "cases": cases}}})
    (sheet,) = read_run(run).cases[name]
    assert sheet.file == run / inside["file"] and sheet.sounds == ()
