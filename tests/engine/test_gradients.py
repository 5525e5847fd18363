"""Gradients of several processes: messages that leave early, and processes that are gone."""

from __future__ import annotations

import os
import signal
import time
from unittest.mock import patch

import pytest
import torch
from torch import nn

from asterism.config import TrainConfig
from asterism.engine import gradients
from asterism.engine.distributed import ProcessError, Processes
from asterism.engine.gradients import GradientSums
from asterism.engine.step import Steps
from asterism.machine import Machine
from tests.helpers.processes import together
from tests.helpers.recipes import batch_of, some_space, tiny

COUNT = 7
"""Of four processes, three have two samples, and one has one."""


def trained(processes: Processes, name: str):
    """A step of a tiny recipe in float64: its weights; for each update, how many messages left before its end, of how many."""
    recipe = tiny(name, some_space(name, "joint")).double()
    config = TrainConfig(accumulate=2, checkpoint_activations=name == "stargan")
    steps = Steps(recipe, config, Machine.choose("cpu", "float64"), processes)
    left, finish = [], steps.sums.finish

    def finishing():
        left.append((len(steps.sums.sent), len(steps.sums.messages)))
        finish()

    steps.sums.finish = finishing
    steps.optimizers.set_rates(1.0)
    rows = batch_of(recipe, count=COUNT).rows(*processes.rows(COUNT))
    for update in recipe.updates:
        steps.make([update], rows, COUNT)
    return recipe.state_dict(), left


def early_and_late(processes: Processes, name: str):
    """The same with messages as they are, and with messages that all leave when the backward passes are over."""
    with patch.object(gradients, "MESSAGE_BYTES", 2**12 if name == "stargan" else 2**15):
        early = trained(processes, name)
        with patch.object(GradientSums, "_add", lambda self, parameter: None):
            return early, trained(processes, name)


@pytest.mark.parametrize("name", ["stargan", "aster"])
def test_early_messages_change_no_bit_and_four_processes_equal_one(name):
    """With micro-batches of which the last sends, parts of a batch of unequal size, and activations computed again."""
    results = together(4, early_and_late, name)
    (weights, left), (late, left_late) = results[0]
    assert len(weights) > 20 and all(torch.equal(late[key], value) for key, value in weights.items())
    assert all(sent == 0 for sent, _ in left_late)
    assert all(messages >= 3 and sent >= messages - 1 for sent, messages in left), left
    for (others_weights, others_left), _ in results[1:]:
        assert others_left == left and all(torch.equal(others_weights[key], value) for key, value in weights.items())
    for key, value in trained(Processes(), name)[0].items():
        torch.testing.assert_close(weights[key], value, rtol=0, atol=1e-8 * max(1.0, float(value.abs().max())))


def partly_used(processes: Processes):
    """Gradients of four parameters: all processes use the first, the second one only the second, and none the third."""
    parameters = [nn.Parameter(torch.ones(3)) for _ in range(4)]
    sums = GradientSums({"network": parameters}, processes)
    for scale in (1.0, 10.0):  # Gradients of one update are no part of the next one.
        sums.begin(("network",), passes=2)
        for _ in range(2):
            used = [parameters[0]] + [parameters[1]] * (processes.rank == 1) + [parameters[3]]
            sum(p.sum() * scale * (processes.rank + 1) for p in used).backward()
        sums.finish()
        result = [None if p.grad is None else p.grad.tolist() for p in parameters]
        for p in parameters:
            p.grad = None
    return result


def test_a_parameter_that_only_one_process_uses_is_trained_by_all_and_one_that_none_uses_by_none():
    """As in one process, where Adam moves a parameter whose gradient is zero, and not one that has none."""
    assert together(2, partly_used) == [[[60.0] * 3, [40.0] * 3, None, [60.0] * 3]] * 2


def gone(processes: Processes, how: str):
    """Two messages of an update; the last process ends, or is silent, in the middle of its backward pass."""
    parameter = nn.Parameter(torch.ones(3))
    sums = GradientSums({"network": [parameter]}, processes)

    def last_breath(gradient):
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(8)

    for step in range(2):
        sums.begin(("network",), passes=1)
        x = parameter * 2
        if step and processes.rank == 2:
            x.register_hook(last_breath)
        x.sum().backward()
        sums.finish()


@pytest.mark.parametrize("how", ["killed", "silent"])
def test_the_others_are_told_of_a_process_that_is_gone(how):
    """At once where its connection closes; else after a time, here of 3 seconds."""
    results = together(3, gone, how, minutes=3 / 60 if how == "silent" else 10)
    assert results[2] is None if how == "killed" else isinstance(results[2], ProcessError)
    for told in results[:2]:
        assert isinstance(told, ProcessError)
        assert "no answer from the other training processes" in str(told) and "run the same command again" in str(told)


def unlike(processes: Processes, folder, data):
    """Start one run by two commands."""
    from asterism.engine.run import start
    from asterism.recipes.settings import Settings
    from tests.helpers.runs import small

    settings = Settings.resolve("stargan", [str(data)], None, small(train__log_every=2 + processes.rank))
    start(settings, folder / str(processes.rank), None, Machine.choose("cpu"), processes)


def test_nodes_of_unlike_commands_do_not_train_together(shapes_dir, tmp_path):
    first, second = together(2, unlike, tmp_path, shapes_dir)
    assert isinstance(first, ProcessError)
    assert "process 1 has other train than the first: give all nodes the same" in str(second)
