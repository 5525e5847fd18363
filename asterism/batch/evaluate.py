"""The tasks of an evaluation, each done by one of Ray's workers; what cuts an evaluation is `asterism.evaluation.session`.

A task runs from its first batch to its last in one process, so every number is the one that one machine gives. All protocols
consist of tasks, and so all can be spread; how many workers have work is how many tasks there are.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from asterism import malloc
from asterism.batch.engine import answered, cluster, mapped
from asterism.evaluation.evaluate import evaluate
from asterism.evaluation.session import Alone
from asterism.machine import Machine
from asterism.recipes import add, files_outside


class TaskWorker:
    """The networks and pictures of an evaluation, and what does one of its tasks."""

    def __init__(self, recipes: Sequence[str], alone: Any, device: str, precision: str, cores: int) -> None:
        import ray

        torch.set_num_threads(cores)
        for path in recipes:
            add(path)
        self.machine = Machine.choose(device, precision)
        self.alone: Alone = ray.get(alone)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do a task; return its number and the states of its results."""
        return answered(lambda: self._task(json.loads(row["row"])))

    def _task(self, number: int) -> dict[str, Any]:
        buffer = io.BytesIO()
        with malloc.kept(), self.machine.backend_flags():
            torch.save(self.alone(number), buffer)
        return {"number": number, "states": buffer.getvalue()}


def evaluate_on_ray(*arguments: Any, address: str | None = None, cores: int = 1, **options: Any) -> dict[str, dict[str, Any]]:
    """Measure a run as `evaluate` does, which takes the other arguments, with its tasks on a Ray cluster.

    Workers read the data from the paths that this process reads them from. The classifier is trained, and features of real
    pictures are computed, in this process, once.

    Args:
        address: of the cluster; none starts Ray here.
        cores: of each worker, where there is no GPU for it.

    Raises:
        ConfigError: Ray is not installed or not there.
        As `evaluate`.
    """
    with cluster(address) as ray:

        def spread(alone: Alone, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
            device, precision = options.get("device", "auto"), options.get("precision", "float32")
            given = [[str(path) for path in files_outside()], ray.put(alone), device, precision, cores]
            for row in mapped(ray, [json.dumps(number) for number in numbers], TaskWorker, given, device, cores):
                yield row["number"], row["states"]

        return evaluate(*arguments, spread=spread, **options)
