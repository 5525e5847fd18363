"""Styles through the translator: seeds, references, truncation, strength."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import asterism
from asterism.config import ConfigError
from asterism.model_file import save_model
from tests.test_recipes import SIZE, SPACES, tiny

X = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
REFERENCE = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> asterism.Translator:
    path: Path = tmp_path_factory.mktemp("v2") / "model.safetensors"
    recipe = tiny("stargan_v2", SPACES["folders"])
    save_model(path, recipe, "stargan_v2", recipe.state_dict(), info={})
    return asterism.load(path, device="cpu", precision="float32")


def test_a_seed_is_one_style_and_another_seed_another(model: asterism.Translator) -> None:
    seven = model.translate(X, "red", style=7)
    assert torch.equal(seven, model.translate(X, "red", style=7))
    torch.testing.assert_close(seven[1], model.translate(X[1], "red", style=7))  # The same, whatever else is in the batch.
    assert not torch.allclose(seven, model.translate(X, "red", style=8), atol=1e-3)
    assert not torch.allclose(seven, model.translate(X, "blue", style=7), atol=1e-3)


def test_a_reference_gives_its_style(model: asterism.Translator) -> None:
    like = model.translate(X, "red", like=REFERENCE)
    assert not torch.allclose(like, model.translate(X, "red", like=255 - REFERENCE), atol=1e-4)
    with pytest.raises(ConfigError, match="give one of them"):
        model.translate(X, "red", like=REFERENCE, style=7)


def test_truncation_and_strength_lead_from_the_mean_and_from_the_source(model: asterism.Translator) -> None:
    mean = model.translate(X, "red")
    torch.testing.assert_close(model.translate(X, "red", style=7, truncation=0.0), mean)
    own = model.translate(X, "red", style=7, strength=0.0)
    torch.testing.assert_close(own, model.translate(X, "red", style=8, strength=0.0))
    assert not torch.allclose(own, model.translate(X, "red", style=7, strength=0.0, source="blue"), atol=1e-4)
    with pytest.raises(ConfigError, match="truncation is 2; expected between 0 and 1"):
        model.translate(X, "red", style=7, truncation=2)
