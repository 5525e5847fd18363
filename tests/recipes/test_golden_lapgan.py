"""The recorded numbers of LAPGAN's PyTorch descendant, through the real recipe and engine, level by level, in float64."""

from __future__ import annotations

import json
import math
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
from asterism.networks.lapgan import level_of
from asterism.recipes.lapgan import LAPGAN, Config
from tests.helpers.recipes import trainer_of

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "lapgan"
LEVELS = 3

pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded numbers are not beside this checkout")


def ours(held: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Published names as ours: layers are stored there from the last to the first; the outermost have no norm."""

    def places(part: str, norms: str, target: str, first: int, shift: int) -> dict[str, Tensor]:
        count = len({key.split(".")[1] for key in held if key.startswith(f"{part}.")})
        found, place = {}, first
        for number in reversed(range(count)):
            norm = f"{norms}.{number - shift}"
            normed = f"{norm}.weight" in held
            for source, at in ((f"{part}.{number}", place), *([(norm, place + 1)] if normed else [])):
                found |= {
                    f"{target}.{at}.{key.rpartition('.')[2]}": t for key, t in held.items() if key.startswith(source + ".")
                }
            place += 3 if normed else 2
        return found

    result = places("convs", "BNs", "main", 1, 1) if kind == "generator" else places("convs", "BNs", "seen.main", 0, 0)
    result |= places("convs_condi", "BNs_condi", "trunk.main", 0, 0)
    linear = {"fc_c": "read", "fc": "last", "fc1": "first"}
    return result | {f"{linear[k.split('.')[0]]}.{k.split('.')[1]}": t for k, t in held.items() if k.split(".")[0] in linear}


@pytest.fixture
def case():
    golden = {key: t.double() for key, t in load_file(GOLDEN / "mnist3_step.safetensors").items()}
    with safe_open(GOLDEN / "mnist3_step.safetensors", "pt") as file:
        meta = file.metadata()
    assert meta["condi_D_featmap_dim"] == meta["condi_G_featmap_dim"]
    config = Config(
        networks="strided",
        noise_dim=int(meta["noise_dim"]),
        conv_dim=int(meta["G_featmap_dim"]),
        discriminator_conv_dim=int(meta["D_featmap_dim"]),
        given_dim=int(meta["n_condition"]),
        given_conv_dim=int(meta["condi_D_featmap_dim"]),
        optimiser="adam",
        generator_lr=tuple(json.loads(meta["lr_g"])),
        discriminator_lr=tuple(json.loads(meta["lr_d"])),
    )
    size = int(meta["image_size"])
    recipe = LAPGAN(config, LabelSpace([LabelGroup("any", (), "binary")]), PictureFormat(1, size, size))
    for level in range(LEVELS):
        for kind, name in (("generator", "gen"), ("discriminator", "dis")):
            held = torch.load(GOLDEN / f"mnist3_{name}{level}.ckpt", weights_only=True)
            recipe.networks[f"{kind}_{level}"].load_state_dict(ours(held, kind))
    recipe.double()
    u = torch.cat([golden[f"noise.{level}"] for level in range(LEVELS)], 1)
    batch = Batch(x=golden["x"], u=u, u_generator=u, seeds=torch.zeros(len(u), 3 * LEVELS, dtype=torch.long))
    return recipe, batch, golden


def close(mine: Tensor, theirs: Tensor, relative: float, absolute: float = 0.0) -> None:
    torch.testing.assert_close(mine.detach().double().flatten(), theirs.flatten(), rtol=relative, atol=absolute)


def recorded(golden: dict[str, Tensor], kind: str, level: int, network: str) -> dict[str, Tensor]:
    start = f"{kind}.{level}."
    return ours({key.removeprefix(start): t for key, t in golden.items() if key.startswith(start)}, network)


def test_the_pyramid_is_the_published_one(case):
    _, batch, golden = case
    for level in range(LEVELS):
        real, coarse = level_of(batch.x, level, LEVELS)
        close(real, golden[f"x_real.{level}"], 1e-5, 1e-6)
        assert (coarse is None) == (level == LEVELS - 1)
        if coarse is not None:
            close(coarse, golden[f"condition.{level}"], 1e-5, 1e-6)


def test_pictures_are_made_coarse_to_fine_as_published(case):
    recipe, _, golden = case
    z = math.sqrt(2) * torch.erfinv(torch.cat([golden[f"sample.noise.{level}"] for level in range(LEVELS)], 1))
    with torch.no_grad():
        close(recipe.generate(z, z[:, :0]), golden["sample.image.0"], 1e-5, 1e-5)


@pytest.mark.parametrize("level", range(LEVELS))
def test_a_discriminators_step_agrees(case, level: int):
    recipe, batch, golden = case
    trainer, name = trainer_of(recipe), f"discriminator_{level}"
    with torch.no_grad():
        coarse = golden.get(f"condition.{level}")
        made = recipe.networks[f"generator_{level}"](golden[f"noise.{level}"], coarse)
        close(made, golden[f"x_fake.{level}"], 1e-5, 1e-6)
        both = torch.cat([coarse, coarse]) if coarse is not None else None
        close(recipe.networks[name](golden[f"d_input.{level}"], both).sigmoid(), golden[f"d_out.{level}"], 1e-5)
    trainer.apply(next(u for u in recipe.updates if u.name == name), batch, len(batch), torch.zeros(()))
    terms = trainer.statistics.drain(Processes())
    close(torch.tensor((terms[f"{name}/real"] + terms[f"{name}/fake"]) / 2), golden[f"d_loss.{level}"], 2e-6)
    moments = trainer.optimizers.state_dict()["adam"][name]["state"]
    gradients = recorded(golden, "d_grad", level, "discriminator")
    after = recorded(golden, "d_after", level, "discriminator")
    parameters = dict(recipe.networks[name].named_parameters())
    assert set(parameters) == set(gradients)
    largest = max(float(t.abs().max()) for t in gradients.values())
    for index, (key, parameter) in enumerate(parameters.items()):
        # Biases in front of a batch norm have none but rounding's.
        close(2 * moments[index]["exp_avg"], gradients[key], 0, max(5e-5 * float(gradients[key].abs().max()), 1e-6 * largest))
        steady = gradients[key].abs() > 1e-4 * largest
        close(parameter[steady], after[key][steady], 1e-5, 1e-7)


@pytest.mark.parametrize("level", range(LEVELS))
def test_a_generators_gradient_agrees(case, level: int):
    """By the discriminator before its step, for which the gradient was recorded."""
    recipe, batch, golden = case
    trainer, name = trainer_of(recipe), f"generator_{level}"
    trainer.apply(next(u for u in recipe.updates if u.name == name), batch, len(batch), torch.zeros(()))
    close(torch.tensor(trainer.statistics.drain(Processes())[f"{name}/adversarial"]), golden[f"g_loss.{level}"], 2e-6)
    moments = trainer.optimizers.state_dict()["adam"][name]["state"]
    gradients = recorded(golden, "g_grad", level, "generator")
    parameters = dict(recipe.networks[name].named_parameters())
    assert set(parameters) == set(gradients)
    largest = max(float(t.abs().max()) for t in gradients.values())
    for index, key in enumerate(parameters):  # Biases as above.
        close(2 * moments[index]["exp_avg"], gradients[key], 0, max(5e-5 * float(gradients[key].abs().max()), 1e-6 * largest))
