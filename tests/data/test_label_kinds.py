"""Labels that are numbers, pictures without labels, and unlabelled pictures beside labelled ones."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from asterism.config import DataConfig
from asterism.data.dataset import Datasets, collect, open_data
from asterism.data.listing import DataError
from asterism.data.loader import Loader
from asterism.data.sampling import balanced_weights
from asterism.doctor.examine import examine
from asterism.labels import LabelGroup
from asterism.packing import pack
from tests.doctor.test_doctor import found, shown


def picture(path: Path, value: int = 0) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (value, 0, 0)).save(path)
    return path.name


def config(*sources: Path, **options: object) -> DataConfig:
    return DataConfig(sources=tuple(map(str, sources)), size=(8, 8), workers=0, **options)  # type: ignore[arg-type]


def table(root: Path, header: str, *rows: str) -> Path:
    """A table whose pictures are 0.png, 1.png, ...; the first three columns of a row are written for it."""
    lines = [f"{picture(root / f'{i}.png', i)},train,{row}" for i, row in enumerate(rows)]
    (root / "manifest.csv").write_text("\n".join([f"file,split,{header}", *lines]))
    return root


def action_units(root: Path, count: int = 12) -> Path:
    """Pictures with one label that holds or not, and two numbers; the last cell of AU12 is empty."""
    rows = [f"{(-1) ** i},{i / 20},{5 * i / 11 if i < count - 1 else ''}" for i in range(count)]
    return table(root, "Smiling,AU01,AU12", *rows)


NUMBERS = "AU01,AU12:0:5"


def first_batches(data: DataConfig, count: int, **options: object) -> list[tuple[torch.Tensor, ...]]:
    datasets = open_data(data, labels_needed=False)
    loader = Loader(
        datasets.splits["train"], datasets.picture, data, batch_size=4, seed=3, on_broken=lambda *_: None, **options
    )  # type: ignore[arg-type]
    return [(whole.labels, whole.known, pictures["x"]) for ((whole, pictures),) in itertools.islice(loader.iterate(0), count)]


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_columns_of_numbers_are_labels_in_their_range(tmp_path: Path) -> None:
    data = open_data(config(action_units(tmp_path / "faces"), numbers=NUMBERS))
    assert data.space.groups == (
        LabelGroup("faces", ("Smiling",), "binary"),
        LabelGroup("faces", ("AU01",), "number"),
        LabelGroup("faces", ("AU12",), "number", low=0, high=5),
    )
    (train,) = data.splits["train"]
    torch.testing.assert_close(train.labels[3], torch.tensor([0, 3 / 20, 15 / 11]))
    assert train.known[-1].tolist() == [1, 1, 0] and train.labels[-1, 2] == 0, "an empty cell is unknown"
    assert train.holding(2, 15 / 11).nonzero()[:, 0].tolist() == [2, 3, 4], "within a tenth of the range"


def test_without_being_named_numbers_are_no_labels(tmp_path: Path) -> None:
    data = open_data(config(action_units(tmp_path / "faces")))
    assert data.space.names == ("Smiling",)
    assert any("columns not used as labels" in note and "AU01" in note for note in data.notes)


def test_a_table_may_hold_nothing_but_numbers_beside_a_text(tmp_path: Path) -> None:
    rows = [f"{'cat' if i % 2 else 'dog'},{i / 10}" for i in range(8)]
    data = open_data(config(table(tmp_path / "pets", "domain,size", *rows), numbers="size"))
    assert [group.kind for group in data.space.groups] == ["one_of", "number"]
    alone = open_data(config(tmp_path / "pets", numbers="size", labels="size"))
    assert alone.space.names == ("size",)


@pytest.mark.parametrize(
    ("cell", "numbers", "message"),
    [
        ("1.5", "AU01", r"manifest.csv, the row of 2.png: the column 'AU01' holds '1.5'; expected a number from 0 to 1"),
        ("high", "AU01", "the row of 2.png: the column 'AU01' holds 'high'"),
        ("inf", "AU01:0:5", "holds 'inf'; expected a number from 0 to 5"),
        ("0.5", "AU02", "--data.numbers AU02: no table has such a column .did you mean AU01?"),
        ("0.5", "AU01:5:0", "--data.numbers AU01:5:0: expected a column, or a column with its range"),
        ("0.5", "AU01:low", "--data.numbers AU01:low: expected a column, or a column with its range"),
    ],
)
def test_what_is_no_number_is_named(tmp_path: Path, cell: str, numbers: str, message: str) -> None:
    root = table(tmp_path / "faces", "Smiling,AU01", "1,0.1", "0,0.2", f"1,{cell}")
    with pytest.raises(DataError, match=message):
        open_data(config(root, numbers=numbers))


@pytest.mark.parametrize(("value", "message"), [("0.5", "is 0.5 in every training picture"), ("", "has no value in")])
def test_a_number_that_never_changes_is_refused(tmp_path: Path, value: str, message: str) -> None:
    root = table(tmp_path / "faces", "Smiling,AU01", *[f"{i % 2},{value}" for i in range(6)])
    with pytest.raises(DataError, match=message):
        open_data(config(root, numbers="AU01"))


def test_balance_pays_no_heed_to_numbers(tmp_path: Path) -> None:
    (train,) = open_data(config(action_units(tmp_path / "faces"), numbers=NUMBERS)).splits["train"]
    weights = balanced_weights(train.labels, train.known, train.alternatives, train.space.numbers)
    assert np.array_equal(weights, balanced_weights(train.labels[:, :1], train.known[:, :1], ()))


def test_packs_keep_numbers(tmp_path: Path) -> None:
    data = config(action_units(tmp_path / "faces"), numbers=NUMBERS)
    ((folder, _, _),) = pack(data, tmp_path / "packed")
    for mine, theirs in zip(first_batches(config(folder, numbers=NUMBERS), 3), first_batches(data, 3), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_the_doctor_shows_the_range_and_mean_of_numbers(tmp_path: Path) -> None:
    diagnosis = examine(config(action_units(tmp_path / "faces"), numbers=NUMBERS))
    smiling, _, unit = diagnosis.datasets[0].labels
    assert (unit.kind, unit.train, unit.unknown) == ("number", 11, 1) and smiling.values == []
    assert unit.values == [0, pytest.approx(5 * 5 / 11, abs=1e-5), pytest.approx(50 / 11, abs=1e-5)]
    assert "0 to 4.54545, mean 2.27" in shown(diagnosis)
    assert not any("AU" in warning and "few training pictures" in warning for warning in diagnosis.warnings)


def test_a_broken_picture_is_replaced_by_one_with_the_nearest_numbers(tmp_path: Path) -> None:
    rows = [f"1,{value}" for value in (0.1, 0.9, 0.2, 0.5)] + ["0,0.5"]
    root = table(tmp_path / "faces", "Smiling,AU01", *rows)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).save(root / "0.png")
    (root / "0.png").write_bytes((root / "0.png").read_bytes()[:150])  # Its header is whole.
    batches = first_batches(config(root, numbers="AU01", flip=False), 5)
    labels, _, x = (torch.cat(parts) for parts in zip(*batches, strict=True))
    reds = x[labels[:, 1] < 0.15, 0, 0, 0].tolist()
    assert reds and set(reds) == {2}, "the picture of 0.2 in place of that of 0.1"


# -- no labels ---------------------------------------------------------------------------------------------------------


def flat(root: Path, count: int = 40, prefix: str = "") -> Path:
    for i in range(count):
        picture(root / f"{prefix}{i}.png", i)
    return root


def nameless(data: Datasets, name: str, count: int) -> None:
    assert data.space.groups == (LabelGroup(name, (), "binary"),) and data.space.code_size == 0
    (train,) = data.splits["train"]
    assert train.labels.shape == train.known.shape == (len(train), 0)
    assert sum(len(sets[0]) for sets in data.splits.values()) == count


def test_a_flat_folder_is_refused_where_labels_are_needed_and_read_where_not(tmp_path: Path) -> None:
    root = flat(tmp_path / "bedrooms")
    with pytest.raises(DataError, match="but no folder per domain; expected two or more folders of pictures, one per domain"):
        open_data(config(root))
    data = open_data(config(root), labels_needed=False)
    nameless(data, "bedrooms", 40)
    assert len(data.splits["train"][0]) < 40, "splits by hash"
    (labels, known, x) = first_batches(config(root), 1)[0]
    assert labels.shape == known.shape == (4, 0) and len({int(p[0, 0, 0]) for p in x}) == 4


def test_flat_splits_are_read_too(tmp_path: Path) -> None:
    for split in ("train", "val"):
        flat(tmp_path / "rooms" / split, 5, split)
    data = open_data(config(tmp_path / "rooms"), labels_needed=False)
    nameless(data, "rooms", 10)
    assert [len(sets[0]) for sets in data.splits.values()] == [5, 5, 0]


def test_folders_at_another_level_are_refused_all_the_same(tmp_path: Path) -> None:
    flat(tmp_path / "pets" / "inner" / "cat", 2)
    flat(tmp_path / "pets" / "inner" / "dog", 2)
    with pytest.raises(DataError, match=f"did you mean --data {tmp_path / 'pets' / 'inner'}"):
        open_data(config(tmp_path / "pets"), labels_needed=False)
    with pytest.raises(DataError, match="one domain only"):
        open_data(config(flat(tmp_path / "one" / "cat", 2).parent), labels_needed=False)


def test_folders_and_tables_keep_their_labels_where_none_are_needed(tmp_path: Path) -> None:
    flat(tmp_path / "pets" / "cat", 9, "c")
    flat(tmp_path / "pets" / "dog", 9, "d")
    assert open_data(config(tmp_path / "pets"), labels_needed=False).space.names == ("cat", "dog")


def test_a_table_without_label_columns_is_a_set_without_labels(tmp_path: Path) -> None:
    root = table(tmp_path / "rooms", "camera", *["a", "b", "a", "c"])
    with pytest.raises(DataError, match="has no label columns; expected columns of 1 and -1"):
        open_data(config(root))
    nameless(open_data(config(root), labels_needed=False), "rooms", 4)


def test_sets_with_and_without_labels_are_joined(tmp_path: Path) -> None:
    flat(tmp_path / "pets" / "cat", 9, "c")
    flat(tmp_path / "pets" / "dog", 9, "d")
    data = open_data(config(flat(tmp_path / "rooms"), tmp_path / "pets"), labels_needed=False)
    assert data.space.names == ("cat", "dog") and data.space.code_size == 4
    rooms, pets = data.splits["train"]
    assert not rooms.known.any() and pets.known.all() and rooms.alternatives == ()


def test_the_doctor_says_both_readings_of_a_flat_folder(tmp_path: Path) -> None:
    root = flat(tmp_path / "bedrooms")
    diagnosis = examine(config(root))
    assert not diagnosis.ok and "but no folder per domain" in diagnosis.problems[0]
    assert found(diagnosis, "no labels") == (
        "bedrooms: no labels: recipes that generate pictures can train on these; recipes that translate need labels "
        "(asterism list says which do what)"
    )
    assert sum(diagnosis.datasets[0].pictures.values()) == 40
    assert "Training would not start" in shown(diagnosis)
    wanted = examine(config(root), labels_needed=False)
    assert wanted.ok and "Training would start" in shown(wanted)


def test_pictures_without_labels_are_packed(tmp_path: Path) -> None:
    root = flat(tmp_path / "bedrooms")
    ((folder, _, _),) = pack(config(root), tmp_path / "packed")
    (ours,), (theirs,) = (first_batches(config(source), 1) for source in (folder, root))
    assert torch.equal(ours[2], theirs[2])
    with pytest.raises(DataError, match="no folder per domain"):
        open_data(config(folder))


# -- unlabelled pictures -----------------------------------------------------------------------------------------------


def some_unlabelled(root: Path, name: str = "unlabelled") -> Path:
    for folder, count in (("cat", 20), ("dog", 10), (name, 30)):
        flat(root / "train" / folder, count, folder)
    picture(root / "cover.png")
    return root


@pytest.mark.parametrize("name", ["unlabelled", "Unlabeled"])
def test_a_folder_of_unlabelled_pictures_is_kept_if_asked(tmp_path: Path, name: str) -> None:
    root = some_unlabelled(tmp_path / "pets", name)
    assert open_data(config(root)).space.names == tuple(sorted(("cat", "dog", name))), "a domain like the others"
    assert any("--data.unlabelled keep takes its pictures" in note for note in open_data(config(root)).notes)
    data = open_data(config(root, unlabelled="keep"))
    (train,) = data.splits["train"]
    assert data.space.names == ("cat", "dog") and len(train) == 60
    assert (train.known.sum(1) == 0).sum() == 30 and not train.labels[train.known.sum(1) == 0].any()
    assert any("without a known label: 30" in note for note in data.notes)


def test_pictures_without_a_row_are_kept_if_asked(tmp_path: Path) -> None:
    root = table(tmp_path / "faces", "identity,Smiling", *[f"p{i},{i % 2}" for i in range(6)], "p6,")
    for i in range(30):
        picture(root / "more" / f"m{i}.png", i)
    left = open_data(config(root))
    assert sum(len(sets[0]) for sets in left.splits.values()) == 7
    assert any("pictures without a label, left out: 30" in note for note in left.notes)
    (kept,) = collect(config(root, unlabelled="keep"))
    assert len(kept.files) == 37 and kept.known.sum() == 6 and kept.identity is not None and kept.identity[7:] == [""] * 30
    assert set(kept.split[7:]) == {"train", "val", "test"} or "train" in kept.split[7:]
    assert kept.unlabelled == []


def test_samplers_and_balance_cope_with_pictures_of_no_known_label(tmp_path: Path) -> None:
    data = config(some_unlabelled(tmp_path / "pets"), unlabelled="keep", balance=True)
    (train,) = open_data(data).splits["train"]
    weights = balanced_weights(train.labels, train.known, train.alternatives)
    unknown = (train.known.sum(1) == 0).numpy()
    assert weights[unknown].sum() == pytest.approx(30), "as often as there are pictures of them"
    cats, dogs = (weights[train.holding(i).numpy()].sum() for i in range(2))
    assert cats == pytest.approx(15, rel=1e-2) == pytest.approx(dogs, rel=1e-2)
    labels, known, _ = (torch.cat(parts) for parts in zip(*first_batches(data, 15), strict=True))
    assert 0.4 < (known.sum(1) == 0).float().mean() < 0.6
    assert torch.equal(labels.sum(1) > 0, known.sum(1) > 0)


def test_the_doctor_counts_unlabelled_pictures(tmp_path: Path) -> None:
    diagnosis = examine(config(some_unlabelled(tmp_path / "pets"), unlabelled="keep"))
    assert diagnosis.datasets[0].unknown == 30 and diagnosis.datasets[0].unlabelled == ["cover.png"]
    assert "pictures without a known label: 30" in shown(diagnosis)


# -- what was there before ---------------------------------------------------------------------------------------------


def test_fingerprints_are_those_of_runs_of_earlier_versions(tmp_path: Path) -> None:
    """Another one would keep a run from being resumed. From version 0.1.0, for these very files."""
    for name in ("cat", "dog"):
        flat(tmp_path / "pets" / name, 3, name)
    faces = table(
        tmp_path / "faces",
        "Dark,Fair,Smiling,domain",
        *[f"{i % 2},{1 - i % 2},{(i // 2) % 2 if i else ''},{'xy'[i % 2]}" for i in range(6)],
    )
    data = open_data(config(tmp_path / "pets", faces, labels="Dark,Fair,Smiling,domain"))
    assert data.fingerprint == "519d295dc7e3ec92596bc3c6f6969636"
