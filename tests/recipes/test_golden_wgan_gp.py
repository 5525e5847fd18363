"""The numbers of WGAN-GP's PyTorch descendant for CIFAR-10, through the real recipe and engine, in float64."""

from __future__ import annotations

import copy
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
from asterism.recipes.wgan_gp import WGANGP, Config
from tests.helpers.recipes import trainer_of

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "wgan_gp"
SPACE = LabelSpace([LabelGroup("pictures", (), "binary")])


def close(mine: Tensor, theirs: Tensor, relative: float, absolute: float = 0.0) -> None:
    torch.testing.assert_close(mine.detach().double().flatten(), theirs.double().flatten(), rtol=relative, atol=absolute)


@pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded numbers are not beside this checkout")
def test_the_published_iteration() -> None:
    golden = {key: t.double() for key, t in load_file(GOLDEN / "cifar10_step.safetensors").items()}
    with safe_open(GOLDEN / "cifar10_step.safetensors", "pt") as file:
        meta = file.metadata()
    width, steps, lr = int(meta["dim"]), int(meta["critic_steps"]), float(meta["lr"])
    config = Config(
        networks="plain",
        conv_dim=width,
        critic_conv_dim=width,
        critic_steps=steps,
        penalty_weight=float(meta["lambda_gp"]),
        generator_lr=lr,
        critic_lr=lr,
        beta1=0.5,
    )
    recipe = WGANGP(config, SPACE, PictureFormat(3, 32, 32))
    for name, letter in (("generator", "G"), ("critic", "D")):
        recipe.networks[name].load_state_dict(torch.load(GOLDEN / f"cifar10_net{letter}.ckpt", weights_only=True))
    recipe.double()
    trainer = trainer_of(recipe)
    for t in range(steps):
        trainer.step = t
        mix = golden[f"alpha.{t}"][:, :, None, None]
        batch = Batch(x=golden[f"x_real.{t}"], z=golden[f"z.{t}"], z_generator=golden["z.g"], mix=mix)
        with torch.no_grad():
            close(copy.deepcopy(recipe.generator)(batch.z), golden[f"x_fake.{t}"], 1e-5, 1e-6)
        trainer.train_batch(batch, len(batch))
        terms = trainer.statistics.drain(Processes())
        close(torch.tensor(-terms["critic/real"]), golden[f"d_real.{t}"].mean(), 1e-5)
        close(torch.tensor(terms["critic/fake"]), golden[f"d_fake.{t}"].mean(), 1e-5)
        close(torch.tensor(config.penalty_weight * terms["critic/penalty"]), golden[f"d_loss_gp_weighted.{t}"], 2e-6)
        compare(recipe.critic, golden, f"d_after.{t}.", [f"d_grad.{k}." for k in range(t + 1)])
    close(torch.tensor(terms["generator/adversarial"]), golden["g_loss"], 1e-5)
    compare(recipe.generator, golden, "g_after.", ["g_grad."])


def compare(network: torch.nn.Module, golden: dict[str, Tensor], after: str, gradients: list[str]) -> None:
    """Weights after steps. Adam's first is the sign of a gradient, so that rounding decides where one is tiny."""
    parameters = dict(network.named_parameters())
    whole = max(float(golden[f"{step}{key}"].abs().max()) for step in gradients for key in parameters)
    for key, parameter in parameters.items():
        steps = [golden[f"{step}{key}"] for step in gradients]
        steady = torch.stack([g.abs() > 1e-4 * whole for g in steps]).all(0)
        close(parameter[steady], golden[f"{after}{key}"][steady], 1e-5, 1e-7)
    assert len(parameters) > 5


def test_residual_networks_start_as_the_official_codes() -> None:
    """Uniform, of variance 4 / (fan-in + fan-out) for 3 x 3 kernels behind a ReLU and 2 / (fan-in + fan-out) for all others."""
    recipe = WGANGP(Config(conv_dim=8, critic_conv_dim=8), SPACE, PictureFormat(3, 64, 64))
    layers = [(name, layer) for name, layer in recipe.named_modules() if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear))]
    assert len(layers) == 2 * (4 * 3 + 2)
    for name, layer in layers:
        outputs, inputs, *kernel = layer.weight.shape
        fans = (inputs + outputs) * (kernel[0] ** 2 if kernel else 1)
        behind = kernel == [3, 3] and name != "critic.first"
        widest = (3 * (4 if behind else 2) / fans) ** 0.5
        assert 0.95 * widest < float(layer.weight.detach().abs().max()) <= widest, name
        assert layer.bias is None or not layer.bias.any(), name


def test_the_residual_critic_looks_at_each_picture_alone() -> None:
    """Section 4: batch norm would make the penalty wrong, since a picture's score would depend on the others'."""
    for size in (16, 64):
        recipe = WGANGP(Config(conv_dim=4, critic_conv_dim=4), SPACE, PictureFormat(3, size, size)).double().eval()
        x = recipe.generate(torch.randn(3, 128).double(), torch.zeros(3, 0))
        assert x.shape == (3, 3, size, size)
        recipe.train()
        close(recipe.critic(x)[:1], recipe.critic(x[:1]), 1e-10)
