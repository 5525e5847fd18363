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

BATCHES = 3

BFLOAT16_FACTOR = 2.0
BFLOAT16_LOSS = 2**-8
"""bfloat16 keeps 8 bits, so no two orders of summation agree closely. What rounding costs is measured beside: the
published step under PyTorch's own bfloat16 autocast, against itself in float32. Ours may be off by twice as much, since it
also rounds where autocast does not (the normalisation's input), and losses by one rounding of the largest value of their
size, which autocast's error falls below by chance."""


@dataclass(frozen=True)
class Differences:
    """How far one update is from the float32 published one.

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
    """Compare every update of a case, asterism with `options` against the published step in float32.

    The gradient of a mean absolute difference jumps where the difference is zero, so one element within rounding of zero
    can move it by 1e-3 between equally right computations. Up to three batches are tried, and an update agrees if it does
    on one: a wrong formula agrees on none.

    Returns:
        Update -> differences on the batch where it agreed.

    Raises:
        DisagreementError: names the update, the loss or network, the difference and the tolerance.
    """
    ours = Ours(case, options)
    device = ours.machine.device
    exact, rounded = (published(case, ours, device) for _ in range(2))
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
            expected = exact.updates[update.name](plain(ours.batch))
            autocast = None
            if ours.machine.dtype == torch.bfloat16:
                with torch.autocast(device.type, torch.bfloat16):
                    terms = rounded.updates[update.name](plain(ours.batch))
                autocast = difference(expected, states(exact), terms, states(rounded), update.trains)
            ours.update(update.name)
            mine = ours.trainer.optimizers.state_dict()["adam"]
            found = difference(expected, states(exact), ours.losses(), mine, update.trains)
            above = exceeded(found, autocast)
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


def exceeded(found: Differences, autocast: Differences | None) -> str:
    """Say which difference is above its tolerance; nothing where none is."""
    for kind, values in (("loss", found.losses), ("gradient", found.gradients)):
        for name, value in values.items():
            limit = FLOAT32
            if autocast is not None:
                theirs = (autocast.losses if kind == "loss" else autocast.gradients)[name]
                limit = max(BFLOAT16_FACTOR * theirs, BFLOAT16_LOSS if kind == "loss" else FLOAT32)
            if not value <= limit:  # Not a number, too.
                return f"{kind} {name} differs by {value:.2g}, more than {limit:.2g}"
    return ""
