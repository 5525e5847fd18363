"""The training loop: what happens in one step, in what order, and what is kept."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from asterism.config import ConfigError, TrainConfig
from asterism.cuda_graphs import Recorder
from asterism.data.batch import Batch
from asterism.data.loader import Loader
from asterism.data.pictures import to_float
from asterism.data.transforms import fit_stored, mirror, zoom
from asterism.engine import checkpoint, memory
from asterism.engine.best import Best, Evaluation
from asterism.engine.compilation import CompiledTerms
from asterism.engine.distributed import Processes
from asterism.engine.ema import Average
from asterism.engine.listener import Listener
from asterism.engine.log import Log
from asterism.engine.optimizers import Optimizers, freeze_others, rate_factor
from asterism.engine.pools import Pools
from asterism.engine.statistics import Statistics
from asterism.errors import AsterismError, ran_out
from asterism.machine import Machine
from asterism.recipes.base import Phase, Recipe, Terms, Update
from asterism.recipes.model import save_model
from asterism.signals import stop_signals
from asterism.storage.model_file import FILE_NAME

STOP_CHECK_STEPS = 10
"""Several processes agree this often on whether one of them was told to stop, since agreeing costs a message."""


class TrainingError(AsterismError, RuntimeError):
    """Training cannot go on; the message says why and what is kept."""


class Preview(Protocol):
    """Draws the previews of a run."""

    def draw(self, recipe: Recipe, step: int) -> None:
        """Write the preview of a step, from the recipe's present weights."""


@dataclass(frozen=True)
class Outcome:
    """How training ended: at which step, and by which signal if by one."""

    step: int
    signal: int | None = None


class Trainer:
    """Trains a recipe.

    Args:
        recipe: on the machine's device.
        loader: batches by step.
        config: resolved: steps and decay_steps hold, epochs are converted.
        run: the run's folder.
        identity: what checkpoints say about the run: settings, labels, picture, data fingerprint (JSON values).
        previews: draws pictures; None draws none.
        info: what the model file says about the run.
        listener: told how training goes on.
    """

    def __init__(
        self,
        recipe: Recipe,
        loader: Loader,
        config: TrainConfig,
        run: Path,
        *,
        machine: Machine,
        processes: Processes,
        identity: dict[str, Any],
        previews: Preview | None,
        info: dict[str, Any],
        listener: Listener,
    ) -> None:
        self.recipe, self.loader, self.config, self.run = recipe, loader, config, run
        self.machine, self.processes = machine, processes
        self.identity, self.previews, self.info = identity, previews, info
        if recipe.coupled and config.accumulate > 1:
            raise ConfigError(
                f"train.accumulate {config.accumulate}: {type(recipe).__name__} normalises over the samples of a batch, so a "
                "batch cannot be split; take a smaller --train.batch_size"
            )
        memory.recompute_activations(recipe, config.checkpoint_activations)
        self.tables = CompiledTerms(recipe, machine.device, config.compile, config.checkpoint_activations)
        alone = self.tables.compiled and processes.world == 1  # Messages between processes are not recorded.
        self.recorder = Recorder(machine.device) if alone and machine.device.type == "cuda" else None
        self.optimizers = Optimizers(recipe, machine.device)
        self.average = Average(recipe, config.ema_kimg, config.ema_ramp)
        self.pools = Pools(recipe.pools, config.seed, processes)
        self.statistics = Statistics(machine.device)
        self.listener = listener
        self.evaluation: Evaluation | None = None
        self.best = Best()
        self.exhausted = False
        self.step = 0
        self.signal: int | None = None
        self.waited = 0.0
        self.saved_at = -1

    # -- the loop --------------------------------------------------------------------------------------------------

    def train(self) -> Outcome:
        """Train to the last step, or until a signal asks to stop; either way everything is saved.

        Raises:
            TrainingError: too many non-finite steps in a row.
            CheckpointError: a checkpoint could not be written.
        """
        self.log = Log(self.run, self.step) if self.processes.first else None
        self.started, self.logged_at = time.perf_counter(), self.step
        batches = self.loader.iterate(self.step)
        drawn: list[tuple[Batch, dict[str, Tensor]]] = []
        self.exhausted = self.patience_is_over()  # A run that ended early does so again, unless it was given more patience.
        self.listener.start(self.step, self.config.steps)
        try:
            with stop_signals(self.ask_to_stop), self.machine.backend_flags():
                while True:
                    last = self.step >= self.config.steps or self.stopping()
                    self.maintain(last)
                    if last or self.exhausted:
                        return Outcome(self.step, self.signal)
                    asked = time.perf_counter()
                    drawn = next(batches)
                    self.waited += time.perf_counter() - asked
                    self.train_step(drawn)
                    self.listener.advance(self.step)
        except RuntimeError as error:
            if not ran_out(error):
                raise
            error.__traceback__ = None  # Its frames hold the tensors that filled the memory.
            raise TrainingError(f"out of memory at step {self.step} ({error}). {memory.what_fits(self, drawn)}") from error
        finally:
            batches.close()
            self.listener.stop()

    def train_step(self, drawn: list[tuple[Batch, dict[str, Tensor]]]) -> None:
        """Train on the batches of one step, one per dataset, in order."""
        self.enter_phase()
        self.rates = self.optimizers.set_rates(rate_factor(self.step, self.config.steps, self.config.decay_steps))
        for whole, stored in drawn:
            self.train_batch(self.prepare(whole, stored), len(whole))
        pictures = sum(len(whole) for whole, _ in drawn)
        self.step += 1
        self.average.update(self.step * pictures, pictures)

    def enter_phase(self) -> None:
        """Tell the recipe which phase the step belongs to; where it begins one, start anew what the phase resets."""
        phase, before = phase_at(self.recipe, self.step), phase_at(self.recipe, self.step - 1)
        self.recipe.enter(phase.name)
        if self.step and phase != before:
            self.optimizers.restart([name for name in phase.resets if name in self.optimizers.settings])
            self.average.restart(phase.resets)

    def prepare(self, whole: Batch, stored: dict[str, Tensor]) -> Batch:
        """Return this process's rows of a batch on the device, with every random choice of the step made.

        Choices are drawn for the whole batch, before it is divided among processes and micro-batches.
        """
        draws = self.recipe.prepare(whole, step_generator(self.config.seed, self.step, int(whole.dataset[0])))
        device, dtype = self.machine.device, self.machine.full_dtype
        rows = whole.extend(**draws).rows(*self.processes.rows(len(whole))).to(device, dtype, non_blocking=True)
        dataset = int(whole.dataset[0])
        first = (self.step * self.recipe.space.num_datasets + dataset) * len(whole)
        plan = Batch(**self.pools.plan(first, len(whole))).to(device)
        rows = rows.extend(**dict(plan.items()))
        for name, pictures in stored.items():  # x, and x_<stream> of every stream of the recipe.
            fitted = fit_stored(pictures.to(device, non_blocking=True), self.recipe.picture)
            x = to_float(fitted, self.recipe.picture).to(dtype)
            suffix = name.removeprefix("x")
            if f"window{suffix}" in rows:
                x = zoom(x, getattr(rows, f"window{suffix}"))
            x = mirror(x, getattr(rows, f"mirror{suffix}"))
            rows = rows.extend(**{name: x.contiguous(memory_format=self.machine.memory_format)})
        with torch.no_grad(), self.machine.autocast():
            return rows.extend(**self.recipe.observe(rows))

    def train_batch(self, batch: Batch, total: int) -> None:
        """Make every update that is due; `total` counts the batch's samples over all processes."""
        self.make([update for update in self.recipe.updates if update.due(self.step, self.recipe.phase)], batch, total)

    def make(self, updates: Sequence[Update], batch: Batch, total: int) -> None:
        """Run these updates of one step in order, making shared tensors once; on CUDA, replay a graph of it."""

        def work(tensors: Mapping[str, Tensor]) -> None:
            self.recipe.zero_grad()  # A recording that failed leaves gradients that were never computed.
            held = Batch(**{name: t for name, t in tensors.items() if name != "progress"})
            for update in updates if len(updates) > 1 else ():
                if update.shares and self.config.accumulate == 1:
                    freeze_others(self.recipe, update.trains)
                    with self.machine.autocast():
                        held = held.extend(**self.tables.call("share", held))
            if self.recipe.pools:
                held = held.extend(**self.pools.exchange(self.shared(held), held))
            for update in updates:
                self.apply(update, held, total, tensors["progress"])

        tensors = dict(batch.items()) | {"progress": torch.full((), float(self.step), device=self.machine.device)}
        if self.recorder is None:
            work(tensors)
        else:
            key = (self.recipe.phase, *((update.name, self.is_lazy(update)) for update in updates))
            self.recorder(key, work, tensors)

    def shared(self, batch: Batch) -> Batch:
        """Return what updates share, without gradients where it was not made for them: micro-batch by micro-batch."""
        if all(name in batch for name in self.recipe.pools):
            return batch
        with torch.no_grad(), self.machine.autocast():
            parts = [self.tables.call("share", micro) for micro in split(batch, self.config.accumulate)]
        return Batch(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})

    def apply(self, update: Update, batch: Batch, total: int, progress: Tensor) -> None:
        """One optimisation step: sum the weighted terms, differentiate micro-batch by micro-batch, step."""
        if update.clamp is not None:
            self.optimizers.clamp(update.trains, update.clamp)
        for micro in split(batch, self.config.accumulate):
            for terms in self.differentiate(update, micro, total, progress, self.is_lazy(update)):
                self.statistics.add(update.name, terms)
        self.optimizers.step(update.trains, self.processes)

    def is_lazy(self, update: Update) -> bool:
        """Say whether this step takes an update's costly table too."""
        return update.lazy is not None and (self.step + 1) % update.lazy[1] == 0

    def differentiate(self, update: Update, micro: Batch, total: int, progress: Tensor, lazy: bool) -> list[Terms]:
        """Add the gradients of an update's terms over a micro-batch, with `lazy` those of its costly table too."""
        freeze_others(self.recipe, update.trains)
        tables = [(update, 1)]
        if update.lazy and lazy:
            tables.append((replace(update, terms=update.lazy[0]), update.lazy[1]))
        result = []
        for table, factor in tables:  # One after the other: the graph of one is gone before the next is built.
            with self.machine.autocast():
                terms = self.tables.terms(table, micro, progress)
            loss = torch.stack([factor * weight * value.sum() / total for weight, value in terms.values()]).sum()
            loss.backward()
            result.append({key: (weight, value.detach()) for key, (weight, value) in terms.items()})
        return result

    # -- between steps ---------------------------------------------------------------------------------------------

    def maintain(self, last: bool) -> None:
        """Log, preview and save where this step is due; the first and the last state take the same path."""
        if self.step > self.logged_at and (last or self.step % self.config.log_every == 0):
            self.write_log()
        resumed = self.saved_at == self.step
        if not resumed and self.evaluation_is_due():
            self.evaluate()
            last = last or self.exhausted
        if not resumed and (last or (self.step and self.step % self.config.checkpoint_every == 0)):
            self.save()
        finished = self.exhausted or self.step >= self.config.steps
        if self.previews and self.processes.first and not resumed and (finished or self.step % self.config.preview_every == 0):
            with self.in_use(), self.machine.autocast(), torch.no_grad():
                self.previews.draw(self.recipe, self.step)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Within it, the recipe is as a trained model will be: averaged weights, and norms with their running statistics."""
        with self.average.applied():
            self.recipe.eval()
            try:
                yield
            finally:
                self.recipe.train()

    def evaluation_is_due(self) -> bool:
        """Say whether this step is measured: every so many, and the last one of a run that long; the same in all processes."""
        every, finished = self.config.evaluate_every, self.step >= self.config.steps
        return self.recipe.abilities.makes_pictures and 0 < every <= self.step and (finished or self.step % every == 0)

    def patience_is_over(self) -> bool:
        """Say whether too many evaluations in a row were no better than the best."""
        return 0 < self.config.patience <= self.best.waited

    def evaluate(self) -> None:
        """Measure the averaged weights, keep them if they are the best so far, and see whether patience is at its end."""
        if self.step > self.logged_at:  # So that the speed of training is that of training alone.
            self.write_log()
        if self.evaluation is not None and self.log is not None:
            began = time.perf_counter()
            with self.in_use():
                scores = self.evaluation.measure(self.recipe)
            seconds = time.perf_counter() - began
            self.log.write_scores(self.step, scores, seconds)
            better = self.best.take(self.step, scores, self.evaluation.criterion, self.evaluation.better)
            values = "  ".join(f"{name} {value:.4g}" for name, value in scores.items() if value is not None)
            verdict = f"the best by {self.best.criterion}" if better else f"the best is step {self.best.step}"
            self.listener.say(f"step {self.step}: {values}  ({verdict}; measured in {seconds:.1f} s)")
            if better:
                checkpoint.write(self.run / "checkpoints" / checkpoint.BEST, self.state_dict())
                self.write_model(self.recipe.state_dict() | self.average.weights)
            self.started += time.perf_counter() - began
            self.exhausted = self.patience_is_over()
            if self.exhausted:
                self.listener.say(f"stopping early: no better one in {self.best.waited} measurements (train.patience)")
        self.exhausted = self.processes.any(self.exhausted, self.machine.device)

    def write_log(self) -> None:
        """Read the statistics back, print and write them, and stop a run whose steps are all skipped."""
        terms = self.statistics.drain(self.processes)
        skipped, worst = self.optimizers.skipped.item(), self.optimizers.worst_row.item()
        now = time.perf_counter()
        elapsed, steps = now - self.started, self.step - self.logged_at
        images = self.config.batch_size * self.recipe.space.num_datasets
        line = {
            "step": self.step,
            "images": self.step * images,
            "seconds": 0.0,
            "images_per_second": round(steps * images / elapsed, 3),
            "waiting": round(self.waited / elapsed, 4),
            "lr": self.rates,
            "terms": terms,
            "skipped": int(skipped),
        }
        if self.log is not None:
            self.log.seconds += elapsed
            self.log.write(line | {"seconds": round(self.log.seconds, 3)})
        self.listener.show(line, (self.config.steps - self.step) * elapsed / steps)
        self.started, self.logged_at, self.waited = now, self.step, 0.0
        if worst >= self.config.max_skipped:
            bad = [name for name, value in terms.items() if value != value or abs(value) == float("inf")]
            kept = checkpoint.find(self.run / "checkpoints")
            raise TrainingError(
                f"stopped at step {self.step}: {int(worst)} updates in a row had values that are not finite"
                f"{' (' + ', '.join(bad) + ')' if bad else ''} and were skipped. Last good checkpoint: "
                f"{kept[-1].name if kept else 'none'}. Lower the learning rates, or try --train.precision float32."
            )

    def save(self) -> None:
        """Write the checkpoint, and the model file unless it holds a better one."""
        if self.processes.first:
            folder = self.run / "checkpoints"
            checkpoint.write(folder / f"step_{self.step:08d}.pt", self.state_dict())
            checkpoint.prune(folder, self.config.keep)
            if self.best.step is None:  # Else the model file holds the best.
                self.write_model(self.recipe.state_dict() | self.average.weights)
        self.saved_at = self.step
        self.processes.wait()

    def write_model(self, weights: dict[str, Tensor]) -> None:
        """Write the model file: of the best evaluation, with what was measured, else of this step."""
        facts: dict[str, Any] = {"step": self.step, "phase": self.recipe.phase}
        if self.best.step is not None:
            facts |= {"step": self.best.step, "scores": self.best.scores, "criterion": self.best.criterion}
        name = self.identity["settings"]["name"]
        save_model(self.run / FILE_NAME, self.recipe, name, weights, info=self.info | facts)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest of the run depends on."""
        return {
            "step": self.step,
            "networks": self.recipe.state_dict(),
            "average": self.average.weights,
            "optimizers": self.optimizers.state_dict(),
            "pools": self.pools.kept,
            "best": dataclasses.asdict(self.best),
            **self.identity,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.step = self.saved_at = state["step"]
        self.recipe.load_state_dict(state["networks"])
        self.average.load(state["average"])
        self.optimizers.load_state_dict(state["optimizers"])
        self.pools.load(state.get("pools", {}), self.machine.device)
        self.recipe.enter(phase_at(self.recipe, self.step - 1).name)  # The next step may begin another one.
        if "best" in state:  # Checkpoints of older versions have none.
            self.best = Best(**state["best"])

    def ask_to_stop(self, number: int) -> None:
        """Note a signal: the loop saves and ends after this step."""
        self.signal = number
        self.listener.say(f"{signal.Signals(number).name}: saving after this step; once more to stop at once")

    def stopping(self) -> bool:
        """Say whether a signal asked to stop; several processes agree on the step."""
        if self.processes.world == 1:
            return self.signal is not None
        return self.step % STOP_CHECK_STEPS == 0 and self.processes.any(self.signal is not None, self.machine.device)


def phase_at(recipe: Recipe, step: int) -> Phase:
    """Return the phase that a training step belongs to."""
    return next(phase for phase in recipe.phases if phase.until is None or step < phase.until)


def step_generator(seed: int, step: int, dataset: int) -> torch.Generator:
    """Return the generator of a step's random choices: a function of seed, step and dataset, never of the process."""
    mixed = torch.tensor([seed, step, dataset], dtype=torch.int64)
    value = int((mixed * torch.tensor([0x9E3779B97F4A7C1, 0xC2B2AE3D27D4EB, 0x165667B19E3779F])).sum())
    return torch.Generator().manual_seed(value & 0x7FFFFFFFFFFFFFFF)


def split(batch: Batch, parts: int) -> list[Batch]:
    """Divide a batch into at most `parts` micro-batches of nearly equal size."""
    edges = [i * len(batch) // parts for i in range(parts + 1)]
    return [batch.rows(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True) if b > a]
