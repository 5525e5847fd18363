"""Gradients of several processes: messages that leave early, and processes that are gone."""

from __future__ import annotations

import os
import signal
import time

import pytest
import torch

from asterism.config import TrainConfig
from asterism.engine import distributed, gradients
from asterism.engine.distributed import ProcessError, Processes
from asterism.engine.gradients import GradientSums
from asterism.engine.step import Steps
from asterism.machine import Machine
from tests.helpers.processes import together
from tests.helpers.recipes import batch_of, some_space, tiny

COUNT = 7
"""Of four processes, three have two samples, and one has one."""


def trained(processes: Processes, name: str, early: bool, accumulate: int = 2):
    """Two steps of a tiny recipe in float64: its weights, and of each update how many of its messages left before its end."""
    gradients.MESSAGE_BYTES = 2**12
    if not early:
        GradientSums._made = lambda self, parameter: None
    recipe = tiny(name, some_space(name, "joint")).double()
    config = TrainConfig(accumulate=1 if recipe.coupled else accumulate, checkpoint_activations=name == "stargan")
    steps = Steps(recipe, config, Machine.choose("cpu", "float64"), processes)
    left, finish = [], steps.sums.finish

    def finishing(names):
        left.append((len(steps.sums.sent), len(steps.sums.messages)))
        finish(names)

    steps.sums.finish = finishing
    steps.optimizers.set_rates(1.0)
    for seed in range(2):
        batch = batch_of(recipe, seed=seed, count=COUNT)
        rows = batch if recipe.coupled else batch.rows(*processes.rows(COUNT))
        for update in recipe.updates:
            steps.make([update], rows, COUNT)
    return recipe.state_dict(), left


@pytest.mark.parametrize("name", ["stargan", "aster"])
def test_early_messages_change_no_bit_and_four_processes_equal_one(name):
    """With micro-batches of which the last sends, parts of a batch of unequal size, and activations computed again."""
    early, late = (together(4, trained, name, early) for early in (True, False))
    (one, _), (weights, left) = trained(Processes(), name, True), early[0]
    for state, sent in early[1:]:
        assert sent == left and all(torch.equal(state[key], value) for key, value in weights.items())
    assert len(weights) > 20 and all(torch.equal(late[0][0][key], value) for key, value in weights.items())
    for key, value in one.items():
        torch.testing.assert_close(weights[key], value, rtol=0, atol=1e-8 * max(1.0, float(value.abs().max())))
    assert all(sent == 0 for sent, _ in late[0][1])
    assert all(messages >= 3 and sent >= messages - 1 for sent, messages in left), left
