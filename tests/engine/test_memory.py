"""Memory: computing activations twice changes nothing but memory, what is said to fit does fit, freed memory is kept."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from asterism import malloc
from asterism.config import TrainConfig
from asterism.data.dataset import open_data
from asterism.doctor.estimate import Kept, estimate, what_fits
from asterism.engine.compilation import CompiledTerms
from asterism.engine.trainer import TrainingError
from asterism.inference.memory import available
from asterism.machine import Machine
from asterism.recipes import RECIPES
from asterism.recipes.settings import Settings
from asterism.recipes.stargan import StarGAN
from asterism.training import train
from tests.helpers.packs import TINY
from tests.helpers.recipes import COUNT, SPACES, batch_of, some_space, tiny, trainer_of

NARROW = {key: value for key, value in TINY.items() if key != "data.size"} | {"data.size": 32}
MB = 2**20
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_recomputed_activations_give_the_same_weights_bit_for_bit(name):
    """The same operations are done once more to the same numbers, so that nothing is rounded otherwise."""
    states = []
    for again in (False, True):
        recipe = tiny(name, some_space(name, "joint"))
        trainer = trainer_of(recipe, checkpoint_activations=again)
        for _ in range(2):
            for update in recipe.updates:
                trainer.apply(update, batch_of(recipe), COUNT, torch.zeros(()))
        states.append(recipe.state_dict())
    assert len(states[0]) > 20 and all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items())


def test_recomputed_activations_are_not_kept():
    kept = {}
    for again in (False, True):
        recipe = tiny("stargan_v2", SPACES["folders"])
        trainer = trainer_of(recipe, checkpoint_activations=again)
        held: dict[int, int] = {}

        def note(tensor, held=held):
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()

        trainer.tables.note = note
        trainer.apply(recipe.updates[2], batch_of(recipe), COUNT, torch.zeros(()))
        kept[again] = sum(held.values())
    assert kept[True] < kept[False] / 4


def leave_room_for_two(monkeypatch, table: str) -> None:
    """A device on which this table of StarGAN's can be made of two pictures at a time."""
    terms = getattr(StarGAN, table)

    def limited(self, batch, progress):
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return terms(self, batch, progress)

    monkeypatch.setattr(StarGAN, table, limited)


def test_what_is_asked_for_when_memory_runs_out(shapes_dir, tmp_path, monkeypatch):
    """The run that died goes on with the keys that the error names."""
    leave_room_for_two(monkeypatch, "generator_terms")
    overrides = NARROW | {"train.batch_size": 8, "train.steps": 4}
    with pytest.raises(TrainingError, match="at step 1 .*it fits with --train.accumulate 4; run the same command") as caught:
        train("stargan", shapes_dir, tmp_path / "run", overrides=overrides)
    assert "2.00 GiB" in str(caught.value)
    assert train("stargan", shapes_dir, tmp_path / "run", overrides=overrides | {"train.accumulate": 4}).step == 4


def test_when_only_recomputing_fits_and_when_nothing_does(shapes_dir, tmp_path, monkeypatch):
    terms, fits = StarGAN.discriminator_terms, [True]

    def limited(self, batch, progress):
        if not fits[0] or "forward" not in self.generator.__dict__:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] . DefaultCPUAllocator: can't allocate memory: you tried to")
        return terms(self, batch, progress)

    monkeypatch.setattr(StarGAN, "discriminator_terms", limited)
    with pytest.raises(TrainingError, match="it fits with --train.checkpoint_activations yes;"):
        train("stargan", shapes_dir, tmp_path / "run", overrides=NARROW)
    again = NARROW | {"train.checkpoint_activations": True}
    assert train("stargan", shapes_dir, tmp_path / "run", overrides=again).step == 4
    fits[0] = False
    with pytest.raises(TrainingError, match="no setting that keeps the step unchanged makes it fit"):
        train("stargan", shapes_dir, tmp_path / "other", overrides=NARROW)


def test_other_errors_are_not_taken_for_it(shapes_dir, tmp_path, monkeypatch):
    def broken(self, batch, progress):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(StarGAN, "discriminator_terms", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train("stargan", shapes_dir, tmp_path / "run", overrides=NARROW)


@pytest.mark.parametrize(
    ("room", "settings", "said"),
    [
        (200, {}, "it fits"),
        (200, {"accumulate": 4}, "it fits"),
        (64, {}, "it does not fit; with --train.accumulate 3, which"),
        (40, {"accumulate": 2}, "with --train.accumulate 4, which"),
        (13, {}, "with --train.accumulate 16 --train.checkpoint_activations yes, which"),
        (13, {"checkpoint_activations": True}, "with --train.accumulate 16, which"),
        (11, {}, "no setting that keeps the step unchanged makes it fit: choose a smaller --train.batch_size"),
        (None, {}, ""),
    ],
)
def test_advice_before_training(room, settings, said):
    """10 MiB of state; 6 MiB per picture as written (1.5 MiB computed twice), batches of 16."""
    config = TrainConfig(batch_size=16, **settings)
    micro = -(-16 // config.accumulate)
    kept = Kept(6 * micro * MB, micro * 3 * MB // 2)
    assert said in what_fits(config, 10 * MB, kept, micro, room and round(room * MB))


def test_the_estimate_knows_both_ways(shapes_dir, monkeypatch):
    costs = []
    here = available(Machine.choose("cpu"))
    assert here is None or here > 0
    monkeypatch.setattr("asterism.doctor.estimate.available", lambda machine: 2**40)
    for again in (False, True):
        settings = Settings.resolve("stargan", [str(shapes_dir)], None, NARROW | {"train.checkpoint_activations": again})
        costs.append(estimate(settings, open_data(settings.data)))
    assert costs[1].memory < costs[0].memory
    assert costs[0].fits == "it fits" and costs[0].available == 2**40
    monkeypatch.setattr("asterism.doctor.estimate.available", lambda machine: costs[0].memory)
    settings = Settings.resolve("stargan", [str(shapes_dir)], None, NARROW)
    assert estimate(settings, open_data(settings.data)).fits.startswith("it does not fit")


def test_the_estimate_is_of_all_phases(shapes_dir, monkeypatch):
    """Coarse steps are as many as the run has of them; the memory is that of the phase that keeps most."""
    costs = {"coarse": (1.0, Kept(3 * MB, MB)), "meet": (2.0, Kept(MB, MB)), "whole": (4.0, Kept(9 * MB, 5 * MB))}
    monkeypatch.setattr("asterism.doctor.estimate.measure", lambda recipe, *_: costs[recipe.phase])
    told = {}
    for steps in (500, 1000):
        settings = {"recipe.coarse": 600, "recipe.width": 8, "data.size": 64, "train.steps": steps, "train.batch_size": 2}
        resolved = Settings.resolve("aster", [str(shapes_dir)], None, settings)
        told[steps] = estimate(resolved, open_data(resolved.data))
    assert told[500].seconds == 1000
    assert told[1000].seconds == pytest.approx(1 * 600 + 2 * 200 + 4 * 200)
    assert told[1000].memory - told[500].memory == 6 * MB


def test_nothing_is_compiled_to_estimate_or_to_find_what_fits(shapes_dir, tmp_path, monkeypatch):
    """Compiling takes minutes for each size of a batch."""
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda table, **options: compiled.append(table) or table)
    settings = Settings.resolve("stargan", [str(shapes_dir)], None, NARROW | {"train.compile": "on"})
    assert estimate(settings, open_data(settings.data)).seconds > 0
    assert compiled == []
    leave_room_for_two(monkeypatch, "discriminator_terms")
    with pytest.raises(TrainingError, match="it fits with --train.accumulate 2;"):
        train("stargan", shapes_dir, tmp_path / "run", overrides=NARROW | {"train.compile": "on"})
    assert len(compiled) <= 1  # The update that ran out, at its first use.
    both = CompiledTerms(tiny("stargan", SPACES["folders"]), torch.device("cuda"), "auto", recomputed=True)
    assert not both.compiled


GLIBC = malloc.glibc() is not None


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def fill_and_free(numbers: int = 64 * MB) -> None:
    torch.ones(numbers)


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
def test_a_job_keeps_freed_memory_and_gives_it_back_at_its_end(monkeypatch):
    """In a process of its own: in one that has done other work, the second block may not fit where the first one was."""
    for name in ("TRIM_THRESHOLD", "MMAP_THRESHOLD", "MMAP_MAX"):
        monkeypatch.delenv(f"MALLOC_{name}_", raising=False)
    code = f"from {__name__} import a_job_keeps_freed_memory; a_job_keeps_freed_memory()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=200)
    assert done.returncode == 0, done.stderr


def a_job_keeps_freed_memory():
    before = resident()
    fill_and_free()
    assert resident() - before < 50 * MB
    with malloc.kept():
        fill_and_free()
        kept = resident()
        assert kept - before > 200 * MB
        fill_and_free(60 * MB)
        assert abs(resident() - kept) < 50 * MB, "the second block takes the first one's pages"
    assert resident() - before < 50 * MB
    os.environ["MALLOC_TRIM_THRESHOLD_"] = "65536"
    with malloc.kept():
        fill_and_free()
        assert resident() - before < 50 * MB, "what the user has set stays"


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
def test_training_keeps_freed_memory(shapes_dir, tmp_path, monkeypatch):
    prepare, held = StarGAN.prepare, []

    def measured(self, batch, rng):
        before = resident()
        fill_and_free()
        held.append(resident() - before)
        return prepare(self, batch, rng)

    monkeypatch.setattr(StarGAN, "prepare", measured)
    train("stargan", shapes_dir, tmp_path / "run", overrides=NARROW)
    assert held[0] > 200 * MB
