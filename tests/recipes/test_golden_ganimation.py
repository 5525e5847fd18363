"""The published GANimation's numbers, through the real recipe and engine, in float64: the discriminator's step, the penalty's
step with the same optimiser, the generator's step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.engine.distributed import Processes
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.ganimation import Config, GANimation
from tests.helpers.recipes import trainer_of

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "ganimation"
STEP = GOLDEN / "aus17_step.safetensors"
UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
SPACE = LabelSpace([LabelGroup("faces", tuple(f"AU{unit:02}" for unit in UNITS), "number")])
LAYOUTS = (torch.contiguous_format, torch.channels_last)
# Term -> the published name of its loss, which holds the weight; and where the gradients and weights of the update are.
UPDATES = {
    "discriminator": ({"real": "d_loss_real", "fake": "d_loss_fake", "numbers": "d_loss_cond"}, "d_grad", "d_after"),
    "penalty": ({"penalty": "d_loss_gp"}, "d_grad_gp", "d_after_gp"),
    "generator": (
        {
            "fake": "g_loss_fake",
            "numbers": "g_loss_cond",
            "reconstruction": "g_loss_cyc",
            "attention": "g_loss_mask_1",
            "attention_back": "g_loss_mask_2",
            "smooth": "g_loss_smooth_1",
            "smooth_back": "g_loss_smooth_2",
        },
        "g_grad",
        "g_after",
    ),
}

pytestmark = pytest.mark.skipif(not STEP.exists(), reason="the recorded GANimation numbers are not in the repository")


@pytest.fixture(params=LAYOUTS, ids=str)
def case(request):
    """The recorded networks, batch and numbers; the weights that depend on the batch are those of its three pictures."""
    with safe_open(STEP, "pt") as file:
        hyper = json.loads(file.metadata()["hyper"])
    golden = {key: t.double() for key, t in load_file(STEP).items()}
    count = hyper["batch_size"]
    config = Config(
        conv_dim=hyper["w_g"],
        num_blocks=hyper["n_g"],
        discriminator_conv_dim=hyper["w_d"],
        discriminator_layers=hyper["n_d"],
        number_weight=hyper["lambda_D_cond"] / count,
        smooth_weight=hyper["lambda_mask_smooth"] * count,
    )
    defaults = (config.reconstruction_weight, config.attention_weight, config.penalty_weight, config.critic_steps)
    assert defaults == tuple(hyper[k] for k in ("lambda_cyc", "lambda_mask", "lambda_D_gp", "train_G_every_n_iterations"))
    side = hyper["image_size"]
    recipe = GANimation(config, SPACE, PictureFormat(3, side, side))
    for letter, network in (("G", recipe.generator), ("D", recipe.discriminator)):
        network.load_state_dict(torch.load(GOLDEN / "aus17" / f"net_epoch_30_id_{letter}.pth", weights_only=True))
    recipe.to(torch.float64, memory_format=request.param)
    dataset = torch.zeros(count, dtype=torch.long)
    known = SPACE.known(dataset).double()
    c_src = SPACE.encode(golden["cond_real"], known, dataset)
    batch = Batch(
        x=golden["x_real"].contiguous(memory_format=request.param),
        known=known,
        known_trg=known,
        c_src=c_src,
        c_trg=SPACE.encode(golden["cond_desired"], known, dataset),
        alpha=golden["alpha"],
    )
    return recipe, trainer_of(recipe, batch_size=count), batch, golden


def close(mine: torch.Tensor, theirs: torch.Tensor, share: float = 1e-5) -> None:
    """Apart by at most this share of the tensor's largest value: what the recording in float32 costs."""
    assert mine.dtype == torch.float64
    torch.testing.assert_close(mine.detach().flatten(), theirs.flatten(), rtol=0, atol=share * float(theirs.abs().max()))


def check(mine: torch.Tensor, golden: dict[str, torch.Tensor], name: str, slack: torch.Tensor, share: float) -> None:
    """Compare with a tensor or, of a large one, with its sum, length and first element.

    Args:
        slack: of each element's own, beside its share of the tensor's largest or, of a large one, of its length.
    """
    mine, (where, _, key) = mine.detach(), name.partition(".")
    if name in golden:
        assert bool(((mine - golden[name]).abs() <= share * golden[name].abs().max() + slack).all()), name
        return
    theirs = golden[f"{where}3.{key}"]
    off = (torch.stack([mine.sum(), mine.norm(), mine.flatten()[0]]) - theirs).abs()
    # Elements err independently, and a sum by as much as all together.
    most = share * theirs[1] * torch.tensor([mine.numel() ** 0.5, 1.0, 1.0])
    assert bool((off <= most + torch.stack([slack.sum(), slack.norm(), slack.flatten()[0]])).all()), name


def test_networks_give_the_published_outputs(case):
    recipe, _, batch, golden = case
    with torch.no_grad():
        colours, attention = recipe.generator.heads(batch.x, batch.c_trg)
        close(colours, golden["colour"])
        close(attention, golden["attention"])
        told = recipe.condition(
            Batch(labels=golden["cond_desired"], known=batch.known, dataset=torch.zeros(len(batch), dtype=torch.long))
        )
        x_fake = recipe.translate(batch.x, told)
        close(x_fake, golden["x_fake"])
        close(1 - recipe.attend(batch.x, told), golden["attention"])
        x_rec, back = recipe.generator(x_fake, batch.c_src)
        close(x_rec, golden["x_rec"], 2e-5)  # Of a picture that was rounded already.
        close(back, golden["attention_back"], 2e-5)
        for kind, x in (("real", batch.x), ("fake", x_fake)):
            patches, read = recipe.discriminator(x)
            close(patches, golden[f"d_{kind}_patch"])
            close(read, golden[f"d_{kind}_cond"])
        close(recipe.classify(batch.x), golden["d_real_cond"])


def test_the_three_steps_agree(case):
    recipe, trainer, batch, golden = case
    assert [update.name for update in recipe.updates] == list(UPDATES)
    trainer.optimizers.set_rates(1.0)
    gradients: dict[str, torch.Tensor] = {}
    step = trainer.optimizers.step

    def recording_step(names):
        gradients.clear()
        (network,) = (recipe.networks[name] for name in names)
        gradients.update({key: p.grad.clone() for key, p in network.named_parameters() if p.grad is not None})
        step(names)

    trainer.optimizers.step = recording_step
    for update in recipe.updates:
        named, of_gradients, after = UPDATES[update.name]
        trainer.apply(update, batch, len(batch), torch.zeros(()))
        said = {key.split("/")[1]: value for key, value in trainer.statistics.drain(Processes()).items()}
        table = getattr(recipe, f"{update.name}_terms")(batch, torch.zeros(()))
        watched = {key for key, (weight, _) in table.items() if weight == 0}
        assert said.keys() - watched == named.keys()
        for key, theirs in named.items():
            assert table[key][0] * said[key] == pytest.approx(golden[theirs].item(), rel=5e-6), key
        (network,) = update.trains
        lr = trainer.optimizers.settings[network].lr
        for key, parameter in recipe.networks[network].named_parameters():
            slack = torch.zeros_like(parameter)
            if key in gradients:
                mine, largest = gradients[key].abs(), max(float(g.abs().max()) for g in gradients.values())
                check(gradients[key], golden, f"{of_gradients}.{key}", slack + 1e-8 * largest, 5e-5)
                # Where rounding decides the sign, and with it Adam's first step; the penalty's is the second.
                unsteady = (mine <= 5e-5 * mine.max()) & (update.name != "penalty")
                assert unsteady.float().mean() < 0.2, key
                slack = torch.where(unsteady, 2.1, 0.02) * lr
            else:  # The penalty has no part in the head of numbers, which rests.
                assert (update.name, key) == ("penalty", "conv2.weight")
            check(parameter, golden, f"{after}.{key}", slack, 1e-6)


def test_the_generators_loss_is_the_published_sum(case):
    """With the discriminator as it is after both of its steps."""
    recipe, trainer, batch, golden = case
    trainer.optimizers.set_rates(1.0)
    for update in recipe.updates[:2]:
        trainer.apply(update, batch, len(batch), torch.zeros(()))
    total = sum(
        weight * float(value.detach().mean()) for weight, value in recipe.generator_terms(batch, torch.zeros(())).values()
    )
    assert total == pytest.approx(golden["g_total"].item(), rel=5e-6)


def test_the_weights_of_the_default_are_those_of_the_published_batch():
    batch = GANimation.presets["published"]["train"]["batch_size"]
    assert Config().number_weight == 4000 / batch
    assert Config().smooth_weight == pytest.approx(1e-5 * batch)
