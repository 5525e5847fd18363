"""CycleGAN in training and use: its pools, its micro-batches, exact resume, and every way in which a model is used."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch._dynamo.testing import CompileCounterWithBackend

from asterism import load, train
from asterism.config import ConfigError
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.engine.distributed import Processes
from asterism.engine.pools import Pools
from asterism.labels import LabelGroup, LabelSpace
from asterism.networks.cyclegan import Discriminator, Generator
from asterism.networks.sizes import SizeError
from asterism.recipes.cyclegan import Config, CycleGAN
from tests.helpers.discs import COLOURS, draw
from tests.helpers.recipes import trainer_of
from tests.helpers.runs import BRIEF, assert_same_state, state

SPACE = LabelSpace([LabelGroup("pictures", ("A", "B"), "one_of")])
TINY = {"conv_dim": 4, "num_blocks": 1, "discriminator_conv_dim": 4, "discriminator_layers": 2}


def tiny(channels: int = 3, **settings) -> CycleGAN:
    torch.manual_seed(0)
    return CycleGAN(Config(**(TINY | settings)), SPACE, PictureFormat(channels, 32, 32))


def prepared(trainer, count: int = 4, dtype: torch.dtype = torch.float32) -> Batch:
    """A batch with pictures of either domain, as the engine prepares it."""
    rng = torch.Generator().manual_seed(1)
    x, other = (torch.rand(count, 3, 32, 32, generator=rng, dtype=dtype) * 2 - 1 for _ in range(2))
    first = trainer.step * count
    return Batch(x=x, x_other=other, y=torch.arange(count) % 2, **trainer.pools.plan(first, count))


def test_the_paper_networks_are_the_published_ones_in_number_and_kind():
    """ResNet-9 and the 70 x 70 PatchGAN: parameters, tensors, and scores of 256 pixels."""
    generator, judge = Generator(3), Discriminator(3)
    assert (sum(p.numel() for p in generator.parameters()), len(generator.state_dict())) == (11_378_179, 48)
    assert (sum(p.numel() for p in judge.parameters()), len(judge.state_dict())) == (2_764_737, 10)
    assert {"model.1.weight", "model.18.conv_block.5.bias", "model.26.weight"} <= generator.state_dict().keys()
    assert judge(torch.zeros(1, 3, 256, 256)).shape == (1, 30 * 30)
    weights = [module.weight for module in generator.modules() if isinstance(module, torch.nn.Conv2d)]
    assert all(abs(float(w.detach().std()) - 0.02) < 2e-3 for w in weights)


def test_pools_show_what_the_published_ones_would():
    """Fed with the same draws, the published rule, written out as a loop, passes the same fakes on."""
    size, count, batch = 3, 40, 2
    pools = Pools({"x_fake_a": size, "x_fake_b": 0}, seed=5, processes=Processes())
    stored: list[float] = []
    swapped = 0
    for first in range(0, count, batch):
        plan = pools.plan(first, batch)
        fakes = torch.arange(first, first + batch, dtype=torch.float32).view(batch, 1, 1, 1).expand(-1, 3, 4, 4)
        result = pools.exchange(Batch(x_fake_a=fakes, x_fake_b=fakes), Batch(**plan))
        wanted = []
        for i, fake in enumerate(range(first, first + batch)):
            if len(stored) < size:  # Until it is full, every fake is kept and passes as it is.
                stored.append(fake)
                wanted.append(fake)
            elif plan["x_fake_a_swap"][i]:  # At a chance of one half an older one passes, and the new one takes its place.
                place = int(plan["x_fake_a_slot"][i])
                wanted.append(stored[place])
                stored[place] = fake
                swapped += 1
            else:
                wanted.append(fake)
        assert result["pooled_x_fake_a"][:, 0, 0, 0].tolist() == wanted
        assert torch.equal(result["pooled_x_fake_b"], fakes)  # A size of 0 keeps nothing.
    draws = Pools({"x_fake_a": size}, seed=5, processes=Processes()).plan(size, 1000)
    assert 450 < int(draws["x_fake_a_swap"].sum()) < 550 and set(draws["x_fake_a_slot"].tolist()) == set(range(size))
    assert 0 < swapped < count - size


def test_discriminators_see_past_fakes_and_generators_their_own():
    recipe = tiny(channels=1)
    own, past = torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32)
    batch = Batch(x=own, x_other=own, y=torch.tensor([0, 1]), x_fake_a=own, x_fake_b=own)
    pooled = batch.extend(pooled_x_fake_a=past, pooled_x_fake_b=past)
    now, later = (recipe.discriminators_terms(b, torch.zeros(())) for b in (batch, pooled))
    assert torch.equal(later["fake_a"][1], (recipe.discriminator_a(past)).square().mean(1))
    assert torch.equal(now["real_a"][1], later["real_a"][1])
    of_g = [recipe.generators_terms(b, torch.zeros(()))["adversarial_a"][1] for b in (batch, pooled)]
    assert torch.equal(*of_g)


def test_translations_in_a_mixed_batch_are_those_of_each_picture_alone():
    """Eagerly only the wanted generator runs; what a compiler or exporter sees runs both and selects."""
    recipe = tiny().eval()
    x, told, runs = torch.rand(3, 3, 32, 32), torch.tensor([1, 0, 1]), []
    for name in ("generator_a", "generator_b"):
        recipe.networks[name].register_forward_hook(lambda _, inputs, __, name=name: runs.append((name, len(inputs[0]))))
    with torch.no_grad():
        mixed = recipe.translate(x, told)
        assert runs == [("generator_a", 1), ("generator_b", 2)]
        alone = torch.cat([recipe.translate(x[i : i + 1], told[i : i + 1]) for i in range(3)])
        runs.clear()
        recipe.translate(x, torch.zeros(3, dtype=torch.long))
        assert runs == [("generator_a", 3)]
        exported = torch.export.export(_Translate(recipe), (x, told), strict=False).module()(x, told)
    torch.testing.assert_close(mixed, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(exported, mixed, rtol=0, atol=1e-5)


class _Translate(torch.nn.Module):
    def __init__(self, recipe):
        super().__init__()
        self.recipe = recipe

    def forward(self, x, told):
        return self.recipe.translate(x, told)


@pytest.mark.parametrize("pool_size", [0, 3])
def test_micro_batches_equal_one_batch(pool_size: int) -> None:
    """In float64; fakes that go through a pool are then made before the updates, micro-batch by micro-batch."""
    ends = []
    for accumulate in (1, 2):
        recipe = tiny(pool_size=pool_size).double()
        trainer = trainer_of(recipe, batch_size=4, accumulate=accumulate)
        trainer.optimizers.set_rates(1.0)
        for _ in range(2):
            trainer.train_batch(prepared(trainer, dtype=torch.float64), 4)
            trainer.step += 1
        ends.append(recipe.state_dict())
    for key, tensor in ends[0].items():
        if not key.endswith("bias"):  # Those in front of a norm move by the sign of rounding noise.
            torch.testing.assert_close(ends[1][key], tensor, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_updates_compile_whole_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    monkeypatch.setattr("asterism.engine.compilation.decide", lambda device, choice: (choice == "on", ""))
    recipe = tiny()
    trainer = trainer_of(recipe, compile="on", batch_size=4)
    trainer.optimizers.set_rates(1.0)
    for _ in range(2):
        trainer.train_batch(prepared(trainer), 4)
        trainer.step += 1
    assert counter.frame_count == 3  # share, generators, discriminators


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each of two colours."""
    root, rng = tmp_path_factory.mktemp("two"), random.Random(0)
    for split, count in (("train", 12), ("val", 3), ("test", 3)):
        for name in ("Green", "Red"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                draw(rng, COLOURS[name]).save(folder / f"{name}{i}.png")
    return root


SETTINGS = BRIEF | {f"recipe.{key}": value for key, value in TINY.items()} | {"recipe.pool_size": 3}


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cyclegan") / "run"
    train("cyclegan", data, out, overrides=SETTINGS)
    return out


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(data: Path, run: Path, tmp_path: Path) -> None:
    """With pools that are full at the stop."""
    train("cyclegan", data, tmp_path / "parts", overrides=SETTINGS)
    (tmp_path / "parts" / "checkpoints" / "step_00000008.pt").unlink()
    before = state(tmp_path / "parts")
    assert before["step"] == 4 and before["pools"]["x_fake_a"].abs().sum((1, 2, 3)).all()
    train("cyclegan", data, tmp_path / "parts", overrides=SETTINGS)
    assert_same_state(state(run), state(tmp_path / "parts"))


def test_it_learns_to_recolour(data: Path, tmp_path: Path) -> None:
    """Red discs become green ones and green ones red, where nothing was paired."""
    quick = {"recipe.conv_dim": 8, "recipe.discriminator_conv_dim": 8, "recipe.lr": 2e-3, "train.steps": 100}
    train("cyclegan", data, tmp_path / "run", overrides=SETTINGS | quick | {"train.batch_size": 4, "train.ema_kimg": 0})
    model = load(tmp_path / "run", device="cpu", precision="float32")
    for own, target, (more, less) in (("Red", "Green", (1, 0)), ("Green", "Red", (0, 1))):
        x = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in sorted((data / "test" / own).iterdir())])
        y = model.translate(x, target).astype(int)
        disc = np.abs(x[..., 0].astype(int) - x[..., 1]) > 60
        gained = (y[..., more] - y[..., less])[disc].mean()
        before = (x[..., more].astype(int) - x[..., less])[disc].mean()
        assert before < -80 and gained > 0, (own, before, gained)


def test_what_it_cannot_take_is_refused_with_what_it_can():
    three = LabelSpace([LabelGroup("pictures", ("A", "B", "C"), "one_of")])
    with pytest.raises(
        ConfigError, match="CycleGAN translates between 2 domains of one dataset; these data have 3 in 1: A, B, C; give it"
    ):
        CycleGAN(Config(), three, PictureFormat(3, 64, 64))
    with pytest.raises(SizeError, match=r"at least 24 \(recipe.discriminator_layers 3\); the nearest is 24x64"):
        CycleGAN(Config(), SPACE, PictureFormat(3, 16, 66))
