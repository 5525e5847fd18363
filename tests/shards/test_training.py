"""Training from shards is training from files."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from asterism.cli import main
from asterism.config import DataConfig, build
from asterism.data.dataset import open_data
from asterism.data.listing import DataError
from asterism.data.loader import Loader
from asterism.data.pictures import read
from asterism.doctor.examine import examine
from asterism.inference.inputs import find_pictures
from asterism.packing import pack
from asterism.packing.shards import write_shards
from asterism.shards import opened
from asterism.training import train
from tests.helpers.packs import TINY
from tests.helpers.runs import assert_same_state, command, small, state
from tests.helpers.shards import picture, samples, write_tar


def config(*sources: object, **options: object) -> DataConfig:
    return build(DataConfig, {"sources": [str(s) for s in sources], "size": 24, **options})


def sharded(source: Path, out: Path, per_shard: int = 20_000, **options: object) -> Path:
    write_shards(config(source, **options), out, per_shard)
    return out


def batches(data: DataConfig, first: int = 0, count: int = 3) -> list:
    datasets = open_data(data)
    loader = Loader(datasets.splits["train"], datasets.picture, data, batch_size=6, seed=3, on_broken=lambda *_: None)
    steps = loader.iterate(first)
    found = [next(steps) for _ in range(count)]
    steps.close()
    return [{**dict(whole.items()), **pictures} for step in found for whole, pictures in step]


def assert_same_batches(a: list, b: list) -> None:
    for mine, theirs in zip(a, b, strict=True):
        assert mine.keys() == theirs.keys() and all(torch.equal(x, theirs[name]) for name, x in mine.items())


def test_a_run_from_shards_is_the_run_from_files(shapes_dir, tmp_path):
    shards = sharded(shapes_dir, tmp_path / "shapes")
    assert len(list(shards.glob("train-*.tar"))) > 3
    settings = TINY | {"train.evaluate_every": 0}
    train("stargan", shapes_dir, tmp_path / "files", overrides=settings)
    pattern = f"{shards}/{{train,val,test}}-*.tar"
    assert (
        main(
            ["train", "stargan", "--data", pattern, "--out", str(tmp_path / "run"), *map("--{}={}".format, TINY, TINY.values())]
        )
        == 0
    )
    assert_same_state(state(tmp_path / "files"), state(tmp_path / "run"))

    others = sharded(shapes_dir, tmp_path / "other" / "shapes", per_shard=60_000)
    assert open_data(config(others)).fingerprint == open_data(config(pattern)).fingerprint  # However they are cut.


@pytest.mark.slow
def test_kill_and_resume_from_shards_gives_the_bits_of_an_uninterrupted_run(shapes_dir, tmp_path):
    shards = sharded(shapes_dir, tmp_path / "shapes")
    settings = small(train__checkpoint_every=2)
    train("stargan", shapes_dir, tmp_path / "whole", overrides=settings)
    process = subprocess.Popen(command(shards, tmp_path / "run", settings))
    while not list(tmp_path.glob("run/checkpoints/*")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    train("stargan", shards, tmp_path / "run", overrides=settings)
    assert_same_state(state(tmp_path / "whole"), state(tmp_path / "run"))


def test_joint_training_of_shards_and_a_folder(shapes_dir, table_dir, tmp_path, monkeypatch):
    """Every batch of both datasets, in this process and as another reads them; labels of a table, balanced."""
    shards = sharded(table_dir, tmp_path / "table")
    files, mixed = config(table_dir, shapes_dir, balance=True), config(shards, shapes_dir, balance=True)
    first, second = open_data(files), open_data(mixed)
    assert first.space.to_json() == second.space.to_json() and first.picture == second.picture
    assert [[len(s) for s in sets] for sets in first.splits.values()] == [
        [len(s) for s in sets] for sets in second.splits.values()
    ]
    whole = batches(files, count=5)
    assert_same_batches(whole, batches(mixed, count=5))
    datasets = open_data(mixed)
    loader = Loader(datasets.splits["train"], datasets.picture, mixed, batch_size=6, seed=3, on_broken=print)
    state = pickle.dumps(loader)
    monkeypatch.setattr(opened, "_opened", {})  # As a process that only reads pictures begins.
    opened._reopened.cache_clear()
    for (part, _), batch in zip(pickle.loads(state).load(4), whole[-2:], strict=True):
        assert torch.equal(torch.from_numpy(part["x"]), batch["x"])


@pytest.mark.slow
def test_worker_processes_read_shards(shapes_dir, tmp_path):
    shards = sharded(shapes_dir, tmp_path / "shapes")
    assert_same_batches(batches(config(shapes_dir), count=5)[2:], batches(config(shards, workers=2), first=2, count=3))


def test_broken_shards_are_named_once_and_the_rest_is_read(tmp_path):
    """A shard cut within a sample, one missing of the range, a sample that does not decode, one without a label."""
    members = samples(0, 40)
    spoiled = samples(40, 40, {44: ""})
    spoiled[2] = (spoiled[2][0], b"no picture")
    write_tar(tmp_path / "cats-0.tar", members)
    write_tar(tmp_path / "cats-2.tar", spoiled)
    cut = write_tar(tmp_path / "cats-3.tar", samples(80, 10))
    whole = cut.read_bytes()
    cut.write_bytes(whole[: whole.rindex(b"000088.png") + 700])
    data = open_data(config(tmp_path / "cats-{0..3}.tar", labels="domain"))
    (held,) = data.splits["train"]
    assert len(held) == 40 + 39 + 8 and int((held.known.sum(1) == 0).sum()) == 1
    notes = "\n".join(data.notes)
    assert "shards that are not there, left out: 1 (cats-1.tar)" in notes and notes.count("cats-3.tar is damaged after 9") == 1
    assert {path.name: reason for path, reason in data.broken} == {
        "000041.png": "it is not a readable picture",
        "000088.png": "cats-3.tar ends within it",
    }
    assert held.space.names == ("cat", "dog")
    with pytest.raises(DataError, match="there are no such shards"):
        open_data(config(tmp_path / "dogs-{0..3}.tar"))


def test_names_of_members_stay_below_their_shard(tmp_path):
    """`tar -cf x.tar .` writes ./cat/1.png; an absolute name, or one with .., must not lead to a file of this machine."""
    outside = tmp_path / "outside.png"
    outside.write_bytes(picture(99))
    names = ["./cat/1", "dog//2", str(outside.with_suffix("")), f"../../{tmp_path.name}/3"]
    members = [(name + end, content) for i, name in enumerate(names) for end, content in ((".png", picture(i)), (".cls", b"0"))]
    found = find_pictures([write_tar(tmp_path / "in" / "some.tar", members)])
    assert [name for _, name in found] == sorted(["cat/1", "dog/2", str(outside.with_suffix(""))[1:], f"{tmp_path.name}/3"])
    wanted = {name.strip("./").replace("//", "/"): picture(i) for i, name in enumerate(names)}
    for path, name in found:
        assert np.array_equal(read(path), np.array(Image.open(io.BytesIO(wanted[name]))))


def test_names_that_are_no_text_are_packed(tmp_path):
    """Latin-1 bytes, as old archives unpack to: files are found again, and a label is told so that it can be typed."""
    name = os.fsdecode(b"caf\xe9")
    for domain in (name, "dog"):
        (tmp_path / "in" / domain).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "in" / domain / f"{name}{number}.png").write_bytes(picture(number))
    config = DataConfig(sources=(str(tmp_path / "in"),), size=(8, 8))
    write_shards(config, tmp_path / "out", 20_000)
    read_back = open_data(build(DataConfig, {"sources": (str(tmp_path / "out"),), "size": (8, 8)}))
    assert sorted(read_back.space.names) == sorted(open_data(config).space.names) == [r"caf\udce9", "dog"]


def test_a_changed_shard_is_indexed_anew_and_a_copied_one_is_not(tmp_path, monkeypatch):
    from asterism.shards import index

    shard = write_tar(tmp_path / "pets" / "a-0.tar", samples(0, 30))
    assert len(open_data(config(shard.parent)).splits["train"][0]) == 30
    moved = shutil.copytree(shard.parent, tmp_path / "moved" / "pets", copy_function=shutil.copyfile)
    made = []
    monkeypatch.setattr(
        index, "_tar_index", lambda place, probe, own=index._tar_index: made.append(place.url) or own(place, probe)
    )
    assert len(open_data(config(moved)).splits["train"][0]) == 30 and not made  # Other times, the same content.
    write_tar(moved / "a-0.tar", samples(0, 34))
    assert len(open_data(config(moved)).splits["train"][0]) == 34 and len(made) == 1
    os.truncate(moved / "a-0.tar", 20_000)  # While a run reads it.
    from asterism.data.pictures import read

    with pytest.raises(DataError, match="has changed: it ends before byte"):
        read(Path(f"{moved}!/000033.png"))


def test_packing_goes_on_where_it_was_interrupted(shapes_dir, tmp_path, capsys):
    """A shard is there whole, with its index, or not at all; what is there already is not written again."""
    whole, out = sharded(shapes_dir, tmp_path / "whole"), tmp_path / "out"

    class Enough(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 30:
            raise Enough

    with pytest.raises(Enough):
        write_shards(config(shapes_dir), out, 20_000, stop)
    there = {file.name: file.stat().st_mtime_ns for file in out.glob("*.tar")}
    assert 0 < len(there) < len(list(whole.glob("*.tar"))) and not list(out.glob(".partial*"))
    assert main(["pack", str(shapes_dir), "--shards", str(out), "--per-shard", "20KB"]) == 0
    assert f"{len(there)} of {len(list(whole.glob('*.tar')))} shards were there already" in capsys.readouterr().out
    assert {name: (out / name).stat().st_mtime_ns for name in there} == there
    for file in whole.glob("*.tar"):
        assert (out / file.name).read_bytes() == file.read_bytes()
    with pytest.raises(DataError, match="holds shards of other pictures, labels or sizes"):
        write_shards(config(shapes_dir), out, 30_000)


def test_the_doctor_and_translate_take_shards_and_pack_says_what_to_do(discs, run, tmp_path):
    discs = shutil.copytree(discs, tmp_path / "files")
    shutil.copyfile(discs / "images" / "000097.png", discs / "images" / "000101.png")
    shards = sharded(discs, tmp_path / "discs", 200_000)
    told = examine(config(shards))
    assert not told.problems and told.datasets[0].pictures == {"train": 96, "val": 12, "test": 36}
    named = [[Path(file).relative_to(f"{shards}!") for file in same] for same in told.duplicates]
    assert named == [[Path(file).relative_to(discs) for file in same] for same in examine(config(discs)).duplicates] and named
    one = shards / "val-000000.tar"
    for name, source in (("one", discs / "images" / "000097.png"), ("all", one)):
        assert main(["translate", str(run), str(source), "--to", "Red", "--out", str(tmp_path / name)]) == 0
    made = {file.name: file for file in (tmp_path / "all").rglob("*.png")}
    assert len(made) == 12
    assert made["000097__Red.png"].read_bytes() == next((tmp_path / "one").rglob("*.png")).read_bytes()
    with pytest.raises(DataError, match="shards, which training reads as they are"):
        pack(config(shards), tmp_path / "pack")


@pytest.mark.slow
def test_a_run_from_shards_is_measured(discs, tmp_path, capsys):
    shards = sharded(discs, tmp_path / "discs")
    train("stargan", shards, tmp_path / "run", overrides=small(train__steps=1))
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data"]["sources"] == [str(shards)]
    assert main(["evaluate", str(tmp_path / "run"), "--protocol", "truth"]) == 0
    records = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert records


def test_webdataset_reads_what_is_written(shapes_dir, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    shards = sharded(shapes_dir, tmp_path / "shapes")
    urls = sorted(str(file) for file in shards.glob("train-*.tar"))
    held = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))
    by_file = {s["__key__"]: s for s in held}
    assert len(held) == len(open_data(config(shards)).splits["train"][0])
    sample = by_file["green/green_003"]
    assert sample["json"]["domain"] == "green"
    from asterism.data.pictures import read

    assert np.array_equal(sample["png"], read(shapes_dir / "green" / "green_003.png"))
