"""The doctor says what is there, what is left out and whether training would start; it never fails itself."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from rich.console import Console

from asterism import train
from asterism.commands.doctor import describe
from asterism.config import DataConfig
from asterism.data.dataset import open_data
from asterism.data.pictures import write
from asterism.doctor.examine import Diagnosis, examine
from tests.helpers.runs import small


def config(*paths: Path, **options: object) -> DataConfig:
    return DataConfig(sources=tuple(map(str, paths)), **{"size": (32, 32), **options})  # type: ignore[arg-type]


def shown(diagnosis: Diagnosis, **options: object) -> str:
    out = io.StringIO()
    describe(diagnosis, Console(file=out, width=200), **options)  # type: ignore[arg-type]
    return out.getvalue()


def found(diagnosis: Diagnosis, words: str) -> str:
    """The one warning that holds `words`."""
    (warning,) = [w for w in diagnosis.warnings if words in w]
    return warning


@pytest.fixture
def shapes(shapes_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shapes_dir, tmp_path / "shapes"))


@pytest.fixture
def table(table_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(table_dir, tmp_path / "table"))


def test_healthy_data_is_counted(shapes: Path, table: Path) -> None:
    diagnosis = examine(config(shapes, table))
    assert diagnosis.ok and not diagnosis.duplicates
    folder, listed = diagnosis.datasets
    assert [label.name for label in folder.labels] == ["blue", "green", "red"]
    assert all(label.train + label.val + label.test == 24 for label in folder.labels)
    assert sum(folder.pictures.values()) == 72
    assert {label.name: label.kind for label in listed.labels}["Border"] == "binary"
    assert {label.name: label.kind for label in listed.labels}["Red"] == "exclusive"
    assert folder.sizes == {"32x32": 72}
    assert folder.formats == {"3 channels, 8 bits": 72}


def test_the_report_can_be_read_by_people_and_programs(shapes: Path, table: Path) -> None:
    (shapes / "notes.txt").write_text("x")
    diagnosis = examine(config(shapes, table))
    text = shown(diagnosis, estimate=["memory: 3 GiB"])
    for part in ("72 pictures", "Border", "32x32 (72)", "other files: 1 (notes.txt)", "memory: 3 GiB", "Training would start."):
        assert part in text
    values = json.loads(json.dumps(diagnosis.to_json()))
    assert values["ok"] is True
    assert values["datasets"][0]["labels"][0]["name"] == "blue"


def test_every_kind_of_unreadable_file_is_named_with_its_reason(shapes: Path) -> None:
    (shapes / "red" / "a.png").touch()
    (shapes / "red" / "b.png").write_text("no picture")
    whole = (shapes / "red" / "red_000.png").read_bytes()
    (shapes / "red" / "c.png").write_bytes(whole[:-60])  # Its header is whole: only decoding tells.
    diagnosis = examine(config(shapes))
    assert diagnosis.ok
    reasons = dict(diagnosis.datasets[0].unreadable)
    assert list(reasons) == ["red/a.png", "red/b.png", "red/c.png"]
    assert reasons["red/a.png"] == "the file is empty"
    assert "not a readable picture" in reasons["red/b.png"]
    assert found(diagnosis, "cannot be read, left out: 3")
    assert "red/a.png: the file is empty" in shown(diagnosis) and "red/c.png: " in shown(diagnosis)
    assert sum(diagnosis.datasets[0].pictures.values()) == 72, "pictures that training will see"


def test_a_domain_whose_pictures_all_break_when_decoded_keeps_training_from_starting(shapes: Path) -> None:
    """Their headers are whole, so only the doctor tells before training."""
    for path in (shapes / "red").iterdir():
        path.write_bytes(path.read_bytes()[:-60])
    diagnosis = examine(config(shapes))
    assert "no training picture has the label red" in diagnosis.problems[0]


def test_duplicates_are_found_and_those_that_mislead_are_warned_of(shapes: Path) -> None:
    shutil.copy(shapes / "red" / "red_000.png", shapes / "red" / "red_000.copy.png")
    shutil.copy(shapes / "red" / "red_001.png", shapes / "blue" / "red_001.png")
    diagnosis = examine(config(shapes))
    assert sorted(sorted(Path(p).name for p in group) for group in diagnosis.duplicates) == [
        ["red_000.copy.png", "red_000.png"],
        ["red_001.png", "red_001.png"],
    ]
    assert "red/red_001.png" in found(diagnosis, "with different labels: 1")
    for split in ("train", "test"):
        for name in ("a", "b"):
            (shapes.parent / "s" / split / name).mkdir(parents=True)
            Image.new("RGB", (32, 32), (ord(name), 0, 0)).save(shapes.parent / "s" / split / name / "x.png")
    joined = examine(config(shapes, shapes.parent / "shapes"))
    assert "different labels: 1" in found(joined, "with different labels"), "a picture of two datasets has labels of both"
    leak = found(examine(config(shapes.parent / "s")), "in two splits: 2")
    assert "s/train/a/x.png" in leak and "s/test/a/x.png" in leak


def test_imbalance_is_warned_of(shapes: Path, tmp_path: Path) -> None:
    for path in sorted((shapes / "red").iterdir())[3:]:
        path.unlink()
    assert "of red; --data.balance" in found(examine(config(shapes)), "uneven")
    rows = "".join(f"blue/blue_{i:03}.png,train,{int(i == 0)},{i % 2}\n" for i in range(24))
    (shapes / "manifest.csv").write_text("file,split,Rare,Even\n" + rows + "green/green_000.png,val,1,0\n")
    diagnosis = examine(config(shapes))
    assert "Rare 4.2%" in found(diagnosis, "few training pictures")
    assert not [w for w in diagnosis.warnings if "Even" in w and "training" in w]
    assert "asterism evaluate has nothing to measure" in found(diagnosis, "no test pictures")
    assert "(Rare 1, Even 0)" in found(diagnosis, "few validation pictures, so scores are imprecise: 2")


def test_tables_and_pictures_that_miss_each_other_are_told(table: Path) -> None:
    (table / "images" / "000001.png").unlink()
    shutil.copy(table / "images" / "000002.png", table / "images" / "extra.png")
    diagnosis = examine(config(table))
    (report,) = diagnosis.datasets
    assert (report.missing, report.unlabelled) == (["000001.png"], ["images/extra.png"])
    assert found(diagnosis, "rows of the table without a picture") and found(diagnosis, "pictures without a label")
    assert diagnosis.ok


def test_unknown_values_and_small_pictures_are_counted(table: Path) -> None:
    (table / "manifest.csv").write_text(
        "file,split,Happy\n" + "".join(f"{i + 1:06}.png,train,{('1', '0', '')[i % 3]}\n" for i in range(30))
    )
    diagnosis = examine(config(table, size=(64, 64)))
    (label,) = diagnosis.datasets[0].labels
    assert (label.train, label.unknown) == (10, 10)
    assert "smaller than 64x64, which will be enlarged: 30" in found(diagnosis, "enlarged")


def test_many_sizes_are_counted_in_ranges(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(16):
            Image.new("RGB", (60 + i, 100)).save(tmp_path / name / f"{i}.png")
    sizes = examine(config(tmp_path)).datasets[0].sizes
    assert sizes == {"shorter side 32-63": 8, "shorter side 64-127": 24}


def test_the_same_problems_as_training_would_meet(shapes: Path, table: Path, tmp_path: Path) -> None:
    shutil.copytree(shapes, tmp_path / "deep" / "inner" / "shapes")
    Image.new("L", (32, 32)).save(table / "images" / "000003.png")
    bad = [
        config(),
        config(tmp_path / "gone"),
        config(tmp_path / "deep"),  # One level too high.
        config(table),  # Mixed channels.
        config(shapes, crop=64),
        config(table, labels="Nose"),
        config(table, exclusive="Red,Border;Red,Blue"),
    ]
    for settings in bad:
        diagnosis = examine(settings)
        with pytest.raises(ValueError) as raised:
            open_data(settings)
        assert not diagnosis.ok
        assert str(raised.value) in diagnosis.problems
        assert "Training would not start: 1 problem to solve" in shown(diagnosis)
    assert f"did you mean --data {tmp_path / 'deep' / 'inner' / 'shapes'}" in examine(bad[2]).problems[0]


def test_each_bad_source_is_told_and_the_good_one_still_counted(shapes: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    diagnosis = examine(config(tmp_path / "gone", shapes, tmp_path / "empty"))
    assert len(diagnosis.problems) == 2
    assert [report.name for report in diagnosis.datasets] == ["shapes"]


def test_progress_counts_every_picture(shapes: Path) -> None:
    seen: list[tuple[int, int]] = []
    examine(config(shapes), lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, 72) for i in range(72)]


def test_an_identity_in_two_splits_is_warned_of(discs: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(discs, tmp_path / "discs")
    assert not [w for w in examine(config(copy)).warnings if "identities" in w]
    (copy / "labels.csv").write_text((copy / "labels.csv").read_text().replace("train,15,", "test,15,", 1))
    assert "identities in several splits" in found(examine(config(copy)), ": 1 (15)")


def test_values_that_use_little_of_their_depth_are_warned_of(tmp_path: Path) -> None:
    """12 bits in files of 16: the networks would see next to nothing; and a range that is too narrow clips."""
    for name, top in (("a", 4000), ("b", 3000)):
        (tmp_path / name).mkdir()
        for i in range(12):
            write(tmp_path / name / f"{i}.tif", np.linspace(300 + i, top, 32 * 32).reshape(32, 32, 1).astype(np.uint16))
    plain, right, narrow = (examine(config(tmp_path, value_range=r)) for r in (None, (0, 4095), (0, 2000)))
    assert found(plain, "value_range") == "values 300 to 4,000 of 0 to 65,535: say --data.value_range 0,4095"
    assert "values  300 to 4,000" in shown(plain) and plain.to_json()["datasets"][0]["values"] == [300, 4000]
    assert not [text for text in right.warnings if "value_range" in text]
    assert "45.6% of the values lie beyond" in found(narrow, "value_range")


def test_training_says_that_values_use_little_of_their_depth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        (tmp_path / "d" / name).mkdir(parents=True)
        for i in range(12):
            write(tmp_path / "d" / name / f"{i}.tif", np.full((32, 32, 1), 300 * i, np.uint16))
    train("stargan", tmp_path / "d", tmp_path / "run", overrides=small(train__steps=1))
    assert "of 0 to 65,535; asterism doctor suggests a range" in capsys.readouterr().out


def test_medical_files_that_are_not_read_are_explained(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(3):
            (tmp_path / name / f"{i}.dcm").write_bytes(b"DICM")
    assert "other files: 6 (a/0.dcm" in examine(config(tmp_path)).problems[0]
    for name in "ab":
        np.save(tmp_path / name / "first.npy", np.zeros((4, 40, 40), np.uint16))
        np.save(tmp_path / name / "float.npy", np.zeros((40, 40), np.float32))
        tifffile.imwrite(tmp_path / name / "ct.tif", np.zeros((40, 40), np.int16))
        np.save(tmp_path / name / "sound.npy", np.zeros((4, 40, 3), np.uint16))  # A ribbon of three channels.
    reasons = dict(examine(config(tmp_path)).datasets[0].unreadable)
    assert "looks like [C, H, W]; save it as [H, W, C]" in reasons["a/first.npy"] and "a/sound.npy" not in reasons
    assert "signed 16-bit integers; shift and scale" in reasons["b/ct.tif"]
    said = " ".join(shown(examine(config(tmp_path))).split())
    assert "2 files hold features (floats), such as" in said and "float.npy" in said and "train on one kind" in said
