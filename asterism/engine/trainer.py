"""The training loop: steps, and between them the log, evaluations, previews and checkpoints."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asterism.config import TrainConfig
from asterism.data.loader import Loader
from asterism.engine import checkpoint, memory
from asterism.engine.best import Best, Evaluation
from asterism.engine.distributed import Processes
from asterism.engine.listener import Listener
from asterism.engine.log import Log
from asterism.engine.preview import Previews, Samples
from asterism.engine.step import Drawn, Steps, phase_at
from asterism.errors import AsterismError, ran_out
from asterism.machine import Machine
from asterism.recipes.base import Recipe
from asterism.recipes.model import save_model
from asterism.signals import stop_signals
from asterism.storage.model_file import FILE_NAME


class TrainingError(AsterismError, RuntimeError):
    """Training cannot go on; the message says why and what is kept."""


@dataclass(frozen=True)
class Outcome:
    """How training ended: at which step, by which signal if by one, and whether this process speaks for all that trained."""

    step: int
    signal: int | None = None
    first: bool = True


class Trainer(Steps):
    """Trains a recipe: the loop around its steps, and what is kept of them.

    Args:
        recipe, config, machine, processes: as for `Steps`.
        loader: batches by step.
        run: the run's folder.
        identity: what checkpoints say about the run: settings, labels, picture, data fingerprint (JSON values).
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
        info: dict[str, Any],
        listener: Listener,
    ) -> None:
        super().__init__(recipe, config, machine, processes)
        self.loader, self.run = loader, run
        self.identity, self.info, self.listener = identity, info, listener
        self.previews: Previews | Samples | None = None
        self.evaluation: Evaluation | None = None
        self.best, self.exhausted, self.remark = Best(), False, ""
        self.signal: int | None = None
        self.waited, self.saved_at = 0.0, -1

    def train(self) -> Outcome:
        """Train to the last step, or until a signal asks to stop; either way everything is saved.

        Raises:
            TrainingError: too many non-finite steps in a row.
            CheckpointError: a checkpoint could not be written.
        """
        self.log = Log(self.run, self.step) if self.processes.first else None
        self.started, self.logged_at = time.perf_counter(), self.step
        batches = self.loader.iterate(self.step)
        drawn: Drawn = []
        self.exhausted = self.patience_is_over()  # A run that ended early does so again, unless it was given more patience.
        self.listener.start(self.step, self.config.steps)
        try:
            with stop_signals(self.ask_to_stop), self.machine.backend_flags():
                while True:
                    self.signal = self.processes.largest(self.signal or 0) or None  # Whichever process got it.
                    last = self.step >= self.config.steps or self.signal is not None
                    self.maintain(last)
                    if last or self.exhausted:
                        return Outcome(self.step, self.signal, self.processes.first)
                    asked = time.perf_counter()
                    drawn = next(batches)
                    self.waited += time.perf_counter() - asked
                    self.train_step(drawn)
                    self.listener.advance(self.step)
        except RuntimeError as error:
            if not ran_out(error):
                raise
            error.__traceback__ = None  # Its frames hold the tensors that filled the memory.
            raise TrainingError(f"out of memory at step {self.step} ({error}). {self.remedy(drawn)}") from error
        finally:
            batches.close()
            self.listener.stop()

    def remedy(self, drawn: Drawn) -> str:
        """Say what makes the step fit in which memory ran out."""
        if not drawn:
            return "Free memory, then run the same command again"
        if (keys := self.keys_that_fit(drawn)) is None:
            return f"Tried: {memory.NOTHING_FITS}"
        return f"Tried: it fits with {keys}; run the same command with this to resume with the same step"

    def maintain(self, last: bool) -> None:
        """Log, preview and save where this step is due; the first and the last state take the same path."""
        if self.step > self.logged_at and (last or self.step % self.config.log_every == 0):
            self.write_log()
        resumed = self.saved_at == self.step
        if self.previews and not resumed and (self.step >= self.config.steps or self.step % self.config.preview_every == 0):
            with self.in_use(), self.machine.autocast(), torch.no_grad():
                self.previews.draw(self.recipe, self.step)
        if not resumed and self.evaluation_is_due():  # After the preview, which someone may wait for.
            self.evaluate()
            last = last or self.exhausted
        if not resumed and (last or (self.step and self.step % self.config.checkpoint_every == 0)):
            self.save()
        self.processes.largest(0)  # The others wait for what the first did alone.

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
        return 0 < self.config.patience <= self.best.evaluations_since_best

    def evaluate(self) -> None:
        """Measure the averaged weights, keep them if they are the best so far, and see whether patience is at its end."""
        if self.step > self.logged_at:  # So that the speed of training is that of training alone.
            self.write_log()
        if self.evaluation is not None and self.log is not None:
            began = time.perf_counter()
            self.listener.stop()  # The first measurement may train a classifier, which is watched in the same place.
            with self.in_use():
                scores = self.evaluation.measure(self.recipe)
            self.listener.start(self.step, self.config.steps)
            if scores:
                seconds = time.perf_counter() - began
                self.log.write_scores(self.step, scores, seconds)
                if self.best.step is not None and self.best.measured_by != self.evaluation.measured_by:
                    self.listener.say("earlier numbers are of another phase or measured otherwise: the best is chosen anew")
                better = self.best.take(self.step, scores, self.evaluation)
                values = "  ".join(f"{name} {value:.4g}" for name, value in scores.items() if value is not None)
                verdict = f"the best by {self.best.criterion}" if better else f"the best is step {self.best.step}"
                self.listener.say(f"step {self.step}: {values}  ({verdict}; measured in {seconds:.1f} s)")
                if better:
                    checkpoint.write(self.run / "checkpoints" / checkpoint.BEST, self.state_dict())
                    self.write_model(self.recipe.state_dict() | self.average.weights)
            self.started += time.perf_counter() - began
            self.exhausted = self.patience_is_over()
            if self.exhausted:
                self.listener.say(f"stopping early: no measurement since step {self.best.step} was better (train.patience)")
        self.exhausted = self.processes.told(self.exhausted)

    def write_log(self) -> None:
        """Read the statistics back, print and write them, and stop a run whose steps are all skipped."""
        terms = self.statistics.drain(self.processes)
        skipped, worst = self.optimizers.skipped.item(), self.optimizers.worst_row.item()
        now = time.perf_counter()
        elapsed, steps = now - self.started, self.step - self.logged_at
        line = {
            "step": self.step,
            "images": self.images,
            "seconds": 0.0,
            "images_per_second": round(self.images_since / elapsed, 3),
            "waiting": round(self.waited / elapsed, 4),
            "lr": self.rates,
            "terms": terms,
            "skipped": int(skipped),
        }
        if self.log is not None:
            self.log.seconds += elapsed
            self.log.write(line | {"seconds": round(self.log.seconds, 3)})
        self.listener.show(line, (self.config.steps - self.step) * elapsed / steps)
        if (remark := self.recipe.remark(terms)) and remark != self.remark:  # Once, not with every line.
            self.listener.say(f"step {self.step}: {remark}")
        self.remark = remark
        self.started, self.logged_at, self.waited, self.images_since = now, self.step, 0.0, 0
        if worst >= self.config.max_skipped:
            bad = [name for name, value in terms.items() if value != value or abs(value) == float("inf")]
            kept = checkpoint.find(self.run / "checkpoints")
            raise TrainingError(
                f"stopped at step {self.step}: {int(worst)} updates in a row had values that are not finite"
                f"{' (' + ', '.join(bad) + ')' if bad else ''} and were skipped. Last good checkpoint: "
                f"{kept[-1].name if kept else 'none'}. Lower the learning rates"
                f"{'' if self.machine.dtype != torch.bfloat16 else ', or try --train.precision float32'}."
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

    def write_model(self, weights: dict[str, Tensor]) -> None:
        """Write the model file: of the best evaluation, with what was measured, else of this step."""
        facts: dict[str, Any] = {"step": self.step, "phase": self.recipe.phase}
        if self.best.step is not None:
            facts |= {"step": self.best.step, "scores": self.best.scores, "criterion": self.best.criterion}
        save_model(self.run / FILE_NAME, self.recipe, self.identity["settings"]["name"], weights, info=self.info | facts)

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
        self.best = Best.of_checkpoint(state["best"])

    def ask_to_stop(self, number: int) -> None:
        """Note a signal: the loop saves and ends after this step."""
        self.signal = number
        self.listener.say(f"{signal.Signals(number).name}: saving after this step; send the signal again to stop at once")
