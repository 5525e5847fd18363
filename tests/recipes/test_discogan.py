"""DiscoGAN in training and use: whose turn it is, the curriculum, exact resume, and what it refuses."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from asterism import train
from asterism.config import ConfigError
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelGroup, LabelSpace
from asterism.networks.discogan import Discriminator, Generator
from asterism.networks.sizes import SizeError
from asterism.recipes.base import Update
from asterism.recipes.discogan import Config, DiscoGAN, between_means
from tests.helpers.discs import COLOURS, draw
from tests.helpers.recipes import batch_of, trainer_of
from tests.helpers.runs import assert_same_state, state

SPACE = LabelSpace([LabelGroup("pictures", ("A", "B"), "one_of")])
TINY = {"conv_dim": 4, "discriminator_conv_dim": 4}


def tiny(**settings) -> DiscoGAN:
    torch.manual_seed(0)
    return DiscoGAN(Config(**(TINY | settings)), SPACE, PictureFormat(3, 64, 64))


def test_the_paper_networks_are_the_published_ones_in_number_and_kind():
    for network, parameters, tensors in (
        (Generator(3), 5_513_856, 38),
        (Generator(3, bottleneck=100), 7_153_480, 50),
        (Discriminator(3), 2_765_568, 20),
    ):
        assert (sum(p.numel() for p in network.parameters()), len(network.state_dict())) == (parameters, tensors)
    assert {"main.0.weight", "main.3.running_var", "main.20.weight"} <= Generator(3).state_dict().keys()
    assert {"conv1.weight", "bn4.bias", "conv5.weight"} <= Discriminator(3).state_dict().keys()
    for _, module in (*Generator(3, 4, 5).named_modules(), *Discriminator(3, 4).named_modules()):
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            assert module.bias is None
    y = Generator(3, 4, 5)(torch.rand(2, 3, 64, 64) * 2 - 1)
    assert y.shape == (2, 3, 64, 64) and -1 <= y.detach().min() and y.detach().max() <= 1


def test_discriminators_step_first_and_then_in_every_third_step():
    recipe = tiny()
    due = [[update.name for update in recipe.updates if update.due(step, "all")] for step in range(6)]
    assert due == 2 * [["discriminators"], ["generators"], ["generators"]]
    trainer, changed = trainer_of(recipe), []
    for step in range(4):
        before = {key: t.clone() for key, t in recipe.state_dict().items()}
        trainer.step = step
        trainer.train_batch(batch_of(recipe), 6)
        changed.append({key[:3] for key, t in recipe.state_dict().items() if not torch.equal(t, before[key])})
    assert changed == [{"dis"}, {"gen"}, {"gen"}, {"dis"}]


def test_an_update_without_turns_is_due_in_the_last_of_each():
    assert [Update("u", trains=(), every=3).due(step, "all") for step in range(6)] == [False, False, True] * 2


def test_features_are_compared_by_their_means():
    real, fake = [torch.rand(4, 2, 3, 3), torch.rand(4, 5, 2, 2)], [torch.rand(4, 2, 3, 3), torch.rand(4, 5, 2, 2)]
    value = sum(((r.mean(0) - f.mean(0)) ** 2).mean() for r, f in zip(real, fake, strict=True))
    torch.testing.assert_close(between_means(real, fake), value.expand(4))


def test_the_reconstruction_counts_little_at_first():
    recipe = tiny(first_steps=5)
    batch = batch_of(recipe)
    for done, rate in ((0, 0.01), (4, 0.01), (5, 0.5)):
        weights = {key: float(w) for key, (w, _) in recipe.generators_terms(batch, torch.tensor(float(done))).items()}
        assert weights["reconstruction_a"] == pytest.approx(rate)
        assert weights["adversarial_b"] == pytest.approx(0.1 * (1 - rate))
        assert weights["features_a"] == pytest.approx(0.9 * (1 - rate))


def test_weights_decay_by_their_l2_norm():
    """Added to the gradient, as in the published code: where there is no other, Adam steps against the weight's sign."""
    recipe = tiny(weight_decay=0.1)
    trainer = trainer_of(recipe)
    trainer.optimizers.set_rates(1.0)
    before = recipe.generator_a.main[0].weight.detach().clone()
    for name in ("generator_a", "generator_b"):
        for parameter in recipe.networks[name].parameters():
            parameter.grad = torch.zeros_like(parameter)
    trainer.optimizers.step(("generator_a", "generator_b"))
    moved = recipe.generator_a.main[0].weight.detach() - before
    assert torch.equal(moved.sign(), -before.sign())


@pytest.mark.parametrize("side", [32, 128])
def test_other_sizes_are_refused_in_words(side: int) -> None:
    with pytest.raises(SizeError, match=f"data.size {side}x{side}: DiscoGAN's discriminator scores pictures of 64x64"):
        DiscoGAN(Config(**TINY), SPACE, PictureFormat(3, side, side))


def test_other_data_and_divided_batches_are_refused():
    three = LabelSpace([LabelGroup("pictures", ("A", "B", "C"), "one_of")])
    with pytest.raises(ConfigError, match="DiscoGAN translates between 2 domains of one dataset"):
        DiscoGAN(Config(), three, PictureFormat(3, 64, 64))
    with pytest.raises(ConfigError, match="train.accumulate 2: DiscoGAN normalises over the samples of a batch"):
        trainer_of(tiny(), accumulate=2)


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    """Stopped between two turns of the generators."""
    rng = random.Random(0)
    for split, count in (("train", 8), ("val", 2), ("test", 2)):
        for name in ("Green", "Red"):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                draw(rng, COLOURS[name]).resize((64, 64)).save(folder / f"{i}.png")
    settings = {f"recipe.{key}": value for key, value in TINY.items()} | {
        "data.size": 64,
        "data.workers": 0,
        "train.batch_size": 4,
        "train.steps": 4,
        "train.decay_steps": 0,
        "train.checkpoint_every": 2,
        "train.evaluate_every": 0,
        "train.precision": "float32",
        "train.log_every": 1,
    }
    for out in ("run", "parts"):
        train("discogan", tmp_path / "data", tmp_path / out, overrides=settings)
    (tmp_path / "parts" / "checkpoints" / "step_00000004.pt").unlink()
    train("discogan", tmp_path / "data", tmp_path / "parts", overrides=settings)
    assert_same_state(state(tmp_path / "run"), state(tmp_path / "parts"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    turns = [{term.partition("/")[0] for term in line["terms"]} for line in lines if "terms" in line]
    assert turns == [{"discriminators"}, {"generators"}, {"generators"}, {"discriminators"}]
