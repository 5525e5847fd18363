"""The published DCGAN's numbers, through the real recipe and engine: one discriminator step, one generator step, float64."""

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
from asterism.recipes.dcgan import DCGAN, Config
from tests.helpers.recipes import trainer_of

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "dcgan"
STEP = GOLDEN / "rgb_step.safetensors"
NETWORKS = {"generator": "G", "discriminator": "D"}

pytestmark = pytest.mark.skipif(not STEP.exists(), reason="the recorded numbers are not beside this checkout")


@pytest.fixture
def case():
    golden = {key: t.double() for key, t in load_file(STEP).items()}
    with safe_open(STEP, "pt") as file:
        meta = file.metadata()
    config = Config(
        latent_dim=int(meta["nz"]),
        conv_dim=int(meta["ngf"]),
        discriminator_conv_dim=int(meta["ndf"]),
        generator_lr=float(meta["lr"]),
        discriminator_lr=float(meta["lr"]),
    )
    assert json.loads(meta["betas"]) == [0.5, 0.999]
    size = int(meta["image_size"])
    recipe = DCGAN(config, LabelSpace([LabelGroup("any", ("a", "b"), "one_of")]), PictureFormat(3, size, size))
    for network, letter in NETWORKS.items():
        recipe.networks[network].load_state_dict(torch.load(GOLDEN / f"rgb_net{letter}.ckpt", weights_only=True))
    recipe.double()
    batch = Batch(x=golden["x_real"], z=golden["z"].flatten(1))
    return recipe, trainer_of(recipe), batch, golden


def close(mine: Tensor, theirs: Tensor, relative: float, absolute: float = 0.0) -> None:
    torch.testing.assert_close(mine.detach().double().flatten(), theirs.flatten(), rtol=relative, atol=absolute)


def check_step(recipe, trainer, golden, network: str) -> None:
    """Gradients (Adam's first moment holds half of them, beta1 being 0.5) and weights after the step."""
    letter = NETWORKS[network].lower()
    moments = trainer.optimizers.state_dict()["adam"][network]["state"]
    for index, (key, parameter) in enumerate(recipe.networks[network].named_parameters()):
        expected = golden[f"{letter}_grad.{key}"]
        largest = float(expected.abs().max())
        close(2 * moments[index]["exp_avg"], expected, 0, 5e-5 * largest)
        steady = expected.abs() > 1e-4 * largest  # Adam's first step is the sign of the gradient: rounding decides the rest.
        close(parameter[steady], golden[f"{letter}_after.{key}"][steady], 1e-6, 1e-7)


def statistics(network: torch.nn.Module) -> dict[str, Tensor]:
    return {key: t.clone() for key, t in network.state_dict().items() if "running" in key or "tracked" in key}


def test_networks_with_running_statistics_give_the_published_outputs(case):
    recipe, _, batch, golden = case
    recipe.eval()
    with torch.no_grad():
        close(recipe.generate(batch.z, batch.z[:, :0]), golden["x_fake_eval"], 1e-5, 1e-6)
        close(recipe.discriminator(batch.x).sigmoid(), golden["d_real_eval"], 1e-5)


def test_networks_with_batch_statistics_give_the_published_outputs(case):
    recipe, _, batch, golden = case
    with torch.no_grad():
        x_fake = recipe.generator(batch.z)
        close(x_fake, golden["x_fake"], 1e-5, 1e-6)
        close(recipe.discriminator(batch.x).sigmoid(), golden["d_real"], 1e-5)
        close(recipe.discriminator(x_fake).sigmoid(), golden["d_fake"], 1e-5)


def test_a_training_step_agrees(case):
    recipe, trainer, batch, golden = case
    trainer.train_batch(batch, len(batch))
    terms = trainer.statistics.drain(Processes())
    published = {"discriminator/real": "d_loss_real", "discriminator/fake": "d_loss_fake", "generator/adversarial": "g_loss"}
    assert set(terms) == set(published)
    for mine, theirs in published.items():
        close(torch.tensor(terms[mine]), golden[theirs], 2e-6)
    close(golden["d_loss_real"] + golden["d_loss_fake"], golden["d_loss"], 1e-6)  # The sum, not its half.
    check_step(recipe, trainer, golden, "discriminator")
    check_step(recipe, trainer, golden, "generator")

    # The generator makes one pass, whose statistics are the published ones.
    for key, t in statistics(recipe.generator).items():
        close(t, golden[f"g_after.{key}"], 1e-5, 1e-7)
    # The published discriminator's move in a third pass too, in which it judges the generator's fakes: made here by hand.
    passes = {key: t for key, t in statistics(recipe.discriminator).items() if "tracked" in key}
    assert passes and all(int(t) == golden[f"d_after.{key}"].item() - 1 for key, t in passes.items())
    recipe.discriminator.requires_grad_(True)
    close(recipe.discriminator(golden["x_fake"]).sigmoid(), golden["d_fake_after"], 1e-5)
    for key, t in statistics(recipe.discriminator).items():
        close(t, golden[f"d_after.{key}"], 1e-5, 1e-7)
