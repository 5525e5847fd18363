"""Data of very many pictures: what has a part for each picture takes little memory, and reads as lists do."""

from __future__ import annotations

import hashlib
import json
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.config import DataConfig
from asterism.data.collection import Collection
from asterism.data.dataset import join
from asterism.data.listing import Listing
from asterism.data.loader import Loader
from asterism.data.pictures import Header, PictureError
from asterism.data.table import read_cells
from asterism.doctor import examine
from asterism.labels import LabelGroup
from asterism.tables import compact, names
from asterism.tables.cells import Table, open_table
from asterism.tables.compact import Alike, Coded, Column, Paths, Words, different_rows, with_several
from asterism.tables.names import match

ODD = ["a.png", "", "é/ü.png", "\udcff\udcfe.jpg", "日本/写真.png", "a.png"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(ODD) | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)), st.data())
def test_words_and_coded_items_are_the_lists_that_they_hold(words: list[str], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(words) - 1)) if words else st.just([]))
    for kind in (Words, Coded):
        held = kind.of(words)
        assert list(held) == words and held == words and len(held) == len(words)
        assert list(held.take(np.array(rows, np.int64))) == [words[row] for row in rows]
        assert list(held[1:-1]) == words[1:-1] and [held[-i - 1] for i in range(len(words))] == words[::-1]
        assert pickle.loads(pickle.dumps(held)) == words and kind.of(held) is held
        with pytest.raises(IndexError):
            held[len(words)]
    assert Coded.of(words).each(len, int).tolist() == [len(word) for word in words]
    assert list(Paths(Path("r"), words)) == [Path("r") / word for word in words]


def test_a_column_of_many_different_cells_becomes_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "FEW", 3)
    monkeypatch.setattr(compact, "CHUNK", 2)
    lines = [f"{i:04}.png, {i % 3},{'' if i == 5 else 'x'}" for i in range(11)]
    (tmp_path / "t.csv").write_text("file,grade,mark\n" + "\n".join(lines) + "\n")
    table = open_table(tmp_path / "t.csv")
    assert isinstance(table.files, Words) and table.files == [f"{i:04}.png" for i in range(11)]
    assert isinstance(table.columns["grade"], Coded) and table.columns["grade"] == [str(i % 3) for i in range(11)]
    assert table.columns["mark"].index("") == 5


def test_parts_of_few_kinds_each_become_words_once_they_are_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the row groups of a Parquet file come, each with its own kinds."""
    monkeypatch.setattr(compact, "FEW", 5)
    column, cells = Column(), list[str]()
    for part in range(4):
        kinds = [f"{part}{letter}" for letter in "abc"]
        column.add_coded(kinds, np.array([2, 0, 1, 0]))
        cells += [kinds[2], kinds[0], kinds[1], kinds[0]]
    held = column.cells()
    assert isinstance(held, Words) and held == cells


PICTURES = ["A/1.PNG", "A/2.png", "A/7.png", "b/1.png", "b/3.jpg", "images/4.png", "5.png", "c\\d.png", "images/é.png"]
NAMES = [
    "A/1.PNG",
    "a/1.png",
    "7",
    "3.jpg",
    "4.png",
    "",
    "./5.png",
    "nowhere.png",
    "c\\d.png",
    "C:\\x\\2.png",
    "images/e\u0301",
]
FOUND = [0, -1, 2, 4, 5, -1, 6, -1, 7, 1, 8]


@pytest.mark.parametrize("kinds", [1, 2, 3, 2**60])
def test_names_find_their_pictures_whatever_their_hashes(kinds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that share a hash are told apart, and a lookup in several parts is one lookup."""
    hashes_of = names.hashes_of
    monkeypatch.setattr(names, "hashes_of", lambda words: hashes_of(words) % kinds)
    monkeypatch.setattr(names, "BLOCK", 3)
    notes: list[str] = []
    assert match(NAMES, PICTURES, notes).tolist() == FOUND
    assert match(Words.of(NAMES), Words.of(PICTURES), []).tolist() == FOUND
    assert notes == ["pictures found by the last part of a name: 4 (7 is A/7.png, ...)"]
    assert match(PICTURES, Words.of(PICTURES), []).tolist() == list(range(len(PICTURES)))
    assert match([], PICTURES, []).tolist() == match(["", ""], [], [])[:0].tolist() == []


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (5, 0), (300, 4), (300, 31), (50, 95)])
def test_different_rows_are_those_that_numpy_finds(rows: int, columns: int) -> None:
    values = np.random.default_rng(0).random((rows, columns)) < 0.4
    values[rows // 2 :] = values[: rows - rows // 2]
    np.testing.assert_array_equal(different_rows(values), np.unique(values, axis=0))


def test_rows_of_one_thing_are_found_and_an_empty_name_is_nothing_shared() -> None:
    alike = Alike(["p", "", "q", "p", "", "q", "p"])
    assert [alike.rows(row).tolist() for row in range(5)] == [[0, 3, 6], [1], [2, 5], [0, 3, 6], [4]]
    assert Alike(None).rows(7).tolist() == [7]
    assert with_several(["p", "", "q", "p", "", "r", "q"], ["a", "a", "b", "b", "b", "a", "b"]) == ["p"]
    assert with_several([], []) == []


def many(count: int) -> tuple[Collection, list[Header | PictureError]]:
    """Return a data set of two labels, some of whose pictures are broken or unknown, with headers."""
    rng = np.random.default_rng(0)
    labels, known = rng.integers(0, 2, (count, 2)).astype(np.float32), rng.random((count, 2)) < 0.9
    files = [f"images/{row:08}.jpg" for row in range(count)]
    split = np.array(["train", "val", "test"])[rng.choice(3, count, p=[0.9, 0.05, 0.05])].tolist()
    broken = PictureError("cut off")
    headers = [broken if row % 1000 == 7 else Header(64, 64, 3, 8) for row in range(count)]
    collection = Collection("m", Path("m"), files, (LabelGroup("m", ("A", "B"), "binary"),), labels * known, known, split)
    return collection, headers


def test_a_picture_of_a_large_set_takes_few_bytes_and_the_fingerprint_is_that_of_lists() -> None:
    """As pickled for a worker: name, labels and which are known, and the order of two epochs, in at most 60 bytes."""
    count = 40_000
    collection, headers = many(count)
    files, split, readable = list(collection.files), list(collection.split), [isinstance(h, Header) for h in headers]
    opened = join([collection], [headers], DataConfig(sources=("m",), size=(64, 64)))
    literal = json.dumps(["m", files, split, readable, [["A", "B"]]]).encode()
    literal += collection.labels.astype(np.uint8).tobytes() + collection.known.tobytes()
    assert opened.fingerprint == hashlib.sha256(literal).hexdigest()[:32]
    assert [len(opened.broken), str(opened.broken[0][0])] == [count // 1000, "m/images/00000007.jpg"]
    train = opened.splits["train"][0]
    rows = [row for row in range(count) if readable[row] and split[row] == "train"]
    assert list(train.paths) == [Path("m") / files[row] for row in rows] and train.size == (64, 64)
    np.testing.assert_array_equal(train.labels.numpy(), collection.labels[rows])
    np.testing.assert_array_equal(train.known.numpy(), collection.known[rows])
    config = DataConfig(sources=("m",), size=(64, 64))
    loader = Loader([train], opened.picture, config, batch_size=16, seed=0, on_broken=lambda path, reason: None)
    for epoch in range(2):
        (batch,) = loader._describe(epoch * len(train) // 16 + 1)
    assert batch.labels.dtype == batch.known.dtype == loader.sets[0].labels.float().dtype
    assert len(pickle.dumps(loader)) < 60 * len(train)


ROWS = 20_000


def peak_of(work: Callable[[], object]) -> float:
    """Return the memory that some work takes at its peak, in bytes for each of ROWS; it is done twice.

    In one of them the interpreter's own table of interned strings may grow, by as much as all tests before have filled it.
    """
    peaks = []
    for _ in range(2):
        tracemalloc.start()
        try:
            work()
            peaks.append(tracemalloc.get_traced_memory()[1] / ROWS)
        finally:
            tracemalloc.stop()
    return min(peaks)


def test_reading_a_table_and_the_doctor_hold_no_object_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's string of a name alone has 70 bytes. Here are the names, sorted hashes, rows, labels, and parts being read."""
    for module, name, value in ((compact, "CHUNK", 512), (names, "CHUNK", 512), (names, "BLOCK", 2048)):
        monkeypatch.setattr(module, name, value, raising=False)
    files = [f"images/{row:06}.jpg" for row in range(ROWS)]
    rng, config = np.random.default_rng(0), DataConfig(sources=("m",), size=(2, 2))
    turned = rng.permutation(ROWS)
    columns = {f"L{k}": Coded(("0", "1"), rng.integers(0, 2, ROWS)) for k in range(4)}
    columns |= {
        "split": Coded(("train", "val", "test"), rng.integers(0, 3, ROWS)),
        "person": Coded.of(f"p{k // 4}" for k in turned),
    }
    table = Table(Path("m/t.csv"), "file", {"file": Words.of(files[k] for k in turned)} | columns)
    listing, found = Listing(Path("m"), "m", Words.of(files), []), list[Collection]()
    assert peak_of(lambda: found.append(read_cells(table, listing, config, [], []))) < 130
    collection = found[-1]
    assert collection.files == table.files and collection.identity is None

    picture = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    monkeypatch.setattr(examine, "collect", lambda *_: [collection])
    monkeypatch.setattr(examine, "probe_all", lambda c: Coded((Header(2, 2, 1, 8),), np.zeros(ROWS, np.uint8)))
    monkeypatch.setattr(examine, "read_row", lambda path: picture)
    monkeypatch.setattr(examine, "size_of", lambda path: 4)
    monkeypatch.setattr(examine, "content_of", lambda path: str(path).replace("007.", "008.").encode())
    told = list[examine.Diagnosis]()
    assert peak_of(lambda: told.append(examine.examine(config))) < 180
    assert told[0].ok and told[0].datasets[0].values == [0, 3]
    assert len(told[0].duplicates) == ROWS // 1000 and told[0].duplicates[0][0].endswith(("007.jpg", "008.jpg"))
