"""Packs: what training sees of a pack is, bit for bit, what it sees of the files."""

from __future__ import annotations

import errno
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from asterism.cli import main
from asterism.config import DataConfig, build
from asterism.data import sources
from asterism.data.dataset import open_data
from asterism.data.folder import read_folder
from asterism.data.listing import DataError
from asterism.data.loader import Loader
from asterism.data.pictures import to_float
from asterism.data.reading import load_rows
from asterism.data.sampling import Stream
from asterism.data.transforms import fit_stored
from asterism.doctor.examine import examine
from asterism.packing import pack
from asterism.training import train
from tests.helpers.packs import TINY

SIZE = 24  # The drawn pictures have 32 pixels: they are resized.


def config(*sources: Path, **options: object) -> DataConfig:
    return build(DataConfig, {"sources": [str(s) for s in sources], "size": SIZE, **options})


def packed(tmp_path: Path, *sources: Path, **options: object) -> DataConfig:
    """Pack the sources; return the configuration that reads the packs instead."""
    made = pack(config(*sources, **options), tmp_path / "packs")
    return config(*(folder for folder, _, _ in made), **options)


def batches(data: DataConfig, count: int = 3, **options: object) -> list:
    """The first batches, with what was said of broken pictures, file names alone."""
    datasets, broken = open_data(data), []
    loader = Loader(
        datasets.splits["train"],
        datasets.picture,
        data,
        batch_size=6,
        seed=3,
        on_broken=lambda path, reason: broken.append((path.name, reason)),
        **options,
    )
    steps = loader.iterate(0)
    found = [next(steps) for _ in range(count)]
    steps.close()
    return [*found, broken]


def assert_same(files: DataConfig, packs: DataConfig, **options: object) -> None:
    """Labels, splits, fingerprint and every batch, as the networks see it, are equal."""
    first, second = open_data(files), open_data(packs)
    assert first.space.to_json() == second.space.to_json()
    assert first.picture == second.picture and first.fingerprint == second.fingerprint
    for split, sets in first.splits.items():
        for mine, theirs in zip(sets, second.splits[split], strict=True):
            assert [p.name for p in mine.paths] == [p.name for p in theirs.paths]
            assert torch.equal(mine.labels, theirs.labels) and torch.equal(mine.known, theirs.known)
            assert mine.identity == theirs.identity and mine.alternatives == theirs.alternatives
            rows = range(min(3, len(mine)))
            assert torch.equal(load_rows(mine, rows, first.picture), load_rows(theirs, rows, second.picture))
    *mine, broken = batches(files)
    *theirs, broken_in_pack = batches(packs, **options)
    assert broken == broken_in_pack or options
    for step, other in zip(mine, theirs, strict=True):
        for (whole, pictures), (whole_, pictures_) in zip(step, other, strict=True):
            assert all(torch.equal(t, dict(whole_.items())[name]) for name, t in whole.items())
            for name, x in pictures.items():
                seen, seen_ = (to_float(fit_stored(t, first.picture), first.picture) for t in (x, pictures_[name]))
                assert torch.equal(seen, seen_)


def test_a_folder_per_domain(shapes_dir, tmp_path):
    assert_same(config(shapes_dir), packed(tmp_path, shapes_dir))


def test_a_table_keeps_every_option_of_its_labels(table_dir, tmp_path):
    packs = packed(tmp_path, table_dir)
    assert_same(config(table_dir), packs)
    for options in ({"labels": "Border,Red"}, {"exclusive": "Red,Green"}, {"balance": True}, {"flip": False}, {"zoom": 0.5}):
        assert_same(config(table_dir, **options), config(*map(Path, packs.sources), **options))


def test_several_data_sets_make_a_pack_each(shapes_dir, table_dir, tmp_path):
    packs = packed(tmp_path, shapes_dir, table_dir)
    assert [Path(s).name for s in packs.sources] == ["shapes", "table"]
    assert_same(config(shapes_dir, table_dir), packs)
    assert_same(config(shapes_dir, table_dir), config(Path(packs.sources[0]), table_dir))  # One packed, one not.


@pytest.fixture
def odd(shapes_dir, tmp_path) -> Path:
    """Pictures of several sizes, one with a broken header, one cut off, one row that names nothing."""
    root = tmp_path / "odd"
    shutil.copytree(shapes_dir, root)
    for number, file in enumerate(sorted((root / "red").iterdir())):
        with Image.open(file) as image:
            image.resize((30 + number, 40)).save(file)
    first, second, *_ = sorted((root / "green").iterdir())
    first.write_bytes(b"no picture")
    second.write_bytes(second.read_bytes()[:150])
    (root / "notes.txt").write_text("not a picture")
    return root


def test_broken_pictures_and_several_sizes(odd, tmp_path):
    made = pack(config(odd), tmp_path / "pack")
    assert [line.split("/")[0] for line in made[0][2]] == ["green", "green"]
    assert_same(config(odd), config(tmp_path / "pack"))
    report = examine(config(tmp_path / "pack")).datasets[0]
    assert [file for file, _ in report.unreadable] == [file for file, _ in examine(config(odd)).datasets[0].unreadable]


def test_references_and_crops(shapes_dir, tmp_path):
    options = {"crop": 28}
    packs = packed(tmp_path, shapes_dir, **options)
    assert_same(config(shapes_dir, **options), packs)
    mine, theirs = (batches(c, streams=(Stream("ref", of="domain"),))[0][0][1] for c in (config(shapes_dir, **options), packs))
    assert mine.keys() == theirs.keys() == {"x", "x_ref"}


def test_sixteen_bits(tmp_path):
    rng = np.random.default_rng(0)
    for domain in ("a", "b"):
        (tmp_path / "scans" / domain).mkdir(parents=True)
        for i in range(24):
            Image.fromarray(rng.integers(0, 2**16, (32, 32), dtype=np.uint16)).save(
                tmp_path / "scans" / domain / f"{domain}{i}.png"
            )
    packs = packed(tmp_path, tmp_path / "scans")
    assert_same(config(tmp_path / "scans"), packs)
    assert_same(config(tmp_path / "scans"), packs, device=torch.device("cpu"))


def test_a_set_that_fits_stays_on_the_device(shapes_dir, table_dir, tmp_path):
    packs = packed(tmp_path, shapes_dir, table_dir)
    assert_same(config(shapes_dir, table_dir), packs, device=torch.device("cpu"))
    datasets = open_data(packs)
    loader = Loader(
        datasets.splits["train"], datasets.picture, packs, batch_size=2, seed=0, device=torch.device("cpu"), on_broken=print
    )
    shutil.rmtree(packs.sources[0])
    assert next(loader.iterate(5))[0][1]["x"].shape == (2, 3, SIZE, SIZE)  # Nothing is read any more.


def test_training_is_the_same_bit_for_bit_and_goes_on_from_either(shapes_dir, tmp_path):
    pack(config(shapes_dir), tmp_path / "pack")
    train("stargan", shapes_dir, tmp_path / "files", overrides=TINY)
    train("stargan", tmp_path / "pack", tmp_path / "packed", overrides=TINY)
    train("stargan", shapes_dir, tmp_path / "both", overrides=TINY | {"train.steps": 2, "train.decay_steps": 0})
    files, packs = (tmp_path / name / "model.safetensors" for name in ("files", "packed"))

    def numbers(run: str) -> list[dict]:
        lines = [json.loads(line) for line in (tmp_path / run / "log.jsonl").read_text().splitlines()]
        return [{key: line[key] for key in ("step", "terms", "lr", "skipped")} for line in lines]

    assert numbers("files") == numbers("packed")
    mine, theirs = load_file(files), load_file(packs)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    longer = TINY | {"train.decay_steps": 0}
    train("stargan", tmp_path / "pack", tmp_path / "both", overrides=longer)
    train("stargan", shapes_dir, tmp_path / "whole", overrides=longer)
    assert numbers("both")[-1] == numbers("whole")[-1]


def test_what_made_the_pixels_cannot_change(shapes_dir, tmp_path):
    packs = packed(tmp_path, shapes_dir, crop=28)
    source = Path(packs.sources[0])
    for options, words in (
        ({"size": 32, "crop": 28}, r"packed with --data\.size 24x24, this run asks for 32x32"),
        ({"crop": 0}, r"packed with --data\.crop 28, this run asks for 0"),
        ({"crop": 28, "channels": 1}, r"packed with --data\.channels 3, this run asks for 1"),
    ):
        with pytest.raises(DataError, match=words):
            open_data(build(DataConfig, {"sources": [str(source)], "size": SIZE, **options}))


def test_depths_that_differ_are_packed_together(shapes_dir, tmp_path):
    for domain in ("a", "b"):
        (tmp_path / "scans" / domain).mkdir(parents=True)
        for i in range(24):
            pixels = np.full((32, 32, 3), 1000 * i, np.uint16)
            np.save(tmp_path / "scans" / domain / f"{domain}{i}.npy", pixels)
    alone = packed(tmp_path, shapes_dir)
    with pytest.raises(DataError, match="packed with 8 bits, other data of this run have 16: pack them together"):
        open_data(config(Path(alone.sources[0]), tmp_path / "scans"))
    assert_same(config(shapes_dir, tmp_path / "scans"), packed(tmp_path / "two", shapes_dir, tmp_path / "scans"))


def test_nothing_is_replaced_and_nothing_half_written(shapes_dir, tmp_path, monkeypatch):
    out = tmp_path / "pack"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("asterism.storage.whole.os.fsync", full)
    with pytest.raises(OSError, match=f"No space left on device: '{out}'"):
        pack(config(shapes_dir), out)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    pack(config(shapes_dir), out)
    with pytest.raises(DataError, match="already exists"):
        pack(config(shapes_dir), out)
    with pytest.raises(DataError, match="is already a pack"):
        pack(config(out), tmp_path / "again")
    # A kind of source of somebody's own: nothing in a pack says how to read it.
    monkeypatch.setattr(sources, "SOURCES", ((Path.is_dir, lambda path, config: read_folder(path, config)), *sources.SOURCES))
    with pytest.raises(DataError, match="cannot be packed: a pack is read as the folder"):
        pack(config(shapes_dir), tmp_path / "own")


def test_damaged_packs_are_refused(shapes_dir, tmp_path):
    source = Path(packed(tmp_path, shapes_dir).sources[0])
    pixels = (source / "pictures.npy").read_bytes()
    (source / "pictures.npy").write_bytes(pixels[: len(pixels) // 2])
    with pytest.raises(DataError, match="cannot be read .*: pack the data again"):
        open_data(config(source))
    np.save(source / "pictures.npy", np.zeros((3, 3, SIZE, SIZE), np.uint8))
    with pytest.raises(DataError, match="not the .* of pack.json"):
        open_data(config(source))
    (source / "pack.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        open_data(config(source))


def test_a_worker_maps_the_file_itself(shapes_dir, tmp_path):
    held = open_data(packed(tmp_path, shapes_dir)).splits["train"][0]
    assert held.pack is not None and held.pack.pictures.nbytes > 10_000
    assert len(pickle.dumps(held.pack)) < 10_000
    assert np.array_equal(pickle.loads(pickle.dumps(held.pack)).pictures, held.pack.pictures)


def test_the_command(shapes_dir, tmp_path, capsys):
    out = tmp_path / "pack"
    assert main(["pack", str(shapes_dir), "--out", str(out), "--preset", "small", "--data.size", str(SIZE)]) == 0
    said = capsys.readouterr().out
    assert f"{out}: " in said and f"train with --data {out} --data.size {SIZE}x{SIZE}\n" in said
    tiny = [word for key, value in TINY.items() if not key.startswith("train.") for word in (f"--{key}", str(value))]
    assert main(["doctor", str(out), *tiny, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["datasets"][0]["pictures"]["train"] == 63
    assert main(["pack", str(shapes_dir), "--out", str(tmp_path / "b"), "--train.steps", "4"]) == 1
    assert "pack takes data.* keys" in capsys.readouterr().err
