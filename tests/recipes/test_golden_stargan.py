"""The published StarGAN's numbers, through the real recipe and engine: one discriminator step, one generator step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.engine.distributed import Processes
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.stargan import Config, StarGAN
from tests.helpers.recipes import trainer_of

GOLDEN = Path(__file__).parents[1] / "golden" / "stargan"
ATTRIBUTES = LabelGroup("celeba", ("a", "b", "c", "d", "e"), "binary")
FACES = LabelGroup("rafd", tuple("12345678"), "one_of")
SPACES = {"celeba": LabelSpace([ATTRIBUTES]), "joint": LabelSpace([ATTRIBUTES, FACES])}


def load(name: str, which: str) -> dict[str, torch.Tensor]:
    state = torch.load(GOLDEN / f"{name}-{which}.ckpt", weights_only=True)
    return {k: v for k, v in state.items() if not k.endswith(("running_mean", "running_var", "num_batches_tracked"))}


@pytest.fixture(params=["celeba", "joint"])
def case(request):
    name, space = request.param, SPACES[request.param]
    golden = load_file(GOLDEN / f"{name}-step.safetensors")
    with safe_open(GOLDEN / f"{name}-step.safetensors", "pt") as file:
        meta = file.metadata()
    config = Config(
        conv_dim=int(meta["conv_dim"]),
        num_blocks=int(meta["g_blocks"]),
        discriminator_conv_dim=int(meta["conv_dim"]),
        discriminator_layers=int(meta["d_layers"]),
        penalty_patches="sum",
    )
    recipe = StarGAN(config, space, PictureFormat(3, int(meta["image_size"]), int(meta["image_size"])))
    recipe.generator.load_state_dict(load(name, "G"))
    recipe.discriminator.load_state_dict(load(name, "D"))
    trainer = trainer_of(recipe)
    dataset = torch.zeros(len(golden["x_real"]), dtype=torch.long)
    pad = (0, space.num_labels - 5)
    batch = Batch(
        x=golden["x_real"],
        dataset=dataset,
        labels=torch.nn.functional.pad(golden["label_org"], pad),
        known=space.known(dataset),
        labels_trg=torch.nn.functional.pad(golden["label_trg"], pad),
        known_trg=space.known(dataset),
        c_src=golden["code_org"],
        c_trg=golden["code_trg"],
        alpha=golden["alpha"],
    )
    return recipe, trainer, batch, golden


def close(mine: torch.Tensor, theirs: torch.Tensor, relative: float = 1e-5, absolute: float = 1e-6) -> None:
    torch.testing.assert_close(mine.flatten(), theirs.flatten(), rtol=relative, atol=absolute)


def check_step(recipe, trainer, golden, network: str, letter: str) -> None:
    """Gradients (Adam's first moment holds half of them, beta1 being 0.5) and weights after the step."""
    parameters = dict(recipe.networks[network].named_parameters())
    largest = max(t.norm() for k, t in golden.items() if k.startswith(f"{letter}_grad."))
    moments = trainer.optimizers.state_dict()["adam"][network]["state"]
    for index, (key, parameter) in enumerate(parameters.items()):
        gradient = 2 * moments[index]["exp_avg"]
        expected = golden[f"{letter}_grad.{key}"]
        # 1e-5 of the network's largest gradient: what is left of biases in front of a norm is rounding noise.
        close(gradient, expected, relative=1e-3, absolute=1e-5 * float(largest))
        steady = expected.abs() > 1e-5 * largest  # Adam's first step is the sign of the gradient: noise decides the rest.
        close(parameter.detach()[steady], golden[f"{letter}_after.{key}"][steady], absolute=1e-6)


def test_networks_give_the_published_outputs(case):
    recipe, _, batch, golden = case
    with torch.no_grad():
        close(recipe.generator(batch.x, batch.c_trg), golden["x_fake"], absolute=1e-5)
        patches, classes = recipe.discriminator(batch.x)
        close(patches, golden["d_real_src"])
        close(classes, golden["d_real_cls"])
        told = recipe.condition(Batch(labels=batch.labels_trg, known=batch.known_trg, dataset=batch.dataset))
        close(recipe.translate(batch.x, told), golden["x_fake"], absolute=1e-5)


def test_encode_gives_the_published_codes(case):
    recipe, _, batch, golden = case
    close(recipe.space.encode(batch.labels, batch.known, batch.dataset), golden["code_org"])
    close(recipe.space.encode(batch.labels_trg, batch.known_trg, batch.dataset), golden["code_trg"])


def test_discriminator_step_then_generator_step_agree(case):
    recipe, trainer, batch, golden = case
    progress = torch.zeros(())
    discriminator, generator = recipe.updates
    assert generator.every == 5

    trainer.apply(discriminator, batch, len(batch), progress)
    terms = trainer.statistics.drain(Processes())
    for mine, theirs in (("real", "real"), ("fake", "fake"), ("class", "cls"), ("penalty", "gp")):
        close(torch.tensor(terms[f"discriminator/{mine}"]), golden[f"d_loss_{theirs}"])
    check_step(recipe, trainer, golden, "discriminator", "d")

    trainer.apply(generator, batch, len(batch), progress)
    terms = trainer.statistics.drain(Processes())
    for mine, theirs in (("fake", "fake"), ("class", "cls"), ("reconstruction", "rec")):
        close(torch.tensor(terms[f"generator/{mine}"]), golden[f"g_loss_{theirs}"], relative=1e-4)
    check_step(recipe, trainer, golden, "generator", "g")
