"""The numbers of the GAN zoo's ProGAN through the real recipe and engine, in float64: at 4 px, in fades, and stable."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.engine.distributed import Processes
from asterism.engine.trainer import Trainer
from asterism.inference.published.progan import ours, theirs
from asterism.labels import LabelGroup, LabelSpace
from asterism.networks.progan import faded
from asterism.recipes.progan import Config, ProGAN
from tests.helpers.progan import GOLDEN, read_zoo
from tests.helpers.recipes import trainer_of

SPACE = LabelSpace([LabelGroup("pictures", (), "binary")])
FADE_STEPS = 1000

pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded numbers are not beside this checkout")


def close(mine: Tensor, theirs: Tensor, relative: float, absolute: float = 0.0) -> None:
    torch.testing.assert_close(mine.detach().double().flatten(), theirs.double().flatten(), rtol=relative, atol=absolute)


def case(name: str) -> tuple[ProGAN, Trainer, Batch, dict[str, Tensor], list[str]]:
    """Return the recipe with the recorded weights, a trainer at the recorded share of the fade, the batch and the numbers.

    Last come the names of the parameters that get no gradient, those of the generator after `G:`.
    """
    golden = {key: t.double() for key, t in load_file(GOLDEN / f"{name}_step.safetensors").items()}
    with safe_open(GOLDEN / f"{name}_step.safetensors", "pt") as file:
        meta = file.metadata()
    alpha, side = float(meta["alpha"]), int(meta["image_size"])
    levels = side.bit_length() - 2
    config = Config(
        latent_dim=int(meta["nz"]),
        widths=tuple(json.loads(meta["depths"])),
        level_steps=(*[1] * (levels - 1), FADE_STEPS),
        fade=1.0 if alpha else 0.0,
        fade_first=False,
        penalty_weight=float(meta["lambda_gp"]),
        drift_weight=float(meta["epsilon_drift"]),
        generator_lr=float(meta["lr"]),
        discriminator_lr=float(meta["lr"]),
    )
    recipe = ProGAN(config, SPACE, PictureFormat(3, side, side))
    published = read_zoo(GOLDEN / f"{name}.ckpt")
    for network, held in (("generator", "netG"), ("discriminator", "netD")):
        recipe.networks[network].load_state_dict(ours(published[held], network))
    recipe.double()
    trainer = trainer_of(recipe, ema_kimg=len(golden["x_real"]) * math.log(0.5, float(meta["ema"])) / 1000, ema_ramp=0.0)
    trainer.average.load({f"generator.{k}": t.double() for k, t in ours(published["avgG"], "generator").items()})
    trainer.step = levels - 1 + round(FADE_STEPS * (1 - alpha if alpha else 1)) if levels > 1 else 0
    trainer.enter_phase()
    assert recipe.phase == f"{side} px{', fading' if alpha else ''}"
    mix = golden["alpha_gp"][:, :, None, None]
    batch = Batch(x=golden["x_real"], z=golden["z"], z_generator=golden["z.g"], mix=mix)
    return recipe, trainer, batch, golden, json.loads(meta["params_without_gradient"])


def check_step(recipe: ProGAN, trainer: Trainer, golden: dict[str, Tensor], network: str, count: int) -> list[str]:
    """Gradients (Adam's first moment, beta1 being 0; theirs are of sums over the batch) and weights after the step.

    Returns the names of the parameters that get no gradient.
    """
    letter = network[0]
    moments = trainer.optimizers.state_dict()["adam"][network]["state"]
    places = theirs({key: torch.tensor(i) for i, (key, _) in enumerate(recipe.networks[network].named_parameters())}, network)
    after = theirs(recipe.networks[network].state_dict(), network)
    without = []
    for key, place in places.items():
        if f"{letter}_grad.{key}" not in golden:
            without.append(key if letter == "d" else f"G:{key}")
            assert int(place) not in moments
            continue
        expected = golden[f"{letter}_grad.{key}"]
        largest = float(expected.abs().max())
        whole = max(float(t.abs().max()) for name, t in golden.items() if name.startswith(f"{letter}_grad."))
        close(count * moments[int(place)]["exp_avg"], expected, 0, 5e-5 * largest + 1e-7 * whole)
        # Adam's first step is the sign of the gradient: rounding decides where that is tiny. Its epsilon weighs more beside our
        # means than beside their sums, which is at most a thousandth of a step here.
        steady = expected.abs() > 1e-4 * whole
        close(after[key][steady], golden[f"{letter}_after.{key}"][steady], 1e-6, 1e-3 * recipe.config.generator_lr)
    return without


@pytest.mark.parametrize("name", ["s0_4px", "s1_8px_fade", "s2_16px_fade", "s2_16px"])
def test_a_training_step_agrees(name: str) -> None:
    recipe, trainer, batch, golden, without = case(name)
    old = recipe.old(torch.tensor(float(trainer.step)))
    with torch.no_grad():
        close(recipe.generator(batch.z, recipe.level, old), golden["x_fake"], 1e-5, 1e-5)
        x = batch.x if old is None else faded(batch.x, F.avg_pool2d(batch.x, 2), old)
        close(x, golden["x_real_faded"], 1e-6, 1e-7)
        close(recipe.judge(x, old)[0], golden["d_real"], 1e-5, 1e-6)
        recipe.generator.steps.fill_(trainer.step)
        with trainer.average.applied():
            close(recipe.generate(batch.z, batch.z[:, :0]), golden["x_avg"], 1e-5, 1e-5)
        recipe.generator.steps.zero_()
    count = len(batch)
    trainer.train_batch(batch, count)
    trainer.average.update(count, count)
    terms = trainer.statistics.drain(Processes())
    assert set(terms) == {*(f"discriminator/{key}" for key in ("real", "fake", "penalty", "drift")), "generator/adversarial"}
    for key, mine in {  # Theirs are sums over the batch.
        "lossD_real": terms["discriminator/real"],
        "lossD_fake": terms["discriminator/fake"],
        "lossD_Grad": recipe.config.penalty_weight * terms["discriminator/penalty"],
        "lossD_Epsilon": recipe.config.drift_weight * terms["discriminator/drift"],
        "lossG_fake": terms["generator/adversarial"],
    }.items():
        close(torch.tensor(count * mine), golden[f"loss.{key}"], 2e-6, 2e-6)
    assert recipe.generator.steps == trainer.step, "by which a trained model knows how far its fade had come"
    found = [check_step(recipe, trainer, golden, network, count) for network in ("discriminator", "generator")]
    assert sorted(sum(found, [])) == sorted(without), "those of earlier sides, and of the branch that is thrown away"
    average = {key.removeprefix("generator."): t for key, t in trainer.average.weights.items()}
    for key, t in theirs(average, "generator").items():
        close(t, golden[f"avg_after.{key}"], 1e-6, 1e-6)
