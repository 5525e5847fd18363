"""Features, arrays of floats such as spectrograms: never resized, mirrored or clipped, cropped to windows of columns."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from asterism import train
from asterism.config import DataConfig
from asterism.data.arrays import window
from asterism.data.dataset import open_data
from asterism.data.loader import Loader
from asterism.data.pictures import Header, PictureError, PictureFormat, encode, probe, read, to_float, to_stored, write
from asterism.data.reading import load_rows, read_picture
from asterism.data.sources import DataError
from asterism.doctor.examine import examine
from asterism.packing import pack
from tests.doctor.test_doctor import shown
from tests.helpers.runs import assert_same_state, small, state

ROWS, COLUMNS = 32, 24


def mel(number: int, columns: int = 40, channels: int = 0) -> np.ndarray:
    """Features whose values tell the file and the column: number + column / 100 in every row."""
    row = (number + np.arange(columns) / 100).astype(np.float32)
    return np.broadcast_to(row, (channels, ROWS, columns) if channels else (ROWS, columns)).copy()


def voices(root: Path, channels: int = 0, split: str = "train", count: int = 6) -> Path:
    """Two speakers; of each file the number of columns is another one."""
    for s, speaker in enumerate(("anna", "bob")):
        (root / split / speaker).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            np.save(root / split / speaker / f"{speaker}{i}.npy", mel(10 * s + i, 40 + i, channels))
    return root


def config(*sources: Path, **options: object) -> DataConfig:
    return DataConfig(sources=tuple(map(str, sources)), **{"size": (ROWS, COLUMNS), "workers": 0, **options})  # type: ignore[arg-type]


def batches(data: DataConfig, count: int, first: int = 0, **options: object) -> list[torch.Tensor]:
    datasets, broken = open_data(data), list[Path]()
    loader = Loader(
        datasets.splits["train"],
        datasets.picture,
        data,
        **{"batch_size": 4, "seed": 3, "on_broken": lambda path, reason: broken.append(path), **options},  # type: ignore[arg-type]
    )
    steps = loader.iterate(first)
    found = [(whole, pictures["x"]) for ((whole, pictures),) in itertools.islice(steps, count)]
    steps.close()
    assert all("window" not in whole and not whole.mirror.any() for whole, _ in found)
    return [x for _, x in found]


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [0, 1, 3])
def test_features_are_read_channels_first_and_written_back(tmp_path: Path, kind: type, channels: int) -> None:
    held = mel(-5, 40, channels).astype(kind)
    np.save(tmp_path / "a.npy", held)
    array = read(tmp_path / "a.npy")
    assert array.dtype == np.float32 and array.shape == (ROWS, 40, max(1, channels))
    header = Header(40, ROWS, max(1, channels), 32, values=(float(array.min()), float(array.max())))
    assert probe(tmp_path / "a.npy") == header
    write(tmp_path / "b.npy", array)
    again = np.load(tmp_path / "b.npy")
    assert np.array_equal(again, (held[0] if channels == 1 else held).astype(np.float32))
    assert not header.converts_to(4) and (channels == 3 or not header.converts_to(3))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.full((4, 9), np.nan), "infinite or not numbers"),
        (np.full((4, 9), np.inf), "infinite or not numbers"),
        (np.full((4, 9), 1e60), "infinite or not numbers"),  # In float32.
        (np.zeros(4), r"float64 \[4\]; floats are features \[F, T\] or \[C, F, T\]"),
        (np.zeros((0, 9)), r"\[0, 9\]"),
        (np.zeros((80, 90, 3)), r"looks like \[F, T, C\]"),
        (np.zeros((4, 9), complex), "complex128"),
    ],
)
def test_what_are_no_features_is_said(tmp_path: Path, array: np.ndarray, reason: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with np.errstate(over="ignore"):
        for look in (probe, read):
            with pytest.raises(PictureError, match=reason):
                look(tmp_path / "a.npy")


def test_only_npy_holds_floats() -> None:
    for suffix in (".png", ".tif", ".jpg"):
        with pytest.raises(PictureError, match="does not hold floats; write .npy"):
            encode(np.zeros((4, 4, 1), np.float32), suffix)


def test_values_map_linearly_and_nothing_is_clipped() -> None:
    picture = PictureFormat(1, 1, 5, -8.0, 2.0, 32)
    stored = torch.tensor([-18.0, -8, -3, 2, 7]).view(1, 1, 1, 5)
    kept = stored.clone()
    x = to_float(stored, picture)
    assert x.flatten().tolist() == [-3, -1, 0, 1, 2] and torch.equal(stored, kept), "the stored values are not touched"
    back = to_stored(x, picture)
    assert back.dtype == torch.float32 and torch.equal(back, stored)


def test_windows_reach_the_first_and_the_last_column() -> None:
    array = np.arange(10.0)[None, None]
    assert window(array, 4)[0, 0].tolist() == [3, 4, 5, 6]
    assert [window(array, 4, share)[0, 0, 0] for share in (0.0, 0.5, 0.999)] == [0, 3, 6]
    assert window(array, 10, 0.9)[0, 0].tolist() == list(range(10))


# -- data --------------------------------------------------------------------------------------------------------------


def test_the_range_is_that_of_the_training_features(tmp_path: Path) -> None:
    root = voices(tmp_path / "voices")
    (root / "val" / "anna").mkdir(parents=True)
    np.save(root / "val" / "anna" / "loud.npy", mel(99))
    data = open_data(config(root))
    assert data.picture == PictureFormat(1, ROWS, COLUMNS, 0.0, pytest.approx(15.44), 32)
    assert any("reach from 0 to 15.44, mapped to -1 and 1" in note for note in data.notes)
    stated = open_data(config(root, value_range=(-20.0, 20.0)))
    assert (stated.picture.low, stated.picture.high) == (-20, 20) and not any("reach from" in note for note in stated.notes)
    held_out = to_float(load_rows(data.splits["val"][0], [0], data.picture), data.picture)
    assert held_out.min() > 5, "beyond the range of training, and not clipped"


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"size": (128, 128)}, "the features have 32 rows, which are not resized: give --data.size 32x128"),
        ({"odd": np.zeros((30, 50))}, {}, r"odd.npy 30x50\); make them alike"),
        ({"brief": np.zeros((ROWS, 20))}, {}, r"brief.npy 32x20\); choose fewer, such as --data.size 32x20, or leave these"),
        (
            {"many": np.zeros((2, ROWS, 50))},
            {},
            "numbers of channels: 12 with 1, such as .*; train on those of one number",
        ),
        ({"picture": np.zeros((ROWS, 50), np.uint8)}, {}, "12 files hold features .floats., such as .*npy; 1 are pictures"),
        ({}, {"crop": 20}, "--data.crop 20 is for pictures"),
        ({}, {"value_range": (3.0, 3.0)}, "the range of features is 3 to 3; give two values, the lower first"),
        ({}, {"channels": 3}, "--data.channels 3: pictures that cannot be converted"),
    ],
)
def test_features_that_do_not_go_together_are_named(
    tmp_path: Path, change: dict[str, np.ndarray], options: dict[str, object], message: str
) -> None:
    root = voices(tmp_path / "voices")
    for name, array in change.items():
        np.save(root / "train" / "bob" / f"{name}.npy", array)
    with pytest.raises(DataError, match=message):
        open_data(config(root, **options))


def test_features_that_are_not_finite_are_left_out_by_name(tmp_path: Path) -> None:
    root = voices(tmp_path / "voices")
    np.save(root / "train" / "anna" / "bad.npy", np.full((ROWS, 50), np.nan, np.float32))
    data = open_data(config(root))
    assert [(path.name, "NaN" in reason) for path, reason in data.broken] == [("bad.npy", True)]
    assert len(data.splits["train"][0]) == 12


def test_training_takes_windows_at_random_places_and_the_same_from_any_step(tmp_path: Path) -> None:
    data = config(voices(tmp_path / "voices"), zoom=0.5)
    steps = batches(data, 12)
    assert {x.dtype for x in steps} == {torch.float32} and steps[0].shape == (4, 1, ROWS, COLUMNS)
    first = torch.cat(steps)[:, 0, 0, 0]
    starts = ((first - first.floor()) * 100).round()
    assert starts.unique().numel() > 8 and starts.min() <= 2 and starts.max() >= 14
    assert torch.equal(torch.cat(batches(data, 3, first=9)), torch.cat(steps[9:]))
    assert torch.equal(torch.cat(batches(config(*map(Path, data.sources), workers=2), 3)), torch.cat(steps[:3]))
    for rank in (0, 1):
        half = torch.cat(batches(data, 3, rows=lambda count, start=2 * rank: (start, start + 2)))
        assert torch.equal(half.view(3, 2, -1), torch.stack(steps[:3]).view(3, 4, -1)[:, 2 * rank : 2 * rank + 2])


def test_elsewhere_the_middle_is_taken(tmp_path: Path) -> None:
    data = open_data(config(voices(tmp_path / "voices")))
    (train_set,) = data.splits["train"]
    x = load_rows(train_set, [0], data.picture)
    assert x.shape == (1, 1, ROWS, COLUMNS) and x[0, 0, 0, 0].item() == pytest.approx(0.08)  # (40 - 24) / 2 columns.
    assert read_picture(train_set, 1, data.picture, fitted=False).shape == (1, ROWS, 41)


@pytest.mark.parametrize("channels", [0, 2])
def test_packs_hold_features_whole(tmp_path: Path, channels: int) -> None:
    """So that training takes the same windows of a pack as of the files; other columns may be asked for."""
    root = voices(tmp_path / "voices", channels)
    ((folder, _, broken),) = pack(config(root), tmp_path / "packed")
    assert not broken and np.load(folder / "pictures.npy").dtype == np.float32
    for size in ((ROWS, COLUMNS), (ROWS, 36)):
        assert torch.equal(torch.cat(batches(config(folder, size=size), 4)), torch.cat(batches(config(root, size=size), 4)))
    assert open_data(config(folder)).picture == open_data(config(root)).picture
    with pytest.raises(DataError, match="have 32 rows"):
        open_data(config(folder, size=(40, COLUMNS)))


def test_packed_features_do_not_stay_on_a_device(tmp_path: Path) -> None:
    """Of what stays there, steps take whole pictures."""
    ((folder, _, _),) = pack(config(voices(tmp_path / "voices")), tmp_path / "packed")
    kept = batches(config(folder), 2, device=torch.device("cpu"))
    assert torch.equal(torch.cat(kept), torch.cat(batches(config(folder), 2)))


def test_the_doctor_examines_features(tmp_path: Path) -> None:
    root = voices(tmp_path / "voices")
    np.save(root / "train" / "anna" / "bad.npy", np.full((ROWS, 50), np.nan, np.float32))
    diagnosis = examine(config(root))
    (report,) = diagnosis.datasets
    assert diagnosis.ok and report.formats == {"1 channel, 32 bits": 12} and report.clipped == 0
    assert report.values == [0, pytest.approx(15.44)] and "0 to 15.44" in shown(diagnosis)
    assert report.unreadable == [("train/anna/bad.npy", "it holds values that are infinite or not numbers (NaN)")]
    assert not any("enlarged" in warning for warning in diagnosis.warnings)


def test_a_run_on_features_resumes_exactly(tmp_path: Path) -> None:
    root = voices(tmp_path / "voices")
    settings = small(data__size="32x24", train__steps=4, train__checkpoint_every=2, train__evaluate_every=0, train__keep=5)
    for run in ("whole", "parts"):
        train("stargan", root, tmp_path / run, overrides=settings)
    (tmp_path / "parts" / "checkpoints" / "step_00000004.pt").unlink()
    assert state(tmp_path / "parts")["step"] == 2
    train("stargan", root, tmp_path / "parts", overrides=settings)
    assert_same_state(state(tmp_path / "whole"), state(tmp_path / "parts"))
