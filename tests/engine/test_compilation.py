"""Compiled updates: one graph each, compiled once, with the results of the updates as written."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from asterism.data.batch import Batch
from asterism.engine.compilation import CompiledTerms, decide
from tests.helpers.recipes import COUNT, SPACES, batch_of, tiny, trainer_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "name",
    ["stargan", pytest.param("fixed_point", marks=pytest.mark.slow), pytest.param("stargan_v2", marks=pytest.mark.slow)],
)
def test_updates_compile_whole_and_once(name, monkeypatch):
    """The compiler's front end alone: tracing, guards and the backward's graph; its loops are PyTorch's own business.

    In float64, since compiled operations are others and round otherwise, which Adam magnifies where gradients are near zero.
    """
    counter = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    monkeypatch.setattr("asterism.engine.compilation.decide", lambda device, choice: (choice == "on", ""))
    ends, made = [], []
    for choice in ("off", "on"):
        recipe = tiny(name, SPACES["joint"]).double()
        trainer = trainer_of(recipe, compile=choice, batch_size=COUNT)
        tables = {u.name for u in recipe.updates} | {u.lazy[0] for u in recipe.updates if u.lazy} | {"share"}
        trainer.optimizers.set_rates(1.0)
        for step in range(3):
            trainer.step = trainer.config.steps - 1  # Where every update is due.
            trainer.train_batch(batch_of(recipe, seed=step), COUNT)
            made.append(counter.frame_count)
        ends.append(recipe.state_dict())
    assert made == [0, 0, 0] + [len(tables)] * 3
    assert ends[0].keys() == ends[1].keys()
    for key, tensor in ends[1].items():
        torch.testing.assert_close(tensor, ends[0][key], rtol=0, atol=1e-9)


def test_what_is_compiled_is_said_with_the_reason(monkeypatch):
    assert decide(CPU, "off") == (False, "not compiled (asked for)")
    assert decide(CPU, "auto") == (False, "not compiled (auto on cpu)")
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/g++" if name == "g++" else None)
    assert decide(CPU, "on")[0]
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert decide(CPU, "on") == (False, "not compiled (compiling needs a C++ compiler, which is not installed)")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert decide(torch.device("cuda"), "auto")[0]


def test_many_trainings_in_one_process_compile(monkeypatch):
    """PyTorch gives up on code that was compiled eight times; each training's is its own."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    monkeypatch.setattr("asterism.engine.compilation.decide", lambda device, choice: (True, ""))
    for factor in range(10):
        recipe = SimpleNamespace(share=lambda batch, factor=factor: {"x": batch.x * factor}, calls_out=False, phase="all")
        tables = CompiledTerms(recipe, CPU, "on")
        assert tables.call("share", Batch(x=torch.ones(1)))["x"].item() == factor
