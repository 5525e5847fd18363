"""CUDA graphs without a GPU: PyTorch's calls are replaced by a tape of kernels, which behaves as a recording does.

Nothing that is done while recording has an effect; replaying does the same kernels to the same memory, and no Python.
"""

from __future__ import annotations

import contextlib
import gc
import types
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from asterism import cuda_graphs
from asterism.cuda_graphs import WARM_UP, Recorder
from asterism.engine.trainer import Trainer
from asterism.inference.translator import Translator
from asterism.recipes.model import Model
from bench.__main__ import SMALL
from bench.cases import Ours
from tests.helpers.recipes import COUNT, SPACES, batch_of, tiny, trainer_of

CUDA_WAITS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::lift_fresh", "aten::where.Scalar", "aten::masked_select")
"""Kernels that wait for the device, or copy a number of Python's to it."""


def tensors_of(values) -> list[torch.Tensor]:
    return [t for t in tree_leaves(values) if isinstance(t, torch.Tensor)]


class Tape(TorchDispatchMode):
    """What a CUDA graph would hold: kernels and the memory that they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: list[tuple] = []

    def __enter__(self):
        self.before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.known = {t.untyped_storage().data_ptr() for t in gc.get_objects() if type(t) in (torch.Tensor, torch.nn.Parameter)}
        return super().__enter__()

    def __torch_dispatch__(self, kernel, kinds, arguments=(), named=None):
        named = named or {}
        name = kernel._schema.name if kernel._overloadname == "default" else f"{kernel._schema.name}.{kernel._overloadname}"
        if name.startswith(CUDA_WAITS):
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        given = tensors_of((arguments, named))
        strangers = [t for t in given if t.untyped_storage().data_ptr() not in self.known and t.numel()]
        if strangers:
            raise RuntimeError(f"operation not permitted when stream is capturing: {name} of numbers from Python")
        if kernel._schema.is_mutable:
            for memory in (torch.empty(0, dtype=torch.uint8).set_(t.untyped_storage()) for t in given):
                self.before.setdefault(memory.data_ptr(), (memory, memory.clone()))
        made = kernel(*arguments, **named)
        self.known |= {t.untyped_storage().data_ptr() for t in tensors_of(made)}
        self.kernels.append((kernel, arguments, named, made))
        return made

    def __exit__(self, *error):
        super().__exit__(*error)
        for tensor, values in self.before.values():  # Recording does nothing.
            tensor.copy_(values)

    def replay(self) -> None:
        with torch.no_grad():
            for kernel, arguments, named, held in self.kernels:
                aliases = any(r.alias_info is not None for r in kernel._schema.returns)
                for new, old in zip(tensors_of(kernel(*arguments, **named)), tensors_of(held), strict=True):
                    if not aliases:
                        old.copy_(new)

    def pool(self) -> str:
        return "pool"


@pytest.fixture
def tapes(monkeypatch) -> list[Tape]:
    """Recorders anywhere make tapes, on the CPU; the plain operations are taken there, as on a GPU."""
    made: list[Tape] = []

    def graph(tape, pool, stream, capture_error_mode):
        assert pool == (None if not made else "pool") and capture_error_mode == "thread_local"
        made.append(tape)
        return tape

    stream = types.SimpleNamespace(wait_stream=lambda other: None)
    cuda = types.SimpleNamespace(
        CUDAGraph=Tape,
        graph=graph,
        Stream=lambda device: stream,
        stream=lambda stream: contextlib.nullcontext(),
        current_stream=lambda device: stream,
    )
    fake = types.SimpleNamespace(cuda=cuda, clear_autocast_cache=torch.clear_autocast_cache)
    monkeypatch.setattr(cuda_graphs, "torch", fake)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: None)
    monkeypatch.setattr("asterism.networks.cpu.handwritten.applies", lambda x: False)
    return made


STEPS = 6


def train(name: str, recorder: Recorder | None, **settings) -> tuple[Trainer, list[dict[str, float]]]:
    """Joint training in which some steps make more updates than others; the last but one has a batch that is no number."""
    recipe = tiny(name, SPACES["joint"], **{} if name == "stargan_v2" else {"critic_steps": 3})
    recipe.updates = tuple(replace(u, lazy=(u.lazy[0], 3)) if u.lazy else u for u in recipe.updates)
    trainer, means = trainer_of(recipe, batch_size=COUNT, **settings), []
    trainer.recorder = recorder
    for step in range(STEPS):
        trainer.optimizers.set_rates(1.0 - step / STEPS)
        for dataset in (0, 1):
            batch = batch_of(recipe, dataset, seed=step)
            trainer.train_batch(batch.extend(x=batch.x * float("nan")) if step == STEPS - 2 else batch, COUNT)
        trainer.step += 1
        if step % 2:
            means.append(trainer.statistics.drain(trainer.processes))
    return trainer, means


@pytest.mark.parametrize(
    ("name", "settings"),
    [("stargan", {}), ("stargan", {"accumulate": 2}), ("stargan_v2", {}), ("fixed_point", {})],
)
def test_replayed_steps_are_the_steps_as_written(name, settings, tapes):
    """Weights, what is logged, rates and weights of terms that fall, steps that are skipped: all of it, to the bit, since the
    same kernels do the same to memory of the same layout."""
    (plain, means), (replayed, found) = train(name, None, **settings), train(name, Recorder(torch.device("cpu")), **settings)
    assert len(tapes) == 2 and not replayed.recorder.refused, "a recording for each kind of step"
    assert found == [pytest.approx(values, rel=0, abs=0, nan_ok=True) for values in means]
    for key, tensor in plain.recipe.state_dict().items():
        assert torch.equal(replayed.recipe.state_dict()[key], tensor), key
    for which in ("skipped", "skipped_in_a_row", "worst_row"):
        assert getattr(replayed.optimizers, which) == getattr(plain.optimizers, which)
    assert plain.optimizers.skipped > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="records on an NVIDIA GPU")
@pytest.mark.parametrize("recipe", ["stargan", "stargan_v2"])
def test_a_gpu_replays_compiled_steps(recipe):
    losses = []
    for choice in ("off", "on"):
        ours = Ours(SMALL[recipe], {"device": "cuda", "precision": "float64", "compile": choice})
        for _ in range(WARM_UP + 2):
            ours.iteration()
        losses.append(ours.losses())
        recorder = ours.trainer.recorder
        assert choice == "off" or (recorder.recordings and not recorder.refused)
    assert losses[0] and losses[1] == pytest.approx(losses[0], rel=1e-6, abs=1e-9)


def test_what_waits_for_the_device_is_not_recorded_but_done(tapes, monkeypatch):
    """A loss that is read back, say. Each call still does the work once, and nothing of the attempt stays."""
    recorder, state = Recorder(torch.device("cpu")), torch.zeros(())

    def work(inputs):
        state.add_(inputs["x"])
        return inputs["x"] * (2.0 if inputs["x"].item() > 0 else 3.0)

    with pytest.warns(UserWarning, match="not recorded as a CUDA graph.*_local_scalar_dense"):
        values = [recorder("work", work, {"x": torch.tensor(float(v))}).item() for v in (1, -1, 2, -2, 3)]
    assert values == [2, -3, 4, -6, 6] and state == 3


def test_results_of_replays_are_the_callers_own(tapes):
    recorder = Recorder(torch.device("cpu"))
    made = [recorder("twice", lambda held: held["x"] * 2, {"x": torch.full((3,), float(v))}) for v in range(6)]
    assert [y[0].item() for y in made] == [0, 2, 4, 6, 8, 10]
    assert len(tapes) == 1 and len(tapes[0].kernels) == 1
    other = recorder("twice", lambda held: held["x"] * 2, {"x": torch.ones(2)})  # Another size is other work.
    assert other.tolist() == [2, 2] and len(tapes) == 1


@pytest.mark.parametrize("name", ["stargan", "stargan_v2", "fixed_point"])
def test_a_translator_replays_whole_batches(name, tapes):
    recipe = tiny(name, SPACES["joint"]).eval().requires_grad_(False)
    translator = Translator(Model(recipe, name, recipe.space, recipe.picture, recipe.config, {}), "cpu", "float32")
    x = torch.rand(4 * (WARM_UP + 2) + 1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    known = {name: False for name in recipe.space.names}
    expected = translator.translate(x, recipe.space.names[0], labels=known, batch_size=4)
    translator.recorder = Recorder(torch.device("cpu"))
    replayed = translator.translate(x, recipe.space.names[0], labels=known, batch_size=4)
    assert len(tapes) == 1 and not translator.recorder.refused
    assert torch.equal(replayed, expected)
