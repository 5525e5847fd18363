"""Several processes: messages that leave early, processes that are gone, told to stop, or started unlike."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import nn

from asterism.config import TrainConfig
from asterism.engine import gradients
from asterism.engine.distributed import ProcessError, Processes
from asterism.engine.gradients import GradientSums
from asterism.engine.run import start
from asterism.engine.step import Steps
from asterism.engine.trainer import Outcome, Trainer
from asterism.machine import Machine
from asterism.recipes.settings import Settings
from tests.helpers.processes import together
from tests.helpers.recipes import batch_of, some_space, tiny
from tests.helpers.runs import small

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


def started(processes: Processes, folder: Path, data: Path, **changes: object) -> Trainer:
    """A run of its own folder, as each node has that shares none with the first one's."""
    settings = Settings.resolve("stargan", [str(data)], None, small(**changes))
    return start(settings, folder / str(processes.rank), None, Machine.choose("cpu"), processes)


def unlike(processes: Processes, folder: Path, data: Path):
    """Start one run by two commands."""
    started(processes, folder, data, train__log_every=2 + processes.rank)


def test_nodes_of_unlike_commands_do_not_train_together(shapes_dir, tmp_path):
    first, second = together(2, unlike, tmp_path, shapes_dir)
    assert isinstance(first, ProcessError)
    assert "process 1 has other train than the first: give all nodes the same" in str(second)


def stopped(processes: Processes, folder: Path, data: Path):
    """Train, and send SIGTERM to the second process alone, in its third step; then resume for a step."""
    trainer = started(processes, folder, data, train__steps=9)
    step = trainer.train_step

    def interrupted(drawn):
        step(drawn)
        if trainer.step == 3 and processes.rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    trainer.train_step = interrupted
    ended = trainer.train()
    again = started(processes, folder, data, train__steps=4)
    return ended, again.step, again.train(), again.recipe.state_dict()


def test_a_signal_to_one_process_stops_all_and_the_first_ones_checkpoint_is_everyones(shapes_dir, tmp_path):
    results = together(2, stopped, tmp_path, shapes_dir)
    for rank, (ended, resumed, last, weights) in enumerate(results):
        assert ended == Outcome(3, signal.SIGTERM, rank == 0) and resumed == 3 and last == Outcome(4, None, rank == 0)
        assert all(torch.equal(results[0][3][key], value) for key, value in weights.items())
    assert (tmp_path / "0" / "checkpoints").is_dir() and not (tmp_path / "1").exists()
