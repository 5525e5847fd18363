"""Networks through which pictures are compared while a code is searched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import asterism
from asterism.cli import main
from asterism.config import ConfigError
from asterism.evaluation.feature_networks import feature_network, own_classifier
from asterism.recipes.model import save_model
from tests.helpers.generating import COLOURS, save_dcgan
from tests.helpers.recipes import tiny


def save_classifier(path: Path) -> Path:
    """Write a classifier of pictures of 32 x 32 pixels, of random weights."""
    made = tiny("classifier", COLOURS, width=4)
    save_model(path, made, "classifier", made.state_dict(), info={"step": 1})
    return path


def test_a_classifier_beside_the_run_is_used_and_gradients_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = save_dcgan(tmp_path / "noise", size=32)
    assert own_classifier(run) is None
    file = save_classifier(run / "classifier" / "abc" / "model.safetensors")
    assert own_classifier(run) == file
    model = asterism.load(run, device="cpu", precision="float32")
    features = feature_network(str(file), model.machine, model.model.picture)
    y = model.recipe.generate(model.latents(2), torch.zeros(2, 0)).requires_grad_()
    stages = features(y)
    assert [stage.shape[1] for stage in stages] == [4, 8, 16, 32]
    (gradient,) = torch.autograd.grad(sum(stage.sum() for stage in stages), y)
    assert gradient.abs().max() > 0
    photo = tmp_path / "me.png"
    model.generate(1)[0].save(photo)
    words = ["project", str(run), str(photo), "--starts", "1", "--steps", "2", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "a")]) == 0
    assert f"compared through {file}" in capsys.readouterr().out
    assert main([*words, "--out", str(tmp_path / "b"), "--features", "none"]) == 0
    assert "compared through" not in capsys.readouterr().out


def test_networks_that_are_refused(tmp_path: Path) -> None:
    run = save_dcgan(tmp_path / "noise")  # 16 x 16 pixels.
    model = asterism.load(run, device="cpu", precision="float32")
    file = save_classifier(tmp_path / "classifier.safetensors")
    for name, words in (
        (str(file), "sees pictures of 3 x 32 x 32 values; this model makes 3 x 16 x 16"),
        (str(run / "model.safetensors"), "is a model of dcgan, which reads no labels"),
        ("nothing.pt2", "there is no extractor file nothing.pt2"),
        ("vgg", "no extractor 'vgg'"),
    ):
        with pytest.raises(ConfigError, match=words):
            feature_network(name, model.machine, model.model.picture)
