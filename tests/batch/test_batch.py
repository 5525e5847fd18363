"""Translation on Ray: the same files as on one machine, from folders and from stores, and what is done is kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from asterism.batch import translate as translating
from asterism.batch.evaluate import evaluate_on_ray
from asterism.batch.files import found_pictures
from asterism.batch.manifest import FOLDER, Manifest
from asterism.batch.pieces import Item, unpacked
from asterism.batch.stores import Place
from asterism.batch.translate import pieces
from asterism.cli import main
from asterism.evaluation import session
from asterism.evaluation.evaluate import evaluate
from asterism.inference.folder import FolderError
from asterism.recipes.model import save_model
from tests.helpers.evaluating import CPU, STARGAN, TRUTH
from tests.helpers.translators import translator

RAY = ["--engine", "ray", *(["--address", os.environ["ASTERISM_TEST_RAY"]] if "ASTERISM_TEST_RAY" in os.environ else [])]
"""Ray is started by each command; ASTERISM_TEST_RAY=auto takes a cluster that runs, for machines too busy to start one."""
PICTURES = int(os.environ.get("ASTERISM_TEST_PICTURES", "5000"))
BROKEN = PICTURES // 100


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("model") / "model.safetensors"
    recipe = translator().recipe
    save_model(file, recipe, "stargan", recipe.state_dict(), info={})
    return file


def pictures(folder: Path, count: int) -> Path:
    """Draw so many small pictures of several sizes in two folders below a folder."""
    rng = np.random.default_rng(0)
    for i in range(count):
        file = folder / f"{i % 2}" / f"{i:05}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24 + i % 3, 32, 3), dtype=np.uint8)).save(file, compress_level=1)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and FOLDER not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def check_a_store(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Compare the files of a store with those of one machine; by `file://`, which goes through fsspec as every store does."""
    source = pictures(tmp_path / "in", 9)
    (source / "1" / "00003.png").write_bytes(b"no picture")
    words = ["translate", str(model)]
    options = ["--to", "Glasses", "--to", "sad", "--precision", "float64", "--device", "cpu", "--batch-size", "4"]
    assert main([*words, str(source), "--out", str(tmp_path / "plain"), *options]) == 0
    capsys.readouterr()
    out = tmp_path / "store"
    spread = ["--out", f"file://{out}", *options, *RAY, "--cores", str(os.cpu_count())]
    status, (said, problems) = main([*words, f"file://{source}/**", *spread]), capsys.readouterr()
    assert status == 1, problems
    assert f"left out: file://{source}/1/00003.png" in said, problems
    assert "files written: 16; sources left out: 1" in said
    assert contents(out) == contents(tmp_path / "plain")

    manifest = Manifest(Place(f"file://{out}"), json.loads((out / FOLDER / "job.json").read_text()))
    found = found_pictures([f"file://{source}/**"], f"file://{out}", [])
    rest = {name for name, (_, state) in found.items() if not manifest.has(name, state)}
    assert rest == {f"file://{source}/1/00003.png"}, "the rest is what failed"
    pictures(source, 1)
    (out / "0" / "00002__sad.png").unlink()
    manifest = Manifest(manifest.place, json.loads((out / FOLDER / "job.json").read_text()))
    found = found_pictures([f"file://{source}/**"], f"file://{out}", [])
    rest |= {f"file://{source}/0/00000.png", f"file://{source}/0/00002.png"}
    assert {name for name, (_, state) in found.items() if not manifest.has(name, state)} == rest, "and what changed or is gone"


def test_a_store_gives_and_takes_the_files_of_one_machine(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With workers in this process: starting Ray takes longer than all of the rest."""
    pytest.importorskip("fsspec", reason="needs the extra: asterism[ray]")

    def mapped(ray: Any, rows: Any, worker: Any, arguments: Any, device: str, cores: int, before: Any, after: Any) -> Any:
        working = worker(*arguments)
        return [after(working(before({"row": row}))) for row in rows]

    here = SimpleNamespace(put=lambda content: content, get=lambda content: content)
    monkeypatch.setitem(sys.modules, "ray", here)
    monkeypatch.setattr(translating, "cluster", lambda address: nullcontext(here))
    monkeypatch.setattr(translating, "mapped", mapped)
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)
    check_a_store(model, tmp_path, capsys)


def test_ray_gives_and_takes_the_files_of_one_machine(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray.data", reason="needs the extra: asterism[ray]")
    check_a_store(model, tmp_path, capsys)


def test_results_of_other_jobs_are_not_mixed(tmp_path: Path) -> None:
    job = {"model": "a", "to": ["sad"]}
    manifest = Manifest(Place(str(tmp_path)), job)
    manifest.add("/in/a.png", "1-1", [])
    manifest.flush()
    assert Manifest(Place(str(tmp_path)), job).has("/in/a.png", "1-1")
    with pytest.raises(
        FolderError, match=r"another job, which differs in to \(\['sad'\] there, \['happy'\] now\).*--overwrite"
    ):
        Manifest(Place(str(tmp_path)), job | {"to": ["happy"]})
    anew = Manifest(Place(str(tmp_path)), job | {"to": ["happy"]}, anew=True)
    assert not anew.records
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.png").touch()
    with pytest.raises(FolderError, match=r"holds files already, such as mine.png.*another --out"):
        Manifest(Place(str(tmp_path / "other")), job)


def test_pieces_are_whole_batches_in_order() -> None:
    items = [Item(f"/{i}.png", str(i), f"{2**27 if i < 8 else 1}-0") for i in range(50)]
    items[30] = Item("/film.mp4", "film", "1-0", film=True)
    held = [unpacked(row) for row in pieces(items, 4)]
    assert [item for piece in held for item in piece] == items
    assert [len(piece) for piece in held] == [4, 4, 16, 6, 1, 16, 3], "at most 256 MB, four batches, and films alone"


def test_without_ray_a_sentence_says_what_to_install(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    pictures(tmp_path / "in", 2)
    words = ["translate", str(model), str(tmp_path / "in"), "--to", "sad", "--out", str(tmp_path / "out")]
    assert main([*words, "--engine", "ray"]) == 1
    assert 'pip install "asterism[ray]"' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, "--address", "auto"])
    assert "--address is for --engine ray" in capsys.readouterr().err


def started(model: Path, source: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    words = ["translate", str(model), str(source), "--to", "sad", "--out", str(out), "--precision", "float64", *more]
    command = [sys.executable, "-m", "asterism", *words, *RAY]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def wait_for(out: Path, count: int, process: subprocess.Popen[str]) -> None:
    while len(list(out.rglob("*.png"))) < count:
        assert process.poll() is None, "it ended before"
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_thousands_of_pictures_with_a_killed_worker_an_abort_and_broken_files(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray.data", reason="needs the extra: asterism[ray]")
    psutil = pytest.importorskip("psutil")
    source, out = pictures(tmp_path / "in", PICTURES), tmp_path / "out"
    broken = sorted(source.rglob("*.png"))[:: PICTURES // BROKEN]
    for file in broken:
        file.write_bytes(file.read_bytes()[:60])
    words = ["translate", str(model), str(source), "--to", "sad", "--precision", "float64", "--out", str(tmp_path / "plain")]
    assert main(words) == 0
    capsys.readouterr()

    first = started(model, source, out)
    wait_for(out, PICTURES // 8, first)
    ours = psutil.process_iter() if "ASTERISM_TEST_RAY" in os.environ else psutil.Process(first.pid).children(recursive=True)
    workers = [p for p in ours if "MapWorker" in " ".join(p.cmdline())]
    assert workers
    workers[0].kill()
    wait_for(out, PICTURES // 2, first)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 128 + signal.SIGTERM
    before = len(Manifest(Place(str(out)), json.loads((out / FOLDER / "job.json").read_text())).records)
    assert before > max(0, PICTURES // 4 - 256), "what was done is known, up to the pieces in work"

    second = started(model, source, out)
    said, _ = second.communicate()
    assert second.returncode == 1
    assert f"done before, by the manifest: {before} of {PICTURES}" in said
    assert f"files written: {PICTURES - BROKEN - before}; sources left out: {BROKEN}" in said
    assert all(f"left out: {file}: " in said for file in broken)
    assert contents(out) == contents(tmp_path / "plain")

    third = started(model, source, tmp_path / "few", "--max-errors", str(BROKEN // 3))
    third.communicate()
    assert third.returncode == 1 and 0 < len(contents(tmp_path / "few")) < PICTURES - BROKEN


def check_scores(run: Path, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure a run here and on Ray, and compare all that is said of it."""
    options = CPU | {"checkpoint": "last", "precision": "float64", "parameters": {"pictures": 12}}
    here = evaluate(run, **options)
    monkeypatch.setattr(session, "_measure", None)  # In this process: the measuring is the workers'.
    there = evaluate_on_ray(other, address=os.environ.get("ASTERISM_TEST_RAY"), **options)
    assert list(here) == list(there) == [STARGAN, TRUTH]
    for name, record in here.items():
        assert {k: v for k, v in record.items() if k != "seconds"} == {k: v for k, v in there[name].items() if k != "seconds"}


@pytest.mark.slow
def test_an_evaluation_on_ray_has_the_scores_of_one_machine(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray.data", reason="needs the extra: asterism[ray]")
    check_scores(run, shutil.copytree(run, tmp_path / "other"), monkeypatch)
