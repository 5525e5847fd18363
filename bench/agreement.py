"""Before anything is timed: do both sides compute the same losses and the same gradients?

Gradients are read from Adam's first moments after a step with a learning rate of zero, so they are what training used,
however it was computed, and every update starts from the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.cases import Case, Ours, plain, published
from bench.published_step import Published

FLOAT32 = 1e-4
"""Of a loss, relative to 1 or its size; of a network's whole gradient, as its distance over its length."""

BATCHES = 5

ROUNDING = 2.0
"""A gradient jumps where a ReLU's input or a difference under an absolute value is zero; of millions of elements some are
within rounding of that, and each moves the gradient by up to 1e-2, between equally right computations. And bfloat16 keeps 8
bits, so that no two orders of summation agree closely. So what rounding costs is measured beside, on the same batch: the
published step in float32, or under PyTorch's own bfloat16 autocast, against itself in float64. Where that is more than
1e-4, ours may be off by twice as much. Jumps are chance, so several batches are tried, and an update agrees if it does on
one: a wrong formula agrees on none (tests/test_bench.py holds a small case in float64 to 1e-9)."""

BFLOAT16_LOSS = 2**-8
"""In bfloat16 a loss may be off by one rounding of the largest value of its size, which autocast's falls below by chance."""


@dataclass(frozen=True)
class Differences:
    """How far one update is from the published one in float64.

    Args:
        losses: |difference| / max(1, |published|) by term.
        gradients: ||difference|| / ||published|| by network.
    """

    losses: dict[str, float]
    gradients: dict[str, float]

    def worst(self) -> float:
        """Return the largest of all."""
        return max([*self.losses.values(), *self.gradients.values()])


class DisagreementError(AssertionError):
    """The two sides do not compute the same thing, so comparing their speed means nothing."""


def check(case: Case, options: Mapping[str, str]) -> dict[str, Differences]:
    """Compare every update of a case, asterism with `options` against the published step in float64.

    Returns:
        Update -> differences on the batch where it agreed.

    Raises:
        DisagreementError: names the update, the loss or network, the difference and the tolerance.
    """
    ours = Ours(case, options)
    device = ours.machine.device
    exact, rounded = (published(case, ours, device) for _ in range(2))
    for network in exact.networks.values():
        network.double()
    for side in (exact, rounded):
        for optimizer in side.optimizers.values():
            optimizer.param_groups[0]["lr"] = 0.0
    ours.trainer.optimizers.set_rates(0.0)
    ours.trainer.step = ours.cycle - 1  # Where every update is due.
    agreed: dict[str, Differences] = {}
    for seed in range(BATCHES):
        failures = []
        ours.batch = ours.draw(seed)
        for update in ours.recipe.updates:
            expected = exact.updates[update.name](plain(ours.batch).to(device, torch.float64))
            with torch.autocast(device.type, torch.bfloat16, enabled=ours.machine.dtype == torch.bfloat16):
                terms = rounded.updates[update.name](plain(ours.batch).to(device, torch.float32))
            floor = difference(expected, states(exact), terms, states(rounded), update.trains)
            ours.update(update.name)
            mine = ours.trainer.optimizers.state_dict()["adam"]
            found = difference(expected, states(exact), ours.losses(), mine, update.trains)
            above = exceeded(found, floor, ours.machine.dtype)
            if not above:
                agreed.setdefault(update.name, found)
            elif update.name not in agreed:
                failures.append(f"{case.recipe} {update.name}: {above}")
            for optimizer in (*exact.optimizers.values(), *rounded.optimizers.values(), *map(ours.optimizer, exact.networks)):
                for state in optimizer.state.values():
                    state["exp_avg"].zero_()
        if not failures:
            return agreed
    raise DisagreementError("; ".join(failures))


def difference(
    expected: Mapping[str, float],
    optimizers: Mapping[str, dict[str, Any]],
    losses: Mapping[str, float],
    others: Mapping[str, dict[str, Any]],
    networks: tuple[str, ...],
) -> Differences:
    """Return how far losses and gradients, in the optimisers' states, are from the expected ones."""
    assert losses.keys() == expected.keys(), (losses.keys(), expected.keys())
    gradients = {}
    for name in networks:
        wanted, given = gradient(optimizers[name]), gradient(others[name])
        gradients[name] = float((given - wanted).norm() / wanted.norm())
    return Differences({k: abs(losses[k] - v) / max(1.0, abs(v)) for k, v in expected.items()}, gradients)


def states(side: Published) -> dict[str, dict[str, Any]]:
    """Return the state of every optimiser of the published side."""
    return {name: optimizer.state_dict() for name, optimizer in side.optimizers.items()}


def gradient(state: dict[str, Any]) -> Tensor:
    """Return all that an optimiser's first step was made from as one vector: its first moments, over 1 - beta1."""
    (group,) = state["param_groups"]
    return torch.cat([state["state"][i]["exp_avg"].flatten().double() for i in group["params"]]) / (1 - group["betas"][0])


def exceeded(found: Differences, floor: Differences, dtype: torch.dtype) -> str:
    """Say which difference is above its tolerance; nothing where none is.

    Args:
        floor: what rounding to `dtype` costs the published step.
    """
    for name, value in found.losses.items():
        limit = max(ROUNDING * floor.losses[name], BFLOAT16_LOSS) if dtype == torch.bfloat16 else FLOAT32
        if not value <= limit:  # Not a number, too.
            return f"loss {name} differs by {value:.2g}, more than {limit:.2g}"
    for name, value in found.gradients.items():
        limit = max(ROUNDING * floor.gradients[name], FLOAT32)
        if not value <= limit:
            return f"gradient of the {name} differs by {value:.2g}, more than {limit:.2g}"
    return ""
