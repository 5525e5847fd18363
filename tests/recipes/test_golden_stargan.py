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
LAYOUTS = (torch.contiguous_format, torch.channels_last)
SPACES = {"celeba": LabelSpace([ATTRIBUTES]), "joint": LabelSpace([ATTRIBUTES, FACES])}


def load(name: str, which: str) -> dict[str, torch.Tensor]:
    state = torch.load(GOLDEN / f"{name}-{which}.ckpt", weights_only=True)
    return {k: v for k, v in state.items() if not k.endswith(("running_mean", "running_var", "num_batches_tracked"))}


@pytest.fixture(params=[(name, layout) for name in SPACES for layout in LAYOUTS], ids=str)
def case(request):
    """In float64, as the numbers were computed: in float32 one ReLU whose input is zero but for rounding moves gradients by
    up to 1e-2 of the largest, on every processor another."""
    name, layout = request.param
    space, golden = SPACES[name], load_file(GOLDEN / f"{name}-step.safetensors")
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
    recipe.to(torch.float64, memory_format=layout)
    dataset = torch.zeros(len(golden["x_real"]), dtype=torch.long)
    pad = (0, space.num_labels - 5)
    batch = Batch(
        x=golden["x_real"].contiguous(memory_format=layout),
        dataset=dataset,
        labels=torch.nn.functional.pad(golden["label_org"], pad),
        known=space.known(dataset),
        labels_trg=torch.nn.functional.pad(golden["label_trg"], pad),
        known_trg=space.known(dataset),
        c_src=golden["code_org"],
        c_trg=golden["code_trg"],
        alpha=golden["alpha"],
    )
    return recipe, trainer_of(recipe), batch.to("cpu", torch.float64), golden


def close(mine: torch.Tensor, theirs: torch.Tensor, share: float = 1e-6, absolute: float = 0.0) -> None:
    """Apart by at most this share of the tensor's largest value; theirs, stored in float32, are rounded by 6e-8 of it."""
    assert mine.dtype == torch.float64
    most = share * float(theirs.abs().max()) + absolute
    torch.testing.assert_close(mine.flatten(), theirs.double().flatten(), rtol=0, atol=most)


def check_step(recipe, trainer, golden, network: str, letter: str) -> None:
    """Gradients (Adam's first moment holds half of them, beta1 being 0.5) and weights after the step."""
    parameters = dict(recipe.networks[network].named_parameters())
    moments = trainer.optimizers.state_dict()["adam"][network]["state"]
    assert len(parameters) == len(moments) > 5
    for index, (key, parameter) in enumerate(parameters.items()):
        close(2 * moments[index]["exp_avg"], golden[f"{letter}_grad.{key}"], share=1e-5)
        # Adam's first step is rate g / (|g| + 1e-8): where g is as small as that, a difference of 1e-11 is 1e-3 of the rate.
        close(parameter.detach(), golden[f"{letter}_after.{key}"], absolute=1e-3 * trainer.optimizers.settings[network].lr)


def test_networks_give_the_published_outputs(case):
    recipe, _, batch, golden = case
    with torch.no_grad():
        close(recipe.generator(batch.x, batch.c_trg), golden["x_fake"])
        patches, classes = recipe.discriminator(batch.x)
        close(patches, golden["d_real_src"])
        close(classes, golden["d_real_cls"])
        told = recipe.condition(Batch(labels=batch.labels_trg, known=batch.known_trg, dataset=batch.dataset))
        close(recipe.translate(batch.x, told), golden["x_fake"])


def test_encode_gives_the_published_codes(case):
    recipe, _, batch, golden = case
    assert torch.equal(recipe.space.encode(batch.labels, batch.known, batch.dataset), golden["code_org"].double())
    assert torch.equal(recipe.space.encode(batch.labels_trg, batch.known_trg, batch.dataset), golden["code_trg"].double())


def test_discriminator_step_then_generator_step_agree(case):
    recipe, trainer, batch, golden = case
    progress = torch.zeros(())
    discriminator, generator = recipe.updates
    assert generator.every == 5
    named = {"real": "real", "fake": "fake", "class": "cls", "penalty": "gp", "reconstruction": "rec"}
    for update, letter in ((discriminator, "d"), (generator, "g")):
        trainer.apply(update, batch, len(batch), progress)
        terms = trainer.statistics.drain(Processes())
        assert len(terms) == {"d": 4, "g": 3}[letter]
        for name, value in terms.items():
            close(torch.tensor(value, dtype=torch.float64), golden[f"{letter}_loss_{named[name.split('/')[1]]}"])
        check_step(recipe, trainer, golden, update.name, letter)
