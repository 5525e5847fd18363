"""The published WGAN's numbers, through the real recipe and engine: the critic's steps, then one of the generator, in float64.

The published critic gives real pictures low scores; ours, whose last layer has the other sign, high ones.
"""

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
from asterism.engine.step import phase_at
from asterism.inference.published import wgan as layout
from asterism.recipes.wgan import BURST, WARM, WGAN, Config
from tests.helpers.recipes import trainer_of

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "wgan"

recorded = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded numbers are not beside this checkout")


def close(mine: Tensor, theirs: Tensor, relative: float, absolute: float = 0.0) -> None:
    torch.testing.assert_close(mine.detach().double().flatten(), theirs.double().flatten(), rtol=relative, atol=absolute)


@recorded
@pytest.mark.parametrize("case", ["bn32", "nobn64"])
def test_the_published_iteration(case: str) -> None:
    golden = {key: t.double() for key, t in load_file(GOLDEN / f"{case}_step.safetensors").items()}
    with safe_open(GOLDEN / f"{case}_step.safetensors", "pt") as file:
        meta = file.metadata()
    found = layout.read([GOLDEN / f"{case}_net{letter}.ckpt" for letter in "GD"], None, None)
    steps = int(meta["critic_steps"])
    rates = {"critic_lr": float(meta["lr_d"]), "generator_lr": float(meta["lr_g"])}
    config = Config(**found.config, **rates, clamp=float(meta["clamp"]), critic_steps=steps, bursts=False)
    recipe = WGAN(config, layout.UNLABELLED, PictureFormat(found.channels, *found.size))
    for name, (_, weights) in found.networks.items():
        recipe.networks[name].load_state_dict(weights)
    recipe.double()
    trainer = trainer_of(recipe)
    for t in range(steps):
        trainer.step = t
        batch = Batch(x=golden[f"x_real.{t}"], z=golden[f"z.{t}"].flatten(1), z_generator=golden["z.g"].flatten(1))
        with torch.no_grad():
            close(copy.deepcopy(recipe.generator)(batch.z), golden[f"x_fake.{t}"], 1e-5, 1e-6)
        trainer.train_batch(batch, len(batch))
        terms = trainer.statistics.drain(Processes())
        close(torch.tensor(-terms["critic/real"]), -golden[f"d_real.{t}"], 1e-5, 1e-7)
        close(torch.tensor(terms["critic/fake"]), -golden[f"d_fake.{t}"], 1e-5, 1e-7)
        assert ("generator/adversarial" in terms) == (t == steps - 1)
        if t in (0, steps - 1):
            compare(recipe.critic, "critic", golden, f"d_after.{t}.", [f"d_grad.{k}." for k in range(t + 1)])
    close(torch.tensor(terms["generator/adversarial"]), golden["g_loss"], 1e-5, 1e-7)
    compare(recipe.generator, "generator", golden, "g_after.", ["g_grad."])


def compare(network: torch.nn.Module, name: str, golden: dict[str, Tensor], after: str, gradients: list[str]) -> None:
    """Weights after steps. RMSprop's is about the sign of a gradient, so that rounding decides where one is tiny."""
    published = [key.removeprefix(after) for key in golden if key.startswith(after)]
    assert published
    theirs = dict(layout._theirs(network, name))
    for key in published:
        steps = [golden[f"{step}{key}"] for step in gradients]
        steady = torch.stack([g.abs() > 1e-3 * g.abs().max() for g in steps]).all(0)
        assert steady.any()
        close(theirs[key][steady], golden[f"{after}{key}"][steady], 1e-5, 1e-7)


def test_bursts_come_when_the_published_loop_makes_them() -> None:
    recipe = WGAN(Config(conv_dim=4, critic_conv_dim=4), layout.UNLABELLED, PictureFormat(3, 32, 32))
    expected, step = [], 0
    for made in range(1200):  # Steps of the generator.
        step += BURST if made < WARM or made % 500 == 0 else 5
        expected.append(step - 1)
    trained = []
    for step in range(expected[-1] + 1):
        phase = phase_at(recipe, step).name
        due = [update.name for update in recipe.updates if update.due(step, phase)]
        assert due.count("critic") == 1
        trained += [step] * due.count("generator")
    assert trained == expected
