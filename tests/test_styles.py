"""Styles through the translator: seeds, references, truncation, strength."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import asterism
from asterism.config import ConfigError
from asterism.inference.styles import Each, Style, Target
from asterism.model_file import ModelError, save_model
from tests.negative import negative
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


def test_between_two_styles_lies_a_line_of_styles(model: asterism.Translator) -> None:
    """From a seed to a reference: the ends are those styles, and the middle is the model's picture of the middle style."""
    ends = [model.translate(X, "red", style=7), model.translate(X, "red", like=REFERENCE)]
    for weight, end in zip((0.0, 1.0), ends, strict=True):
        torch.testing.assert_close(model.translate(X, "red", style=model.between(7, REFERENCE, weight)), end)
    middle = model.translate(X, "red", style=model.between(7, REFERENCE, 0.5))
    assert not torch.allclose(middle, ends[0], atol=1e-4) and not torch.allclose(middle, ends[1], atol=1e-4)
    labels = torch.tensor([[1.0, 0.0, 0.0]])
    s = [look.of(model.styles, X[:1], labels) for look in (model.style(seed=7), model.style(like=REFERENCE))]
    torch.testing.assert_close(model.between(7, REFERENCE, 0.5).of(model.styles, X[:1], labels), (s[0] + s[1]) / 2)
    mean = model.translate(X, "red")
    torch.testing.assert_close(model.translate(X, "red", style=model.between(None, 7, 0.0)), mean)
    nested = model.between(model.between(7, REFERENCE, 1.0), model.style(seed=8, truncation=0.0), 0.0)
    torch.testing.assert_close(model.translate(X, "red", style=nested), ends[1])


def test_every_picture_of_a_batch_may_have_a_style_of_its_own(model: asterism.Translator) -> None:
    looks = Each([model.style(seed=1), model.between(2, 3, 0.3)])
    both = model.translate(X, "blue", style=looks)
    for i, look in enumerate(looks.looks):
        torch.testing.assert_close(both[i], model.translate(X[i], "blue", style=look))


def test_what_no_style_is_refused(model: asterism.Translator) -> None:
    with pytest.raises(ConfigError, match="weight is 1.5; expected between 0 and 1"):
        model.between(1, 2, 1.5)
    with pytest.raises(ConfigError, match="where a style is made"):
        model.translate(X, "red", style=model.between(1, 2, 0.5), strength=0.5)
    with pytest.raises(ModelError, match="no styles"):
        negative().between(1, 2, 0.5)
    with pytest.raises(ModelError, match="no styles"):
        negative().translate(np.zeros((16, 16, 3), np.uint8), "Male", style=Style(seed=1))


def test_a_mean_and_a_reference_are_worked_out_once(model: asterism.Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = {"mean_style": 0, "read_style": 0}
    for name in calls:
        plain = getattr(model.recipe, name)

        def counted(*given: torch.Tensor, name: str = name, plain=plain) -> torch.Tensor:
            calls[name] += len(given[-1])
            return plain(*given)

        monkeypatch.setattr(model.recipe, name, counted)
    fresh = asterism.Translator(model.model, "cpu", "float32")
    target = Target(fresh.parse("green"), fresh.style(like=REFERENCE, truncation=0.5))
    pictures = [fresh_picture for fresh_picture in X.repeat(3, 1, 1, 1)]
    opened = (asterism.inference.translator.open_image(x, fresh.model.picture) for x in pictures)
    assert len(list(fresh.stream(opened, [target], batch_size=2))) == 6
    assert calls == {"mean_style": 1, "read_style": 1}
