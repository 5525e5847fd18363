"""The published InfoGAN's numbers, of its PyTorch descendant, through the real recipe and engine: a step in float64."""

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
from asterism.networks.infogan import Discriminator, Generator, Recogniser
from asterism.recipes.infogan import Config, InfoGAN
from tests.helpers.recipes import trainer_of

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "infogan"
OURS = {"netG": "generator", "discriminator": "discriminator", "netD": "discriminator", "netQ": "recogniser"}

pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded numbers are not beside this checkout")


def ours(held: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """Published names, such as tconv1.weight and bn1.weight, as ours: the place of the layer among all."""
    if part == "netD":
        return {key.replace("conv", "head"): t for key, t in held.items()}
    if part == "netQ":  # Its last layers are one of ours.
        last = {key: torch.cat([held[f"conv_{name}.{key}"] for name in ("disc", "mu", "var")]) for key in ("weight", "bias")}
        held = {key: t for key, t in held.items() if "_" not in key.partition(".")[0]}
        held |= {f"conv3.{key}": t for key, t in last.items()}
    result, place, last_layer = {}, -2, ""
    for key, t in held.items():
        layer, _, name = key.partition(".")
        if layer != last_layer:  # Between layers and the next convolution is an activation.
            place, last_layer = place + (1 if layer.startswith("bn") else 2), layer
        result[f"{'trunk' if part == 'discriminator' else 'main'}.{place}.{name}"] = t
    return result


@pytest.fixture(params=["mnist", "svhn"])
def case(request):
    golden = {key: t.double() for key, t in load_file(GOLDEN / f"{request.param}_step.safetensors").items()}
    with safe_open(GOLDEN / f"{request.param}_step.safetensors", "pt") as file:
        meta = file.metadata()
    width, full = json.loads(meta["widths"]), meta["dataset"] == "MNIST"
    categories, numbers, noise = int(meta["num_dis_c"]), int(meta["num_con_c"]), int(meta["num_z"])
    codes = [f"category{i}={meta['dis_c_dim']}" for i in range(categories)] + [f"number{i}" for i in range(numbers)]
    rates = dict.fromkeys(("generator_lr", "discriminator_lr", "recogniser_lr"), float(meta["lr"]))
    config = Config(
        codes=",".join(codes),
        noise_dim=noise,
        networks="full" if full else "plain",
        conv_dim=width["64"],
        discriminator_conv_dim=width["64"],
        recogniser_dim=width["128"],
        informs="generator",
        category_weight=float(meta["dis_weight"]),
        number_weight=float(meta["con_weight"]),
        **rates,
    )
    channels, size = golden["x_real"].shape[1:3]
    recipe = InfoGAN(config, LabelSpace([LabelGroup("any", (), "binary")]), PictureFormat(channels, size, size))
    total = recipe.abilities.latent
    made, seen = ("1024", "128", "64"), ("64", "128", "1024")
    if not full:
        made, seen = ("448", "256", "128", "64"), ("64", "128", "256")
    seen_widths = [width[key] for key in seen]
    recipe.generator = Generator(channels, size, total, [width[key] for key in made], full=full)
    recipe.discriminator = Discriminator(channels, size, seen_widths, full=full)
    recipe.recogniser = Recogniser(seen_widths[-1], 1 if full else 4, total - noise + numbers, width["128"])
    held = torch.load(GOLDEN / f"{request.param}_model.ckpt", weights_only=True)
    weights: dict[str, dict[str, Tensor]] = {}
    for part, network in OURS.items():
        weights.setdefault(network, {}).update(ours(held[part], part))
    for network, state in weights.items():
        recipe.networks[network].load_state_dict(state)
    recipe.double()
    # The published pictures lie in [0, 1]; those of full networks here in [-1, 1], which they map to it themselves.
    to_ours = (lambda x: 2 * x - 1) if full else (lambda x: x)
    batch = Batch(x=to_ours(golden["x_real"]), z=golden["z"].flatten(1))
    return recipe, batch, golden, to_ours


def close(mine: Tensor, theirs: Tensor, relative: float, absolute: float = 0.0) -> None:
    torch.testing.assert_close(mine.detach().double().flatten(), theirs.flatten(), rtol=relative, atol=absolute)


def stored(golden: dict[str, Tensor], kind: str, network: str) -> dict[str, Tensor]:
    """Return the recorded tensors of one of our networks, under our names."""
    result: dict[str, Tensor] = {}
    for part in (part for part, whose in OURS.items() if whose == network):
        start = f"{kind}.{part}."
        held = {key.removeprefix(start): t for key, t in golden.items() if key.startswith(start)}
        # safetensors sorts keys; the layers come in the order of their numbers, a norm after its convolution.
        order = sorted(held, key=lambda key: (key.partition(".")[0][-1], "bn" in key, key.endswith("bias")))
        result |= ours({key: held[key] for key in order}, part)
    return result


def test_the_networks_give_the_published_outputs(case):
    recipe, batch, golden, to_ours = case
    with torch.no_grad():
        x_fake = recipe.generator(batch.z)
        close(x_fake, to_ours(golden["x_fake"]), 1e-5, 1e-6)
        logits, seen = recipe.discriminator(batch.x)
        close(logits.sigmoid(), golden["d_real"], 1e-5)
        close(seen, golden["trunk_real"], 1e-5, 1e-6)
        close(recipe.discriminator(x_fake)[0].sigmoid(), golden["d_fake"], 1e-5)


def test_a_training_step_agrees(case):
    recipe, batch, golden, to_ours = case
    trainer = trainer_of(recipe)
    passes = []
    recipe.recogniser.register_forward_hook(lambda module, taken, made: passes.append(made.detach()))
    trainer.train_batch(batch, len(batch))
    terms = trainer.statistics.drain(Processes())
    published = {
        "discriminator/real": "d_loss_real",
        "discriminator/fake": "d_loss_fake",
        "generator/adversarial": "g_loss_adv",
        "generator/category": "g_loss_discrete",
    }
    for mine, theirs in published.items():
        close(torch.tensor(terms[mine]), golden[theirs], 2e-6)
    number = terms["generator/number"] * recipe.config.number_weight
    close(torch.tensor(number), golden["g_loss_continuous_weighted"], 2e-6)
    close(torch.tensor(sum(terms[f"generator/{key}"] for key in ("adversarial", "category")) + number), golden["g_loss"], 2e-6)

    codes, numbers = recipe.abilities.codes, sum(not code.values for code in recipe.abilities.codes)
    (q,) = passes
    entropy = sum(torch.tensor(code.values or 2).double().log() for code in codes)
    bound = entropy - terms["generator/category"] - terms["generator/number"]
    close(torch.tensor(terms["generator/information"]), bound[None], 1e-6)
    close(q[:, : -2 * numbers], golden["q_logits"], 1e-5, 1e-5)  # Read by weights that have taken a step.
    close(q[:, -2 * numbers : -numbers], golden["q_mu"], 1e-5, 1e-5)
    close(q[:, -numbers:].exp(), golden["q_var"], 1e-5, 1e-5)

    for network in recipe.networks:
        moments = trainer.optimizers.state_dict()["adam"][network]["state"]
        gradients, after = stored(golden, "grad", network), stored(golden, "after", network)
        parameters = dict(recipe.networks[network].named_parameters())
        assert set(parameters) == set(gradients)
        for index, (key, parameter) in enumerate(parameters.items()):
            largest = float(gradients[key].abs().max())
            close(2 * moments[index]["exp_avg"], gradients[key], 0, 5e-5 * largest)  # Beta1 is 0.5.
            steady = gradients[key].abs() > 1e-4 * largest  # Elsewhere rounding decides Adam's first step, a sign.
            close(parameter[steady], after[key][steady], 1e-6, 1e-7)
        if network == "discriminator":  # The published statistics move in a third pass too, that of the generator's update.
            recipe.discriminator.requires_grad_(True)
            logits, seen = recipe.discriminator(to_ours(golden["x_fake"]))
            close(logits.sigmoid(), golden["d_fake_after"], 1e-5)
            close(seen, golden["trunk_fake_after"], 1e-4, 1e-6)
        for key, t in recipe.networks[network].state_dict().items():
            if "running" in key:
                close(t, after[key], 1e-5, 1e-7)
