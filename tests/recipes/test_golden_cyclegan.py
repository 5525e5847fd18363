"""The published CycleGAN's numbers, through the real recipe and engine: one step of all four networks."""

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
from asterism.engine.trainer import Trainer
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.cyclegan import Config, CycleGAN
from tests.helpers.recipes import trainer_of

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "cyclegan"
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded CycleGAN numbers are not in the repository")
OURS = {"G_A": "generator_b", "G_B": "generator_a", "D_A": "discriminator_b", "D_B": "discriminator_a"}
SPACE = LabelSpace([LabelGroup("pictures", ("A", "B"), "one_of")])

# Published name of a loss -> the term. Those of G are recorded with their weights.
OF_G = {"G_A": "adversarial_b", "G_B": "adversarial_a", "cycle_A": "cycle_a", "cycle_B": "cycle_b"}
OF_G |= {"idt_A": "identity_b", "idt_B": "identity_a"}
OF_D = {"D_A_real": "real_b", "D_A_fake": "fake_b", "D_B_real": "real_a", "D_B_fake": "fake_a"}


class Case:
    """The recorded networks, batch and numbers, in float64."""

    def __init__(self, own: str = "A") -> None:
        with safe_open(GOLDEN / "cyc32_step.safetensors", "pt") as file:
            meta = file.metadata()
        recorded = load_file(GOLDEN / "cyc32_step.safetensors")
        self.golden = {key: t.double() for key, t in recorded.items()}
        weight = float(meta["lambda_A"])
        assert weight == float(meta["lambda_B"])
        config = Config(
            conv_dim=int(meta["ngf"]),
            num_blocks=int(meta["n_blocks"]),
            discriminator_conv_dim=int(meta["ndf"]),
            cycle_weight=weight,
            identity_weight=weight * float(meta["lambda_identity"]),
            pool_size=int(meta["pool_size"]),
            lr=float(meta["lr"]),
        )
        self.lr, self.noise = config.lr, set(json.loads(meta["grad_is_rounding_noise"]))
        self.recipe = CycleGAN(config, SPACE, PictureFormat(3, 32, 32)).double()
        self.recipe.to(memory_format=torch.channels_last)  # As the engine has it.
        for theirs, name in OURS.items():
            weights = torch.load(GOLDEN / f"cyc32_net_{theirs}.pth", weights_only=True)
            self.recipe.networks[name].load_state_dict(weights)
        a, b = (self.golden[f"in.real_{d}"].contiguous(memory_format=torch.channels_last) for d in "AB")
        # A sample's own picture is of either domain.
        x, other = (a, b) if own == "A" else (b, a)
        self.batch = Batch(x=x, x_other=other, y=torch.tensor([0 if own == "A" else 1]))


def check(mine: torch.Tensor, theirs: torch.Tensor, limit: float) -> None:
    """Compare relative to the largest element; the limits are what rounding of the recording, in float32, leaves."""
    assert mine.dtype == torch.float64
    torch.testing.assert_close(mine.flatten(), theirs.flatten(), rtol=0, atol=limit * float(theirs.abs().max()))


@needs_golden
def test_networks_give_the_published_outputs():
    case = Case()
    golden, recipe, (a, b) = case.golden, case.recipe, (case.batch.x, case.batch.x_other)
    to_a, to_b = torch.tensor([0]), torch.tensor([1])
    with torch.no_grad():
        check(recipe.translate(a, to_b), golden["out.fake_B"], 1e-4)
        check(recipe.translate(b, to_a), golden["out.fake_A"], 1e-4)
        check(recipe.translate(recipe.translate(a, to_b), to_a), golden["out.rec_A"], 1e-4)
        check(recipe.translate(recipe.translate(b, to_a), to_b), golden["out.rec_B"], 1e-4)
        # Told the domain that a picture is of, a model takes it for one of the other.
        check(recipe.translate(b, to_b), golden["out.idt_A"], 1e-4)
        check(recipe.translate(a, to_a), golden["out.idt_B"], 1e-4)
        check(recipe.discriminator_b(b), golden["D_A.real_B"], 1e-4)
        check(recipe.discriminator_a(golden["out.fake_A"]), golden["D_B.fake_A"], 1e-4)


@needs_golden
@pytest.mark.parametrize("own", ["A", "B"])
def test_a_step_of_the_engine_agrees(own):
    """Losses, gradients and weights after both updates of a step, whose fakes are made once, by unstepped generators."""
    case = Case(own)
    trainer: Trainer = trainer_of(case.recipe, batch_size=1)
    golden, batch = case.golden, case.batch.extend(**trainer.pools.plan(0, 1))
    trainer.optimizers.set_rates(1.0)
    trainer.train_batch(batch, 1)

    said = trainer.statistics.drain(Processes())
    weights = {"cycle": case.recipe.config.cycle_weight, "identity": case.recipe.config.identity_weight}
    for theirs, ours in OF_G.items():
        value = weights.get(ours.partition("_")[0], 1.0) * said[f"generators/{ours}"]
        assert value == pytest.approx(golden[f"loss.{theirs}"].item(), rel=2e-5)
    for theirs, ours in OF_D.items():
        assert said[f"discriminators/{ours}"] == pytest.approx(golden[f"loss.{theirs}"].item(), rel=2e-5)

    moments = trainer.optimizers.state_dict()["adam"]
    for theirs, name in OURS.items():
        largest = max(t.norm() for key, t in golden.items() if key.startswith(f"grad.{theirs}."))
        for index, (key, parameter) in enumerate(case.recipe.networks[name].named_parameters()):
            expected, after = golden[f"grad.{theirs}.{key}"], golden[f"after.{theirs}.{key}"]
            gradient = 2 * moments[name]["state"][index]["exp_avg"]  # Of one step, with beta1 = 0.5.
            steady = expected.abs() > 1e-5 * largest
            if f"{theirs}.{key}" in case.noise:  # In front of a norm: its true value is 0.
                assert float(gradient.abs().max()) <= 1e-5 * largest
                steady = torch.zeros_like(steady)
            else:
                check(gradient, expected, 1e-3)
            # Adam's first step is the gradient's sign: of a gradient that is rounding noise it may be either.
            moved = (parameter.detach() - after).abs()
            assert bool((moved[steady] <= 0.01 * case.lr).all()) and bool((moved <= 2.1 * case.lr).all()), key
