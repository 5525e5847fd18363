"""Parquet and Arrow files whose columns hold pictures, as Hugging Face writes them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from asterism.config import DataConfig, build
from asterism.data.dataset import open_data
from asterism.data.listing import DataError
from asterism.data.pictures import read
from asterism.packing.shards import write_shards
from tests.helpers.pictures import opened
from tests.helpers.shards import picture

pyarrow = pytest.importorskip("pyarrow", reason="Parquet is read by pyarrow")

CLASSES = ["cat", "dog"]
ROWS = 30


def config(source: object, **options: object) -> DataConfig:
    return build(DataConfig, {"sources": [str(source)], "size": 24, **options})


def table(first: int = 0):
    """Pictures with a class, -1 in row 4 of each ten, a number, and a caption of their own."""
    rows = range(first, first + ROWS)
    kinds = {"image": {"_type": "Image"}, "animal": {"names": CLASSES, "_type": "ClassLabel"}}
    columns = {
        "image": [{"bytes": picture(row), "path": None} for row in rows],
        "animal": [-1 if row % 10 == 4 else row % 2 for row in rows],
        "furry": [row / 100 for row in rows],
        "caption": [f"picture {row}" for row in rows],
    }
    schema = pyarrow.Table.from_pydict(columns).schema
    return pyarrow.Table.from_pydict(columns, schema.with_metadata({"huggingface": json.dumps({"info": {"features": kinds}})}))


def parquet(root: Path) -> Path:
    from pyarrow.parquet import write_table

    root.mkdir()
    for number, split in enumerate(("train", "test")):
        write_table(table(number * ROWS), root / f"{split}-00000-of-00001.parquet", row_group_size=8)
    return root


def saved(root: Path) -> Path:
    """A folder as `datasets.DatasetDict.save_to_disk` writes it."""
    for number, split in enumerate(("train", "test")):
        (root / split).mkdir(parents=True)
        held = table(number * ROWS)
        with pyarrow.OSFile(str(root / split / "data-00000-of-00001.arrow"), "wb") as file:
            with pyarrow.ipc.new_stream(file, held.schema) as stream:
                stream.write_table(held, max_chunksize=7)
        (root / split / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    return root


@pytest.mark.parametrize("write", [parquet, saved])
def test_pictures_labels_and_splits_of_columns(write, tmp_path):
    """Both forms give the same pictures, by position; as shards they are the same data once more."""
    source = write(tmp_path / "pets")
    data = open_data(config(source, labels="animal", numbers="furry"))
    train, test = data.splits["train"][0], data.splits["test"][0]
    assert (len(train), len(test)) == (ROWS, ROWS) and train.space.names == ("cat", "dog", "furry")
    assert [torch.unique(train.known[row]).tolist() for row in (3, 4)] == [[1.0], [0.0, 1.0]]  # -1: no class, but a number.
    assert train.labels[3:5].tolist() == [pytest.approx([0, 1, 0.03]), pytest.approx([0, 0, 0.04])]
    for row in (0, 7, 8, 29):  # Of several row groups and batches.
        assert np.array_equal(read(train.paths[row]), opened(picture(row)))
        assert np.array_equal(read(test.paths[row]), opened(picture(ROWS + row)))
    write_shards(config(source, labels="animal", numbers="furry"), tmp_path / "shards" / "pets", 20_000)
    again = open_data(config(tmp_path / "shards" / "pets", labels="animal", numbers="furry"))
    assert again.fingerprint == data.fingerprint


def test_arrow_files_are_read_where_they_lie_and_tables_of_paths_stay_tables(tmp_path, cache_folder, shapes_dir):
    from pyarrow.parquet import write_table

    before = set((cache_folder / "shards" / "unpacked").glob("*"))
    open_data(config(saved(tmp_path / "pets"), labels="animal"))
    assert set((cache_folder / "shards" / "unpacked").glob("*")) == before  # Nothing was copied.
    files = [file.relative_to(shapes_dir).as_posix() for file in sorted(shapes_dir.glob("*/*.png"))]
    named = {"file": [str(shapes_dir / file) for file in files], "domain": [file.partition("/")[0] for file in files]}
    write_table(pyarrow.Table.from_pydict(named), tmp_path / "labels.parquet")
    (tmp_path / "shapes").symlink_to(shapes_dir)
    assert open_data(config(tmp_path / "labels.parquet")).space.names == ("blue", "green", "red")
    write_table(pyarrow.Table.from_pydict({"domain": ["a", "b"]}), tmp_path / "none.parquet")
    with pytest.raises(DataError, match="has no column of pictures"):
        open_data(config(f"{tmp_path}/non*.parquet"))
