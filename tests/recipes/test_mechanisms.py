"""What the contract offers beyond the registry's recipes, each mechanism alone, in a recipe as small as can be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.engine.distributed import Processes
from asterism.engine.pools import Pools
from asterism.engine.step import phase_at
from asterism.networks.layers import BatchNorm2d, Conv2d, InstanceNorm2d
from asterism.objectives.penalties import gradient_penalty, input_gradient
from asterism.recipes.base import SGD, Abilities, Adam, Phase, Recipe, RMSprop, Update
from tests.helpers.recipes import COUNT, SPACES, trainer_of

PICTURE = PictureFormat(3, 8, 8)


@dataclass(frozen=True, kw_only=True)
class Config:
    """No choices."""


class Toy(Recipe):
    """Two networks of a convolution each; subclasses say what they are about."""

    config_type = Config
    averaged = ("generator",)

    def __init__(self, **networks: nn.Module) -> None:
        super().__init__(Config(), SPACES["table"], PICTURE)
        self.abilities = Abilities(translates=True)
        self.updates = (Update("generator", trains=("generator",)),)
        for name, network in networks.items():
            setattr(self, name, network)

    def optimizers(self):
        return {name: Adam(1e-2) for name in self.networks}

    def generator_terms(self, batch: Batch, progress: Tensor):
        return {"square": (1.0, self.generator(batch.x).square().flatten(1).mean(1))}


def conv(seed: int = 0) -> Conv2d:
    torch.manual_seed(seed)
    return Conv2d(3, 3, 3, 1, 1)


def batch(seed: int = 0, count: int = COUNT, dtype: torch.dtype = torch.float32) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, 8, 8, generator=rng, dtype=dtype).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(count, 3)
    return Batch(x=x, labels=labels, known=labels + 1, dataset=torch.zeros(count, dtype=torch.long))


def step(trainer, seed: int = 0) -> None:
    """One training step on a batch of noise, as the loop makes it."""
    trainer.enter_phase()
    made = batch(seed)
    first = trainer.step * COUNT
    trainer.train_batch(made.extend(**trainer.pools.plan(first, COUNT)), COUNT)
    trainer.step += 1
    trainer.average.update(trainer.step * COUNT, COUNT)


# -- phases --------------------------------------------------------------------------------------------------------------


class Growing(Toy):
    """First the generator alone, then both; the second phase forgets the generator's moments."""

    phases = (Phase("low", until=3), Phase("high", resets=("generator",)))

    def __init__(self) -> None:
        super().__init__(generator=conv(), discriminator=conv(1))
        self.updates = (
            Update("generator", trains=("generator",)),
            Update("discriminator", trains=("discriminator",), during=("high",)),
        )

    def discriminator_terms(self, batch: Batch, progress: Tensor):
        return {"square": (1.0, self.discriminator(batch.x).square().flatten(1).mean(1))}


def test_updates_happen_in_their_phases_and_the_recipe_knows_the_phase():
    recipe = Growing()
    trainer = trainer_of(recipe)
    first = recipe.discriminator.weight.clone()
    seen = []
    for number in range(5):
        step(trainer, number)
        seen.append((recipe.phase, bool((recipe.discriminator.weight != first).any())))
    assert seen == [("low", False)] * 3 + [("high", True)] * 2
    assert [phase_at(recipe, number).name for number in (0, 2, 3)] == ["low", "low", "high"]


def test_a_phase_starts_optimiser_and_average_anew():
    recipe = Growing()
    trainer = trainer_of(recipe)
    for number in range(4):
        step(trainer, number)
    steps = trainer.optimizers.state_dict()["adam"]["generator"]["state"][0]["step"]
    assert float(steps) == 1, "of the second phase alone"


def test_a_resumed_run_crosses_the_border_of_phases_as_if_it_had_never_stopped():
    ends = []
    for stop in (None, 3, 4):  # At the border, and after it.
        recipe = Growing()
        trainer = trainer_of(recipe)
        for number in range(6):
            if number == stop:
                state = {k: v for k, v in trainer.state_dict().items()}
                state = torch.load(saved(state), weights_only=True)
                recipe = Growing()
                trainer = trainer_of(recipe)
                trainer.load_state_dict(state)
            step(trainer, number)
        ends.append(recipe.state_dict() | {f"ema.{k}": v for k, v in trainer.average.weights.items()})
    assert all(torch.equal(value, end[key]) for end in ends[1:] for key, value in ends[0].items())


def saved(state):
    import io

    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return file


# -- optimisers ----------------------------------------------------------------------------------------------------------

OPTIMISERS = {
    "adam": (Adam(1e-2, betas=(0.3, 0.9), weight_decay=0.1, eps=1e-6), torch.optim.Adam, {"betas": (0.3, 0.9), "eps": 1e-6}),
    "rmsprop": (RMSprop(1e-2, alpha=0.9, weight_decay=0.1, eps=1e-6), torch.optim.RMSprop, {"alpha": 0.9, "eps": 1e-6}),
    "sgd": (SGD(1e-2, momentum=0.5, weight_decay=0.1), torch.optim.SGD, {"momentum": 0.5}),
}


class Stepped(Toy):
    def __init__(self, optimiser, **update) -> None:
        super().__init__(generator=conv())
        self.optimiser = optimiser
        self.updates = (Update("generator", trains=("generator",), **update),)

    def optimizers(self):
        return {"generator": self.optimiser}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_declared_optimiser_steps_as_pytorchs_does(name):
    """In float64, three steps; terms are float32, so that gradients carry its rounding."""
    declared, kind, options = OPTIMISERS[name]
    recipe, plain = Stepped(declared), conv()
    trainer = trainer_of(recipe)
    theirs = kind(plain.parameters(), lr=1e-2, weight_decay=0.1, **options)
    for number in range(3):
        trainer.apply(recipe.updates[0], batch(number), COUNT, torch.zeros(()))
        theirs.zero_grad()
        plain(batch(number).x).square().flatten(1).mean(1).mean().backward()
        theirs.step()
    for ours, other in zip(recipe.generator.parameters(), plain.parameters(), strict=True):
        # Both take the same float32 gradients but for the order of sums; steps are 1e-2 at most.
        torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_non_finite_step_of_any_optimiser_leaves_no_trace(name):
    ends = []
    for disturbed in (False, True):
        recipe = Stepped(OPTIMISERS[name][0])
        trainer = trainer_of(recipe)
        for number in range(3):
            if disturbed and number != 1:  # Before there are moments, and after.
                bad = batch(number)
                bad.x[0, 0, 0, 0] = math.inf
                trainer.apply(recipe.updates[0], bad, COUNT, torch.zeros(()))
            trainer.apply(recipe.updates[0], batch(number), COUNT, torch.zeros(()))
        ends.append(recipe.state_dict())
        assert trainer.optimizers.skipped.item() == 2 * disturbed
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())


def test_gradients_are_clipped_to_the_norm_that_is_declared():
    recipe = Stepped(SGD(1.0, clip=1e-3))
    before = [p.detach().clone() for p in recipe.generator.parameters()]
    trainer_of(recipe).apply(recipe.updates[0], batch(), COUNT, torch.zeros(()))
    moved = torch.cat([(p.detach() - q).flatten() for p, q in zip(recipe.generator.parameters(), before, strict=True)])
    assert float(moved.norm()) == pytest.approx(1e-3, rel=1e-2)


def test_weights_are_clamped_before_the_update():
    """As published (WGAN): the step itself may leave the bound."""
    recipe = Stepped(SGD(1e-3), clamp=0.01)
    assert recipe.generator.weight.abs().max() > 0.02
    trainer_of(recipe).apply(recipe.updates[0], batch(), COUNT, torch.zeros(()))
    assert recipe.generator.weight.abs().max() < 0.011


# -- pools ---------------------------------------------------------------------------------------------------------------


def published_pool(values: list[Tensor], size: int, plan: list[tuple[bool, int]]) -> list[Tensor]:
    """The published rule, a value at a time: fill, then with the plan's coin exchange with the plan's place."""
    kept, passed = [], []
    for value, (swap, place) in zip(values, plan, strict=True):
        if len(kept) < size:
            kept.append(value)
            passed.append(value)
        elif swap:
            passed.append(kept[place])
            kept[place] = value
        else:
            passed.append(value)
    return passed


def test_a_pool_passes_what_the_published_rule_passes():
    pools, size, passed, plans = Pools({"fake": 3}, 5, Processes()), 3, [], []
    values = [torch.full((1, 1, 1), float(i)) for i in range(40)]
    for first in range(0, 40, 4):
        plan = Batch(**pools.plan(first, 4))
        plans += list(zip(plan.fake_swap.tolist(), plan.fake_slot.tolist(), strict=True))
        passed += list(pools.exchange(Batch(fake=torch.stack(values[first : first + 4])), plan)["pooled_fake"])
    assert torch.equal(torch.stack(passed), torch.stack(published_pool(values, size, plans)))
    swapped = [swap for swap, _ in plans]
    assert not any(swapped[:3]) and 8 < sum(swapped) < 32


class Pooled(Toy):
    """The generator steps first; the discriminator sees what it made before, or earlier fakes."""

    def __init__(self, size: int = 4) -> None:
        super().__init__(generator=conv(), discriminator=conv(1))
        self.pools = {"x_fake": size}
        self.seen: list[Tensor] = []
        self.updates = (
            Update("generator", trains=("generator",), shares=True),
            Update("discriminator", trains=("discriminator",)),
        )

    def share(self, batch: Batch):
        return {"x_fake": self.generator(batch.x)}

    def generator_terms(self, batch: Batch, progress: Tensor):
        x_fake = batch.x_fake if "x_fake" in batch else self.generator(batch.x)
        return {"square": (1.0, x_fake.square().flatten(1).mean(1))}

    def discriminator_terms(self, batch: Batch, progress: Tensor):
        assert not batch.pooled_x_fake.requires_grad
        self.seen.append(batch.pooled_x_fake)
        return {"square": (1.0, self.discriminator(batch.pooled_x_fake).square().flatten(1).mean(1))}


def test_the_discriminator_sees_fakes_of_before_the_generators_step():
    recipe = Pooled(size=0)
    trainer = trainer_of(recipe)
    with torch.no_grad():
        before = recipe.generator(batch().x)
    step(trainer)
    torch.testing.assert_close(recipe.seen[0], before, rtol=0, atol=1e-5)


def test_micro_batches_see_the_same_pool():
    ends = []
    for parts in (1, 3):
        recipe = Pooled()
        trainer = trainer_of(recipe, accumulate=parts)
        seen = []
        for number in range(4):
            recipe.seen.clear()
            step(trainer, number)
            seen.append(torch.cat(recipe.seen))
        ends.append(torch.stack(seen))
    # float32 passes over parts of a batch, and the Adam steps (1e-2) that follow from them.
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-3, atol=1e-4)


def test_a_resumed_run_keeps_its_pools():
    ends = []
    for stop in (None, 2):
        recipe = Pooled()
        trainer = trainer_of(recipe)
        for number in range(4):
            if number == stop:
                state = torch.load(saved(trainer.state_dict()), weights_only=True)
                recipe = Pooled()
                trainer = trainer_of(recipe)
                trainer.load_state_dict(state)
            recipe.seen.clear()
            step(trainer, number)
        ends.append(recipe.seen[0])
    assert torch.equal(*ends)


# -- terms of arguments; penalties by autograd; batch norm ------------------------------------------------------------------


class Levels(Toy):
    def __init__(self) -> None:
        super().__init__(generator=conv())
        self.updates = tuple(Update(f"level_{n}", trains=("generator",), terms="level", args=(n,)) for n in (1, 2))

    def level_terms(self, batch: Batch, progress: Tensor, factor: int):
        return {"square": (1.0, factor * self.generator(batch.x).square().flatten(1).mean(1))}


def test_one_table_serves_several_updates_with_arguments():
    trainer = trainer_of(Levels())
    trainer.train_batch(batch(), COUNT)
    logged = trainer.statistics.drain(trainer.processes)
    assert logged.keys() == {"level_1/square", "level_2/square"} and logged["level_2/square"] > 1.5 * logged["level_1/square"]


class Penalised(Toy):
    """A discriminator with norms, for which no gradient is written out."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        layers = [
            Conv2d(3, 8, 3, 1, 1),
            InstanceNorm2d(8, slope=0.2),
            Conv2d(8, 8, 3, 1, 1),
            InstanceNorm2d(8),
            Conv2d(8, 1, 3),
        ]
        super().__init__(generator=nn.Sequential(*layers))
        self.updates = (Update("generator", trains=("generator",), eager=True),)

    def generator_terms(self, batch: Batch, progress: Tensor):
        return {"penalty": (1.0, gradient_penalty(input_gradient(self.generator, batch.x)))}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_penalty_by_autograd_reaches_every_weight(precision):
    recipe = Penalised()
    trainer = trainer_of(recipe)
    if precision == "bfloat16":
        trainer.machine = type(trainer.machine).choose("cpu", precision)
    trainer.apply(recipe.updates[0], batch(), COUNT, torch.zeros(()))
    moments = trainer.optimizers.state_dict()["adam"]["generator"]["state"]
    weights = [i for i, (key, _) in enumerate(recipe.generator.named_parameters()) if key.endswith("weight")]
    assert all(moments[i]["exp_avg"].abs().max() > 0 for i in weights) and trainer.optimizers.skipped.item() == 0


def test_a_penalty_by_autograd_is_right_to_the_last_digits():
    """In float64, against finite differences of the penalty in every weight of the first layer."""
    recipe = Penalised().double()
    x = batch(count=2, dtype=torch.float64).x
    weight = recipe.generator[0].weight

    def penalty() -> Tensor:
        gradient = input_gradient(recipe.generator, x)
        return (gradient.square().flatten(1).sum(1).sqrt() - 1).square().sum()

    (gradient,) = torch.autograd.grad(penalty(), weight)
    with torch.no_grad():
        for index in [(0, 0, 0, 0), (3, 1, 2, 1), (7, 2, 1, 2)]:
            kept, ends = weight[index].clone(), []
            for shift in (1e-5, -1e-5):
                weight[index] = kept + shift
                ends.append(float(penalty()))
            weight[index] = kept
            assert float(gradient[index]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)


class Normed(Toy):
    coupled = True

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(
            generator=nn.Sequential(Conv2d(3, 3, 3, 1, 1), BatchNorm2d(3)),
            discriminator=nn.Sequential(Conv2d(3, 3, 3, 1, 1), BatchNorm2d(3), nn.LeakyReLU(0.2)),
        )
        self.updates = (
            Update("discriminator", trains=("discriminator",)),
            Update("generator", trains=("generator",)),
        )

    def discriminator_terms(self, batch: Batch, progress: Tensor):
        with torch.no_grad():
            x_fake = self.generator(batch.x)
        return {"square": (1.0, self.discriminator(x_fake).square().flatten(1).mean(1))}

    def generator_terms(self, batch: Batch, progress: Tensor):
        return {"square": (1.0, self.discriminator(self.generator(batch.x)).square().flatten(1).mean(1))}


@pytest.mark.parametrize("again", [False, True], ids=["kept", "computed again"])
def test_running_statistics_move_once_when_their_network_trains_and_not_otherwise(again):
    recipe = Normed()
    trainer = trainer_of(recipe, checkpoint_activations=again)
    trainer.train_batch(batch(), COUNT)
    assert [int(recipe.networks[n][1].num_batches_tracked) for n in ("generator", "discriminator")] == [1, 1]
    x = nn.functional.conv2d(batch().x, *[p.detach() for p in Normed().generator[0].parameters()], padding=1)
    expected = 0.1 * x.mean((0, 2, 3))
    torch.testing.assert_close(recipe.generator[1].running_mean, expected, rtol=1e-4, atol=1e-6)


def test_batch_norm_is_pytorchs_in_training_and_in_use():
    x, ours, theirs = batch().x, BatchNorm2d(3), nn.BatchNorm2d(3)
    assert torch.equal(ours(x), theirs(x)) and ours.state_dict().keys() == theirs.state_dict().keys()
    assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in ours.state_dict().items())
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


# -- told the difference ------------------------------------------------------------------------------------------------------


class Relative(Toy):
    def __init__(self) -> None:
        super().__init__(generator=nn.Linear(3, 3))
        self.abilities = Abilities(translates=True, told="difference")

    def translate(self, x, told, *, s=None, masks=()):
        return x + told[:, :, None, None] / 4


def test_a_recipe_may_be_told_the_difference_and_its_strength():
    from asterism.inference.translator import Translator
    from asterism.recipes.model import Model

    recipe = Relative().eval()
    translator = Translator(Model(recipe, "relative", recipe.space, PICTURE, Config(), {}), "cpu", "float32")
    x, own = torch.zeros(3, 8, 8), {"dark": True, "glasses": False}
    changes = {
        strength: translator.translate(x, {"fair": True, "glasses": True}, labels=own, strength=strength)[:, 0, 0]
        for strength in (0.0, 0.5, 1.0)
    }
    assert [c.tolist() for c in changes.values()] == [[0, 0, 0], [-0.125, 0.125, 0.125], [-0.25, 0.25, 0.25]]
