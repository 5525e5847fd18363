"""Run a protocol task by task and picture by picture in constant memory; finished parts survive an interruption.

Features of outputs are held while their task runs, and then are the few numbers that were made of them.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

import torch
from torch import Tensor

from asterism.evaluation.measures import REACHED, FeatureSet, Measure, MeasureContext, Outputs
from asterism.evaluation.protocols.base import Protocol
from asterism.evaluation.tasks import Task
from asterism.metrics.moments import Moments
from asterism.storage.whole import write_whole

SAVE_SECONDS = 30
"""The most work that an interruption costs."""


class System(Interface):
    """Turns sources into outputs; see `asterism.evaluation.candidates`. Those that do chains of targets also have `again`."""

    kind: str

    def outputs(self, task: Task, rows: Sequence[int], x: Tensor, wanted: Tensor) -> Tensor | None:
        """Return outputs [N K, C, H, W] of sources x [N, C, H, W], empty for a task without; none where there are none."""


@dataclass
class Result:
    """What one system gave in one task.

    Args:
        values: per measure of pictures one value per source, float64 [n] or [n, 2] (see `Measure`).
        certainty: the classifier's of the wanted label, mean over each source's outputs, of translations: float64 [n].
        compared: per measure of features its number, once the task is done; None where it cannot be computed.
        counts: outputs and real pictures whose features were compared.
        features: of the outputs, while the task runs, where the protocol compares features.
        done: sources so far.
    """

    task: Task
    kind: str
    values: dict[str, Tensor] = field(default_factory=dict)
    certainty: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float64))
    compared: dict[str, float | None] = field(default_factory=dict)
    counts: tuple[int, int] = (0, 0)
    features: FeatureSet | None = None
    done: int = 0

    @property
    def measured(self) -> bool:
        """Whether there were outputs: a split may have no real picture of a target."""
        return bool(self.values or self.counts[0])

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes back; loads with weights_only."""
        held = self.features
        return {
            "done": self.done,
            "values": self.values,
            "certainty": self.certainty,
            "compared": self.compared,
            "counts": self.counts,
            "features": {"moments": held.moments.state(), "kept": held.kept} if held else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.done, self.values, self.certainty = state["done"], state["values"], state["certainty"]
        self.compared, self.counts = state["compared"], tuple(state["counts"])
        if state["features"] is None:
            self.features = None
        elif self.features is not None:
            self.features.moments = Moments.from_state(state["features"]["moments"])
            self.features.kept = state["features"]["kept"]


def measure(
    protocol: Protocol,
    bench: MeasureContext,
    tasks: Sequence[Task],
    systems: Sequence[System],
    *,
    folder: Path | None,
    progress: Callable[[int, int], None],
    spread: Spread | None = None,
) -> list[Result]:
    """Let every system do every task.

    Args:
        systems: the first is the one that is measured. The others are for orientation and have no modes, so that they do the
            tasks of one mode only, and of chains the first number of passes.
        folder: where what is done is kept, so that the same call goes on there after an interruption; none keeps nothing.
        progress: told how many sources of how many are done.
        spread: does tasks in other processes before; needs a folder, from which their results are read.
    """
    first = systems[0]
    whole = [(n, task, s) for n, task in enumerate(tasks) for s in systems if s is first or task.mode != "reference"]
    work = [(n, task if s is first else replace(task, passes=task.passes[:1]), s) for n, task, s in whole]
    results, total, done = list[Result](), sum(len(task.rows) for _, task, _ in work), 0
    files = [folder / f"{number:04}_{system.kind}.pt" if folder else None for number, _, system in work]
    if spread is not None:
        alone = Alone(protocol, bench, [(task, system) for _, task, system in work])
        missing = [i for i, file in enumerate(files) if file is not None and not file.exists()]
        for i, states in spread(alone, missing) if missing else ():
            file = files[i]
            assert file is not None
            write_whole(file, states, sync=True)
    for (_, task, system), file in zip(work, files, strict=True):
        before = done

        def tell(count: int, before: int = before) -> None:
            progress(before + count, total)

        results += _do(protocol, bench, task, system, file, tell)
        done += len(task.rows)
        progress(done, total)
    return results


@dataclass
class Alone:
    """The tasks of a protocol, of which each can be done in a process of its own, with the same numbers.

    Args:
        work: tasks, and who does them.
    """

    protocol: Protocol
    bench: MeasureContext
    work: Sequence[tuple[Task, Any]]

    def __call__(self, number: int) -> list[dict[str, Any]]:
        """Do a task; return the states of its stages' results."""
        task, system = self.work[number]
        return [result.state() for result in _do(self.protocol, self.bench, task, system, None, lambda done: None)]


Spread = Callable[[Alone, Sequence[int]], Iterator[tuple[int, bytes]]]
"""Does tasks by their numbers, in any processes and any order; yields numbers and saved states as they come."""


def _do(
    protocol: Protocol, bench: MeasureContext, task: Task, system: Any, file: Path | None, tell: Callable[[int], None]
) -> list[Result]:
    """Let a system do a task; return the result of each of its stages, which keep step."""
    count, size, stages = len(task.rows), max(1, bench.batch // task.outputs), task.stages
    measures = [m for m, _ in protocol.measures if m.own == task.own and m.of_pictures and system.kind in m.kinds]
    compares = protocol.compares and not task.own
    results = [Result(stage, system.kind) for stage in stages]
    for result in results if compares else ():
        result.features = FeatureSet(bench.extractor.dims, count * task.outputs, bench.parameters.kept)
    for result, state in zip(results, _load(file, len(results)) if file else (), strict=False):
        result.restore(state)
    if not measures and not compares:
        return results
    saved, done = time.monotonic(), results[0].done
    while done < count:
        part = slice(done, done + size)
        rows, wanted = task.rows[part], task.wanted[part]
        x = torch.empty(len(rows), 0) if task.like else bench.sets[task.pictures].load(rows)
        made = system.again(task, rows, x, wanted) if task.passes else [system.outputs(task, rows, x, wanted)]
        reached = wanted[:, -1] if task.passes else wanted
        done += len(rows)
        for result, y in zip(results, made, strict=True):
            if y is not None:
                _measure(bench, result, measures, Outputs(bench, result.task, system, rows, reached, x, y))
            result.done = done
            if done == count and result.features is not None:
                _compare(protocol, bench, result, result.features)
        tell(done)
        if file is not None and (done == count or time.monotonic() - saved > SAVE_SECONDS):
            _save(file, [result.state() for result in results])
            saved = time.monotonic()
    return results


def _measure(bench: MeasureContext, result: Result, measures: Sequence[Measure], o: Outputs) -> None:
    """Add to a result what some outputs measure."""
    outputs = result.task.outputs
    with torch.inference_mode():
        for m in measures:
            assert m.of_pictures is not None
            made = _per_source(m.of_pictures(o).double(), outputs)
            held = result.values.get(m.name)
            result.values[m.name] = made if held is None else torch.cat([held, made])
        if REACHED in measures and result.kind == "translated":
            result.certainty = torch.cat([result.certainty, _per_source(o.certainty.double(), outputs)])
        if result.features is not None:
            result.features.add(o.features)


def _compare(protocol: Protocol, bench: MeasureContext, result: Result, made: FeatureSet) -> None:
    """Compare the features of a task's outputs with those of real pictures of its target, and let go of them."""
    task = result.task
    held = bench.real(task.like or (task.pictures,), task.index, task.value)
    result.counts, result.features = (made.moments.count, held.moments.count), None
    for m, _ in protocol.measures:
        if m.of_features and result.kind in m.kinds:
            result.compared[m.name] = m.of_features(held, made, bench.parameters) if all(result.counts) else None


def _per_source(values: Tensor, outputs: int) -> Tensor:
    """Return the mean over each source's outputs: [N K] or [N K, 2] to [N] or [N, 2]."""
    return values.unflatten(0, (-1, outputs)).mean(1)


def _save(file: Path, states: list[dict[str, Any]]) -> None:
    buffer = io.BytesIO()
    torch.save(states, buffer)
    write_whole(file, buffer.getvalue(), sync=True)


def _load(file: Path, count: int) -> list[dict[str, Any]]:
    """Return the kept states of so many stages; none where there are none or they are damaged, since all can be done again."""
    try:
        states: Any = torch.load(file, weights_only=True)
    except Exception:  # A damaged file surfaces as many kinds of error.
        return []
    return states if isinstance(states, list) and len(states) == count else []
