"""The bundled model: what `demo` names, and that it edits drawings it has never seen."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import asterism
from asterism.inference.apply import predict_labels
from asterism.inference.translator import Translator
from asterism.storage.model_file import DEMO, find_model

SAMPLE = DEMO.with_name("avatars")
HAIR = ("Black_Hair", "Brown_Hair", "Blond_Hair", "Red_Hair", "Gray_Hair")
MOST_BYTES = 6_000_000


@pytest.fixture(scope="module")
def model() -> Translator:
    return asterism.load("demo", device="cpu", precision="float32")


def test_demo_names_it_where_nothing_else_has_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_model("demo") == DEMO and DEMO.stat().st_size <= MOST_BYTES
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "model.safetensors").touch()
    assert find_model("demo") == Path("demo") / "model.safetensors", "a run of one's own comes first"


def test_it_makes_the_true_picture_of_an_edit_nearly(model: Translator) -> None:
    """Test identities of the sample, on which it was not trained: hair of every colour, and small edits off."""
    with open(SAMPLE / "manifest.csv", newline="") as file:
        test = [row for row in csv.DictReader(file) if row["split"] == "test"]
    labels = [name for name in test[0] if name not in ("file", "split", "identity")]
    of = {(row["identity"], *(row[name] for name in labels)): row["file"] for row in test}
    plain = [row for row in test if row["Black_Hair"] == "1" and all(row[name] == "-1" for name in labels if name not in HAIR)]
    assert len(plain) == 12
    x = pictures([row["file"] for row in plain])
    for hair in HAIR[1:]:
        wanted = [{**row, "Black_Hair": "-1", hair: "1"} for row in plain]
        truth = pictures([of[(row["identity"], *(row[name] for name in labels))] for row in wanted])
        made = model.translate(x, to=hair)
        assert squared(made, truth) < 0.2 * squared(x, truth), hair
        read = predict_labels(model, torch.from_numpy(made).permute(0, 3, 1, 2) / 127.5 - 1)
        assert read[:, model.model.space.index(hair)].mean() == 1, f"its class head sees {hair}"
        assert (made == x).all(-1).mean() > 0.3, "much of the picture is left alone, to the byte"


def pictures(files: list[str]) -> np.ndarray:
    """Return files of the sample, uint8 [N, H, W, C]."""
    return np.stack([np.asarray(Image.open(SAMPLE / file)) for file in files])


def squared(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.square(a.astype(float) - b).mean())
