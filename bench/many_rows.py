"""`python -m bench.many_rows`: what data of a million pictures and more cost before and beside training.

The rows are synthetic and no picture is behind them: a Parquet table with names, splits and eight labels is written, and
read as `--data` reads it, with the listing of its folder and the headers of its pictures given. So what is measured is all that
grows with the number of rows but the disk: reading the table, matching its names to the listing, labels, splits, the
fingerprint, the order of an epoch and the batches. With `--shards` the same rows lie in shards with an index, `--doctor`
examines them with pictures of four values given. Each number of rows has a process of its own.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np

from asterism import malloc
from asterism.config import DataConfig
from asterism.data import table
from asterism.data.collection import Collection
from asterism.data.dataset import Datasets, join, open_data
from asterism.data.listing import SPLITS, Listing
from asterism.data.loader import Loader
from asterism.data.pictures import Header, PictureError, probe
from asterism.data.sampling import Sampler
from asterism.doctor import examine
from asterism.labels import LabelGroup
from asterism.shards import Shards, places
from asterism.shards.index import Index, keep
from asterism.tables.compact import Coded, Words

LABELS = 8
BATCH = 16
STEPS = 200
"""Steps whose batches are described for the cost of one picture."""

NAME = "images/{:05}/{:08}.jpg"
HEADER = Header(64, 64, 3, 8)


def names(count: int) -> Words:
    """Return names of pictures as a listing has them: sorted, in folders of 10,000."""
    return Words.of(NAME.format(row // 10_000, row) for row in range(count))


def write_table(path: Path, count: int) -> None:
    """Write a Parquet table of `count` rows, a million at a time."""
    import pyarrow
    from pyarrow import parquet

    rng, writer = np.random.default_rng(0), None
    for first in range(0, count, 1_000_000):
        rows = range(first, min(count, first + 1_000_000))
        columns: dict[str, Any] = {"file": [NAME.format(row // 10_000, row) for row in rows]}
        columns["split"] = np.array(["train", "val", "test"])[rng.choice(3, len(rows), p=[0.9, 0.05, 0.05])]
        columns |= {f"label_{k}": rng.integers(0, 2, len(rows)).astype(np.int8) for k in range(LABELS)}
        part = pyarrow.table(columns)
        writer = writer or parquet.ParquetWriter(path, part.schema)
        writer.write_table(part)
    assert writer is not None
    writer.close()


def resident() -> float:
    """Return the memory of this process in MB, after unused pages were given back."""
    gc.collect()
    malloc.give_back()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


class Stages:
    """Times and memory of one stage after the other, printed as they end."""

    def __init__(self, count: int) -> None:
        self.millions, self.base, self.total = count / 1e6, resident(), 0.0

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        """Run a stage; print its processor seconds, and the memory held after it and at the peak so far."""
        began = time.process_time()
        result = work()
        seconds = time.process_time() - began
        held, peak = resident() - self.base, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6 - self.base
        per = f"{held:8.0f} MB held {held / self.millions:7.1f} per million {peak / self.millions:8.1f} at the peak"
        print(f"  {name:34} {seconds:8.2f} s {per}", flush=True)
        return result


def measure(count: int, indexed: bool = False, order: bool = False, shards: str = "", doctor: bool = False) -> None:
    """Measure one number of rows in this process; of shards the folder that they lie in."""
    stages = Stages(count)
    config = DataConfig(sources=("rows",), size=(64, 64))
    if doctor:
        stages("examined by the doctor", lambda: examined(count, config))
        return
    if order:
        sampler = Sampler(count, seed=0, dataset=0)
        stages("the order of an epoch", lambda: sampler.rows(np.arange(BATCH)))
        stages("the order of the third epoch", lambda: sampler.rows(np.arange(BATCH) + 2 * count))
        return
    if shards:
        config = replace(config, sources=(shards,))
        opened: Datasets = stages("opened: index, labels, joined, fingerprint", lambda: open_data(config))
        train(stages, opened, config)
        return
    if indexed:
        collection: Collection = stages("names, splits and labels from an index", lambda: from_index(count))
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.parquet"
            subprocess.run([sys.executable, "-m", "bench.many_rows", "--write", str(path), str(count)], check=True)
            listing = stages("the listing (given)", lambda: Listing(Path(folder), "rows", names(count), []))
            collection = stages("table read, matched, labels, splits", lambda: table.read_table(path, config, listing))
            del listing
    held = [collection]
    del collection
    opened = stages("joined, checked, fingerprint", lambda: join(held, [headers(count)], config))
    held.clear()
    train(stages, opened, config)


def train(stages: Stages, opened: Datasets, config: DataConfig) -> None:
    """Measure what a run does with its data before and beside its steps."""
    sets = opened.splits["train"]
    loader: Loader = stages(
        "loader", lambda: Loader(sets, opened.picture, config, batch_size=BATCH, seed=0, on_broken=lambda path, reason: None)
    )
    stages("first batch, with its epoch's order", lambda: loader._describe(0))
    stages("resumed in the third epoch", lambda: loader._describe(2 * len(sets[0]) // BATCH + 7))
    began = time.process_time()
    for step in range(2 * len(sets[0]) // BATCH + 8, 2 * len(sets[0]) // BATCH + 8 + STEPS):
        loader._describe(step)
        loader._rows(0, loader._positions(step))
    print(f"  a picture of a batch: {(time.process_time() - began) / STEPS / BATCH * 1e6:.1f} microseconds", flush=True)


def headers(count: int) -> Coded[Header | PictureError]:
    """Return the headers of pictures that are all alike."""
    return Coded((HEADER,), np.zeros(count, np.uint8))


def from_index(count: int) -> Collection:
    """Return a data set whose rows are known already, as a pack or an index of shards knows them."""
    rng = np.random.default_rng(0)
    return Collection(
        name="rows",
        root=Path("rows"),
        files=names(count),
        groups=(LabelGroup("rows", tuple(f"label_{k}" for k in range(LABELS)), "binary"),),
        labels=rng.integers(0, 2, (count, LABELS), np.uint8),
        known=np.ones((count, LABELS), bool),
        split=Coded(SPLITS, splits_of(rng, count)),
    )


def splits_of(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return 18 of 20 times 0, else 1 or 2: uint8 [count]."""
    return np.maximum(rng.integers(0, 20, count, np.uint8), 17) - 17


def write_shards(folder: Path, count: int) -> None:
    """Write indexes of shards of 100,000 pictures each beside files that stand for these, and join them."""
    rng, words = np.random.default_rng(0), ["0", "1"]
    for number, first in enumerate(range(0, count, 100_000)):
        rows = range(first, min(count, first + 100_000))
        with tarfile.open(folder / f"part-{number:05}.tar", "w") as taped:  # A sample stands for all.
            taped.addfile(tarfile.TarInfo("a.jpg"))
            taped.addfile(tarfile.TarInfo("a.cls"))
        (place,), _ = places.found(str(folder / f"part-{number:05}.tar"))
        columns = {f"label_{k}": (words, rng.integers(0, 2, len(rows), np.int32)) for k in range(LABELS)}
        columns["split"] = ([*SPLITS], splits_of(rng, len(rows)).astype(np.int32))
        offset, header = np.arange(len(rows)) * 4096, np.zeros(len(rows), np.int32)
        named = [NAME.format(row // 10_000, row) for row in rows]
        keep(Index(place.url, named, offset, offset * 0 + 4000, header, [astuple(HEADER)], columns), place)
    stages = Stages(count)
    stages("shards opened for the first time", lambda: Shards.open(str(folder), probe))


def examined(count: int, config: DataConfig) -> Any:
    """Return what the doctor says of rows of an index, whose pictures have four values and differ."""
    found, picture = from_index(count), np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    given = {"collect": lambda *_: [found], "probe_all": lambda _: headers(count), "read_row": lambda _: picture}
    given |= {"size_of": lambda _: 4, "content_of": lambda path: str(path).encode()}
    for name, value in given.items():
        setattr(examine, name, value)
    return examine.examine(config)


def main() -> None:
    """Measure each number of rows in a process of its own."""
    parser = argparse.ArgumentParser(prog="bench.many_rows", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", type=int, default=[10_000, 1_000_000], help="numbers of rows [10000 1000000]")
    parser.add_argument("--indexed", action="store_true", help="rows of an index: no table is read, nothing is matched")
    parser.add_argument("--order", action="store_true", help="only the orders of epochs")
    parser.add_argument("--shards", action="store_true", help="rows of shards, whose indexes are there and are joined first")
    parser.add_argument("--doctor", action="store_true", help="only the doctor")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write:
        (write_shards if args.write.is_dir() else write_table)(args.write, args.rows[0])
    elif args.here and args.shards and not args.folder:
        with tempfile.TemporaryDirectory() as folder:
            surroundings = os.environ | {"ASTERISM_CACHE": str(Path(folder) / "cache")}
            (Path(folder) / "rows").mkdir()
            for words in (["--write"], ["--here", "--shards", "--folder"]):
                command = [sys.executable, "-m", "bench.many_rows", *words, str(Path(folder) / "rows"), str(args.rows[0])]
                subprocess.run(command, check=True, env=surroundings)
    elif args.here:
        measure(args.rows[0], args.indexed, args.order, args.folder, args.doctor)
    else:
        for count in args.rows:
            print(f"{count:,} rows", flush=True)
            flags = [f"--{name}" for name in ("indexed", "order", "shards", "doctor") if getattr(args, name)]
            words = [sys.executable, "-m", "bench.many_rows", "--here", str(count), *flags]
            subprocess.run(words, check=True)


if __name__ == "__main__":
    main()
