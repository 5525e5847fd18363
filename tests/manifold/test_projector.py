"""The projector: a network that reads codes, trained for one generator, and the searches that begin with what it reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import asterism
from asterism.cli import main
from asterism.config import ConfigError
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.inference.reading import own_projector, read_by
from asterism.manifold.projector import Config, Projector
from asterism.networks.igan import Projector as Network
from tests.helpers.generating import COLOURS, painter, save_dcgan
from tests.helpers.recipes import trainer_of

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "igan"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose generator makes pictures of 16 x 16 pixels of 8 numbers."""
    return save_dcgan(tmp_path / "noise")


def trained(run: Path, steps: int = 60) -> Projector:
    """A projector after some steps of its real training, without data: its pictures are the generator's."""
    torch.manual_seed(0)
    recipe = Projector(Config(model=str(run), conv_dim=8, lr=2e-3), COLOURS, PictureFormat(3, 16, 16))
    assert recipe.config.latent_dim == 8 and list(recipe.networks) == ["encoder"]
    recipe.begin(new=True)
    trainer = trainer_of(recipe.float(), steps=steps)
    rng = torch.Generator().manual_seed(1)
    (generator,) = recipe.generators
    for _ in range(steps):
        with torch.no_grad():
            x = generator.generate(torch.randn(16, 8, generator=rng), torch.zeros(16, 0))
        batch = Batch(x=x, z=torch.randn(16, 8, generator=rng))
        trainer.optimizers.zero_grad() if hasattr(trainer.optimizers, "zero_grad") else None
        trainer.step_on(batch) if hasattr(trainer, "step_on") else None
    return recipe


@pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded numbers are not beside this checkout")
def test_the_network_gives_the_published_codes() -> None:
    from safetensors.torch import load_file

    held = torch.load(GOLDEN / "rgb32_dcgan_theano.ckpt", weights_only=True)
    golden = load_file(GOLDEN / "rgb32_step.safetensors")
    network = Network(3, 32, 8, 3).double().eval()
    first, *normed, last = [t.double() for t in held["predict_params"]]
    state = {"main.0.weight": first.flip(2, 3), "main.9.weight": last.T}  # Theano turns kernels round.
    for place, (number, mean, var) in enumerate(zip((2, 5), held["predict_batchnorm"][:2], held["predict_batchnorm"][2:])):
        weight, gain, bias = normed[3 * place : 3 * place + 3]
        state |= {f"main.{number}.weight": weight.flip(2, 3), f"main.{number + 1}.weight": gain, f"main.{number + 1}.bias": bias}
        state |= {f"main.{number + 1}.running_mean": mean, f"main.{number + 1}.running_var": var}
    missing = network.load_state_dict({key: t.double() for key, t in state.items()}, strict=False)
    assert all("num_batches" in key for key in missing.missing_keys) and not missing.unexpected_keys
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-8
    with torch.no_grad():
        torch.testing.assert_close(network(golden["x"].double()).tanh(), golden["p"].double(), rtol=0, atol=2e-6)
