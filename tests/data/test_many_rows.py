"""Data of very many pictures: what has a part for each picture takes little memory, and reads as lists do."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.config import DataConfig
from asterism.data.collection import Collection
from asterism.data.dataset import join
from asterism.data.loader import Loader
from asterism.data.pictures import Header, PictureError
from asterism.labels import LabelGroup
from asterism.tables import compact
from asterism.tables.cells import open_table
from asterism.tables.compact import Coded, Paths, Words

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
