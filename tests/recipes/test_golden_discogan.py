"""The published DiscoGAN's numbers, through the real recipe and engine: a discriminator step, a generator step, float64."""

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
from asterism.recipes.discogan import Config, DiscoGAN
from tests.helpers.recipes import trainer_of

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "discogan"
STEP = GOLDEN / "disco_step.safetensors"
NETWORKS = {"generator_A": "gen_A", "generator_B": "gen_B", "discriminator_A": "dis_A", "discriminator_B": "dis_B"}
SPACE = LabelSpace([LabelGroup("pictures", ("A", "B"), "one_of")])

# Published name of a loss -> the term. A reconstruction is named by the domain that comes back in both.
OF_G = {"gen_loss": "adversarial", "fm_loss": "features", "recon_loss": "reconstruction"}

pytestmark = pytest.mark.skipif(not STEP.exists(), reason="the recorded DiscoGAN numbers are not in the repository")


@pytest.fixture
def case():
    """The recorded networks, batch and numbers, in float64; the pictures, of [0, 1], in our range."""
    with safe_open(STEP, "pt") as file:
        meta = file.metadata()
    golden = {key: t.double() for key, t in load_file(STEP).items()}
    width = int(meta["width"])
    config = Config(
        conv_dim=width,
        discriminator_conv_dim=width,
        lr=float(meta["lr"]),
        weight_decay=float(meta["weight_decay"]),
        bottleneck=int(meta["bottleneck"]),
    )
    assert json.loads(meta["betas"]) == [0.5, 0.999] and config.first_rate == float(meta["rate"])
    recipe = DiscoGAN(config, SPACE, PictureFormat(3, 64, 64)).double()
    recipe.to(memory_format=torch.channels_last)  # As the engine has it.
    for theirs, short in NETWORKS.items():
        recipe.networks[theirs.lower()].load_state_dict(torch.load(GOLDEN / f"disco_model_{short}-0.pth", weights_only=True))
    a, b = ((2 * golden[f"in.{d}"] - 1).contiguous(memory_format=torch.channels_last) for d in "AB")
    # The first sample's own picture is of A, the second one's of B.
    x, other = torch.stack([a[0], b[1]]), torch.stack([b[0], a[1]])
    batch = Batch(x=x, x_other=other, y=torch.tensor([0, 1]))
    return recipe, trainer_of(recipe, batch_size=2), batch, golden


def check(mine: Tensor, theirs: Tensor, limit: float) -> None:
    """Compare relative to the largest element."""
    assert mine.dtype == torch.float64
    torch.testing.assert_close(mine.detach().flatten(), theirs.flatten(), rtol=0, atol=limit * float(theirs.abs().max()))


def test_networks_give_the_published_outputs(case):
    recipe, _, batch, golden = case
    a, b = recipe.pair(batch)
    with torch.no_grad():
        x_fake_b, x_fake_a = recipe.generator_b(a), recipe.generator_a(b)
        made = {"AB": x_fake_b, "BA": x_fake_a, "ABA": recipe.generator_a(x_fake_b), "BAB": recipe.generator_b(x_fake_a)}
        for key, y in made.items():
            check((y + 1) / 2, golden[f"out.{key}"], 1e-5)
        for letter, x, x_fake in (("A", a, x_fake_a), ("B", b, x_fake_b)):
            for kind, pictures in (("real", x), ("fake", x_fake)):
                logits, features = recipe.networks[f"discriminator_{letter.lower()}"](pictures)
                check(logits.sigmoid(), golden[f"D.{letter}_dis_{kind}"], 1e-5)
                for layer, h in enumerate(features):
                    check(h.mean(0), golden[f"feat_mean.{letter}_feats_{kind}.{layer}"], 1e-5)


def test_two_training_steps_agree(case):
    """The first step is the discriminators', the second one the generators', judged by the stepped discriminators."""
    recipe, trainer, batch, golden = case
    trainer.optimizers.set_rates(1.0)
    for number, (step, side, update) in enumerate(
        (("dstep", "discriminator", "discriminators"), ("gstep", "generator", "generators"))
    ):
        trainer.step = number
        before = {name: t.detach().clone() for name, t in recipe.named_parameters()}
        trainer.train_batch(batch, 2)
        said = trainer.statistics.drain(Processes())
        assert {name.partition("/")[0] for name in said} == {update}
        for letter in "AB":
            own = letter.lower()
            if side == "discriminator":
                loss = 0.5 * (said[f"{update}/real_{own}"] + said[f"{update}/fake_{own}"])
                assert loss == pytest.approx(golden[f"loss.{step}.dis_loss_{letter}"].item(), rel=2e-6)
            else:
                for theirs, term in OF_G.items():
                    expected = golden[f"loss.{step}.{theirs}_{letter}"].item()
                    assert said[f"{update}/{term}_{own}"] == pytest.approx(expected, rel=4e-6)
            check_weights(recipe, trainer, golden, before, f"{side}_{letter}", step)


def check_weights(recipe, trainer, golden, before: dict[str, Tensor], theirs: str, step: str) -> None:
    """Compare gradients, of which Adam's first moment holds half together with the L2 decay, and the weights after the step."""
    name, config = theirs.lower(), recipe.config
    moments = trainer.optimizers.state_dict()["adam"][name]["state"]
    for index, (key, parameter) in enumerate(recipe.networks[name].named_parameters()):
        expected = golden[f"grad.{step}.{theirs}.{key}"]
        decayed = expected + config.weight_decay * before[f"{name}.{key}"].double()
        check(2 * moments[index]["exp_avg"], decayed.detach(), 5e-5)
        moved = (parameter.detach() - golden[f"after.{step}.{theirs}.{key}"]).abs()
        steady = decayed.abs() > 1e-4 * decayed.abs().max()  # Else the step's sign is rounding's.
        assert bool((moved[steady] <= 0.01 * config.lr).all()) and bool((moved <= 2.1 * config.lr).all()), key


def test_the_generators_loss_is_the_published_sum(case):
    """Weights of the terms early and late in training; and those of the step in which discriminators train."""
    recipe, _, batch, golden = case
    for done, rate in ((0, 0.01), (9_999, 0.01), (10_000, 0.5)):
        with torch.no_grad():
            terms = recipe.generators_terms(batch, torch.tensor(float(done)))
        total = sum(float(weight) * float(value.mean()) for weight, value in terms.values())
        parts = {key: sum(golden[f"loss.dstep.{key}_{letter}"].item() for letter in "AB") for key in OF_G}
        published = (1 - rate) * (0.1 * parts["gen_loss"] + 0.9 * parts["fm_loss"]) + rate * parts["recon_loss"]
        assert total == pytest.approx(published, rel=5e-6)
        if rate == 0.01:
            assert total == pytest.approx(golden["loss.dstep.gen_loss"].item(), rel=5e-6)
