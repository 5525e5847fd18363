"""What all tests share: one thread per process, and two small drawn datasets.

The fixtures are made once and are not to be written to; a test that changes a dataset copies it first.

Results must not depend on the processor. ASTERISM_TEST_THREADS=4 gives every process other threads, ASTERISM_TEST_MKLDNN=0
takes oneDNN's kernels out of the tests' own, and oneDNN's ONEDNN_MAX_CPU_ISA=SSE41 makes it an older processor.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.helpers.discs import COLOURS, PICTURES, draw

THREADS = os.environ.get("ASTERISM_TEST_THREADS", "1")  # One: tests run side by side.
os.environ["OMP_NUM_THREADS"] = THREADS  # For the processes that tests start.
torch.set_num_threads(int(THREADS))
torch.backends.mkldnn.set_flags(os.environ.get("ASTERISM_TEST_MKLDNN") != "0")


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the tests' own, for them and the processes that they start."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("ASTERISM_CACHE")
    os.environ["ASTERISM_CACHE"] = str(folder)
    yield folder
    os.environ.pop("ASTERISM_CACHE")
    if before is not None:
        os.environ["ASTERISM_CACHE"] = before


@pytest.fixture
def small_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the classifier that judges small, for tests that cannot say so by its settings."""
    from asterism.evaluation import judge

    usual = judge.classifier_settings
    small = {"recipe.width": 8, "recipe.lr": 3e-3, "train.steps": 60, "train.decay_steps": 60}
    monkeypatch.setattr(
        judge, "classifier_settings", lambda settings, count, own, name: usual(settings, count, small | own, name)
    )


@pytest.fixture(scope="session")
def shapes_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder per domain: blue, green and red discs, 24 pictures each, 32 x 32 PNG."""
    root, rng = tmp_path_factory.mktemp("data") / "shapes", random.Random(0)
    for name, colour in COLOURS.items():
        (root / name.lower()).mkdir(parents=True)
        for i in range(PICTURES):
            draw(rng, colour).save(root / name.lower() / f"{name.lower()}_{i:03}.png")
    return root


@pytest.fixture(scope="session")
def table_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table in CelebA's format over 72 pictures: Red, Green, Blue (exactly one holds) and Border (any may)."""
    root, rng = tmp_path_factory.mktemp("data") / "table", random.Random(1)
    (root / "images").mkdir(parents=True)
    names, rows = list(COLOURS), []
    for i in range(PICTURES * len(names)):
        colour, border = names[i % len(names)], rng.random() < 0.5
        file = f"{i + 1:06}.png"
        draw(rng, COLOURS[colour], border).save(root / "images" / file)
        values = [1 if name == colour else -1 for name in names] + [1 if border else -1]
        rows.append(f"{file} " + " ".join(f"{value:2}" for value in values))
    (root / "list_attr_celeba.txt").write_text("\n".join([str(len(rows)), " ".join([*names, "Border"]), *rows, ""]))
    return root


@pytest.fixture(scope="session")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of discs: 96 for training, 12 for validation, 36 for testing; six of a kind differ in labels only."""
    root, names = tmp_path_factory.mktemp("discs") / "table", list(COLOURS)
    (root / "images").mkdir(parents=True)
    lines = ["file,split,identity," + ",".join([*names, "Border"])]
    for i in range(144):
        colour, border, kind = names[i % 3], i // 3 % 2 == 0, i // 6
        file = f"images/{i + 1:06}.png"
        draw(random.Random(kind), COLOURS[colour], border).save(root / file)
        split = "train" if i < 96 else "val" if i < 108 else "test"
        values = ["1" if name == colour else "-1" for name in names] + ["1" if border else "-1"]
        lines.append(",".join([file, split, str(kind), *values]))
    (root / "labels.csv").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="session")
def trained(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step on the discs; copied by tests that write into it."""
    from asterism import train
    from tests.helpers.runs import small

    out = tmp_path_factory.mktemp("trained") / "run"
    train("stargan", discs, out, overrides=small(train__steps=1))
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")
