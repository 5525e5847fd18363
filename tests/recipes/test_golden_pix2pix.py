"""The published pix2pix's numbers, through the real recipe and engine: one discriminator step, one generator step, float64."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.engine.distributed import Processes
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.pix2pix import Config, Pix2Pix
from tests.helpers.recipes import trainer_of

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "pix2pix"
STEP = GOLDEN / "p2p32_step.safetensors"
NETWORKS = {"generator": "G", "discriminator": "D"}
SPACE = LabelSpace([LabelGroup("pictures", ("A", "B"), "one_of")])

pytestmark = pytest.mark.skipif(not STEP.exists(), reason="the recorded pix2pix numbers are not in the repository")


class Case:
    """The recorded networks, batch and numbers, in float64.

    Args:
        own: whose picture a sample is; its partner comes with it.
        settings: of the recipe, beside the recorded ones.
    """

    def __init__(self, own: str = "A", **settings) -> None:
        with safe_open(STEP, "pt") as file:
            meta = file.metadata()
        assert (meta["dropout"], meta["gan_mode"], json.loads(meta["betas"])) == ("off", "vanilla", [0.5, 0.999])
        self.golden = {key: t.double() for key, t in load_file(STEP).items()}
        config = Config(
            conv_dim=int(meta["ngf"]),
            num_downs=int(meta["num_downs"]),
            dropout=False,
            discriminator_conv_dim=int(meta["ndf"]),
            l1_weight=float(meta["lambda_L1"]),
            lr=float(meta["lr"]),
            **settings,
        )
        self.recipe = Pix2Pix(config, SPACE, PictureFormat(3, *json.loads(meta["image_size"]))).double()
        self.recipe.to(memory_format=torch.channels_last)  # As the engine has it.
        for name, letter in NETWORKS.items():
            self.recipe.networks[name].load_state_dict(torch.load(GOLDEN / f"p2p32_net_{letter}.pth", weights_only=True))
        self.a, self.b = (self.golden[f"in.real_{d}"].contiguous(memory_format=torch.channels_last) for d in "AB")
        x, x_pair = (self.a, self.b) if own == "A" else (self.b, self.a)
        self.batch = Batch(x=x, x_pair=x_pair, y=torch.tensor([0 if own == "A" else 1]), s=x.new_ones(1, 0))


def check(mine: Tensor, theirs: Tensor, limit: float) -> None:
    """Compare relative to the largest element."""
    assert mine.dtype == torch.float64
    torch.testing.assert_close(mine.detach().flatten(), theirs.flatten(), rtol=0, atol=limit * float(theirs.abs().max()))


def statistics(network: torch.nn.Module) -> dict[str, Tensor]:
    return {key: t.clone() for key, t in network.state_dict().items() if "running" in key or "tracked" in key}


def test_networks_give_the_published_outputs():
    case = Case()
    with torch.no_grad():
        check(case.recipe.generator(case.a), case.golden["out.fake_B"], 1e-5)
        check(case.recipe.discriminator(case.a, case.golden["out.fake_B"]), case.golden["D.fake_AB"], 1e-5)
        check(case.recipe.discriminator(case.a, case.b), case.golden["D.real_AB"], 1e-5)


@pytest.mark.parametrize("own", ["A", "B"])
def test_a_training_step_agrees(own):
    """Losses, gradients and weights after both updates; and the trained model with either kind of statistics."""
    case = Case(own)
    recipe, golden = case.recipe, case.golden
    trainer = trainer_of(recipe, batch_size=1)
    trainer.optimizers.set_rates(1.0)
    trainer.train_batch(case.batch, 1)

    said = trainer.statistics.drain(Processes())
    published = {"discriminator/fake": "D_fake", "discriminator/real": "D_real", "generator/adversarial": "G_GAN"}
    for mine, theirs in published.items():
        assert said[mine] == pytest.approx(golden[f"loss.{theirs}"].item(), rel=2e-6)
    assert recipe.config.l1_weight * said["generator/l1"] == pytest.approx(golden["loss.G_L1"].item(), rel=2e-6)
    assert golden["loss.D"].item() == pytest.approx(0.5 * (said["discriminator/fake"] + said["discriminator/real"]), rel=2e-6)

    moments = trainer.optimizers.state_dict()["adam"]
    for name, letter in NETWORKS.items():
        for index, (key, parameter) in enumerate(recipe.networks[name].named_parameters()):
            expected, after = golden[f"grad.{letter}.{key}"], golden[f"after.{letter}.{key}"]
            check(2 * moments[name]["state"][index]["exp_avg"], expected, 5e-5)  # Of one step, with beta1 = 0.5.
            moved = (parameter.detach() - after).abs()
            steady = expected.abs() > 1e-5 * expected.abs().max()  # Else the step's sign is rounding's.
            assert bool((moved[steady] <= 0.01 * recipe.config.lr).all()) and bool((moved <= 2.1 * recipe.config.lr).all()), key

    # The generator makes one pass, whose statistics are the published ones.
    for key, t in statistics(recipe.generator).items():
        torch.testing.assert_close(t.double(), golden[f"after.G.{key}"], rtol=1e-5, atol=1e-7)
    # The published discriminator's move in a third pass too, in which it judges the generator's fakes: made here by hand.
    passes = {key: t for key, t in statistics(recipe.discriminator).items() if "tracked" in key}
    assert passes and all(int(t) == golden[f"after.D.{key}"].item() - 1 for key, t in passes.items())
    recipe.discriminator.requires_grad_(True)
    recipe.discriminator(case.a, golden["out.fake_B"])
    for key, t in statistics(recipe.discriminator).items():
        torch.testing.assert_close(t.double(), golden[f"after.D.{key}"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("running", "recorded"), [(False, "test.train_fake_B"), (True, "test.eval_fake_B")])
def test_a_trained_model_translates_as_published(running, recorded):
    """By the picture's own statistics, as the published test does, or by those of training."""
    case = Case(running_statistics=running)
    prefix = "after.G."
    state = {key.removeprefix(prefix): t for key, t in case.golden.items() if key.startswith(prefix)}
    case.recipe.generator.load_state_dict(state)
    case.recipe.eval()
    with torch.no_grad():
        check(case.recipe.translate(case.a, torch.tensor([1])), case.golden[recorded], 1e-5)
        both = case.recipe.translate(torch.cat([case.a, case.b]), torch.tensor([1, 1]))
    check(both[:1], case.golden[recorded], 1e-5)  # Beside another picture it is the same.
