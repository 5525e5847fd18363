"""The protocol `pairs`: errors to the true partner, beside those of pictures that need no learning."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from asterism import train
from asterism.evaluation.evaluate import evaluate
from asterism.evaluation.sheets import error_map
from asterism.evaluation.summary import broken_orders
from asterism.metrics.pixels import overlaps, pixel_accuracy
from asterism.report import write_report
from tests.helpers import label_maps
from tests.helpers.discs import COLOURS, draw
from tests.helpers.evaluating import CPU, JUDGE, values
from tests.helpers.runs import BRIEF

TINY = {"recipe.conv_dim": 4, "recipe.discriminator_conv_dim": 4, "recipe.discriminator_layers": 1}
TINY |= {"train.steps": 1, "train.decay_steps": 0}
COUNTS = {"train": 8, "val": 2, "test": 4}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """Data whose test pairs are training pairs, a run of pix2pix with one step, and what is measured unless asked otherwise."""
    root = tmp_path_factory.mktemp("pairs")
    for split, count in COUNTS.items():
        for i in range(count):
            picture = draw(random.Random(i), list(COLOURS.values())[i % 3])
            for domain, shown in (("A", picture.convert("L").convert("RGB")), ("B", picture)):
                (root / "data" / split / domain).mkdir(parents=True, exist_ok=True)
                shown.save(root / "data" / split / domain / f"{split}_{i}.png")
    train("pix2pix", root / "data", root / "run", overrides=BRIEF | TINY)
    return root / "data", root / "run", evaluate(root / "run", random=True, **CPU)


def test_pairs_is_what_pix2pix_is_measured_by(evaluated: tuple[Path, Path, dict[str, Any]]) -> None:
    _, _, records = evaluated
    assert list(records) == ["pairs/classifier/test/last"]
    (record,) = records.values()
    kinds = [row["kind"] for row in record["rows"]]
    assert kinds == ["translated", "nearest", "mean", "colour", "copy", "real", "random"]
    assert list(record["targets"]) == ["B"] and record["targets"]["B"]["pictures"] == COUNTS["test"]
    assert values(record, "translated")["lpips"] is None and any("lpips is not measured" in note for note in record["notes"])
    # An untrained model aside, and the training pairs, which test pairs are here.
    assert not [said for said in broken_orders(record) if "translated" not in said and "nearest" not in said]


def test_what_needs_no_learning_is_what_it_says(evaluated: tuple[Path, Path, dict[str, Any]]) -> None:
    data, _, records = evaluated
    (record,) = records.values()

    def pictures(split: str, domain: str) -> np.ndarray:
        files = [data / split / domain / f"{split}_{i}.png" for i in range(COUNTS[split])]
        return np.stack([np.asarray(Image.open(file), np.float64) for file in files]) / 255

    truth, mean = pictures("test", "B"), pictures("train", "B").mean(0)
    flat = np.broadcast_to(mean.mean((0, 1)), mean.shape)
    errors = {"mean": mean - truth, "colour": flat - truth, "copy": pictures("test", "A") - truth}
    whole = {kind: float((error**2).sum()) for kind, error in errors.items()}
    for kind, error in errors.items():
        row = values(record, kind)
        assert row["l1"] == pytest.approx(float(np.abs(error).mean()), rel=1e-5), kind
        assert row["error to mean"] == pytest.approx(whole[kind] / whole["mean"], rel=1e-5), kind
        assert row["error ratio"] == pytest.approx(whole[kind] / whole["copy"], rel=1e-5), kind
    nearest, real = values(record, "nearest"), values(record, "real")
    assert nearest["l1"] == 0, "every test source lies among the training sources, and its partner with it"
    assert real["l1"] == real["error to mean"] == 0 and real["ssim"] == pytest.approx(1)


def test_errors_are_shown(evaluated: tuple[Path, Path, dict[str, Any]]) -> None:
    _, run, records = evaluated
    (record,) = records.values()
    cases = {case["title"]: case for case in record["cases"]}
    assert all("then the true picture, then the errors" in cases[f"{end} cases"]["caption"] for end in ("best", "worst"))
    assert Image.open(run / cases["best cases"]["file"]).height == 4 * 32 + 3 * 2, "source, translation, truth, error"
    y, truth = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    truth[1, :, 0, 0], truth[1, 0, 1, 1] = 0.5, 0.75  # A quarter of the range, and an eighth in the mean over channels.
    shown = error_map(y, truth)
    assert shown.shape == y.shape and bool((shown[0] == 1).all()), "white where nothing is wrong"
    assert float(shown[1, 0, 0, 0]) == -1 and float(shown[1, 2, 1, 1]) == pytest.approx(0)
    page = write_report([run]).read_text(encoding="utf-8")
    assert all(words in page for words in ("nearest training pair", "mean picture", "mean colour"))


def test_overlaps_of_label_maps() -> None:
    true = torch.tensor([[[0, 0, 1], [2, 2, 2]], [[0, 0, 0], [0, 0, 0]]])
    found = torch.tensor([[[0, 1, 1], [2, 2, 0]], [[0, 0, 0], [0, 0, 0]]])
    assert pixel_accuracy(found, true).tolist() == pytest.approx([4 / 6, 1])
    assert overlaps(found, true, 3).tolist() == [[1, 1, 2, 3, 2, 3], [6, 0, 0, 6, 0, 0]]


def test_translated_label_maps_are_found_again_by_a_classifier_of_pixels(tmp_path: Path) -> None:
    """It is nearly perfect on real pictures here, whose colours tell the class."""
    data = label_maps.write(tmp_path / "data")
    train("pix2pix", data, tmp_path / "run", overrides=BRIEF | TINY)
    judge = CPU | {"classifier": JUDGE | {"train.steps": 100, "train.decay_steps": 100}}
    (record,) = evaluate(tmp_path / "run", protocols=["pairs"], random=True, **judge).values()
    real, copy, made = (values(record, kind) for kind in ("real", "copy", "translated"))
    assert real["pixel accuracy"] > 0.9 and real["mean iou"] > 0.7
    assert copy["mean iou"] < real["mean iou"] and made["mean iou"] < real["mean iou"]
    assert list((tmp_path / "run" / "pixel_classifier").iterdir()), "trained in the run's folder, and kept in the cache"
