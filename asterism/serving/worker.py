"""The device's only thread: translates the waiting pictures of a model as one batch, each to its own target.

There is no waiting time to choose: the thread takes what is there, and what arrives while the device works is the next
batch. So a lone picture is not held up, and under load batches fill by themselves.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from asterism.inference.apply import translate_each
from asterism.inference.styles import Target
from asterism.inference.translator import Translator

T = TypeVar("T")
W = TypeVar("W")
log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Call:
    """Something else that needs the device."""

    work: Callable[[], Any]
    future: Future[Any]


@dataclass(eq=False)
class _Job:
    """One picture on its way to several targets."""

    translator: Translator
    x: Tensor
    targets: Sequence[Target]
    known: Mapping[int, float]
    future: Future[list[Tensor]]
    taken: int = 0
    results: list[Tensor] = field(default_factory=list)


class DeviceWorker:
    """A thread that translates.

    Args:
        batch_size: pictures at once.
        observe: told (pictures, seconds) after each batch.
    """

    def __init__(self, batch_size: int, observe: Callable[[int, float], None] = lambda pictures, seconds: None) -> None:
        self.batch_size = batch_size
        self._observe = observe
        self._jobs: deque[_Job] = deque()
        self._calls: deque[_Call] = deque()
        self._searches: deque[_Call] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="asterism-device", daemon=True)
        self._thread.start()

    def submit(
        self, translator: Translator, x: Tensor, targets: Sequence[Target], known: Mapping[int, float]
    ) -> Future[list[Tensor]]:
        """Ask for one picture in several targets.

        Args:
            x: float32 [1, C, h, w] in [-1, 1], of the model's size, on the CPU.
            known: what is stated of its labels: label index -> holds.

        Returns:
            The translations, float32 [C, h, w] on the CPU, one per target. Cancelling it takes the picture out of the
            queue.

        Raises:
            RuntimeError: the worker is closed.
        """
        job = _Job(translator, x, tuple(targets), known, Future())
        self._put(self._jobs, job)
        job.future.add_done_callback(lambda future: self._forget(job) if future.cancelled() else None)
        return job.future

    def call(self, work: Callable[[], T]) -> Future[T]:
        """Ask for something else that needs the device, such as reading a picture's labels, between two batches."""
        call = _Call(work, Future())
        self._put(self._calls, call)
        return call.future

    def search(self, work: Callable[[Callable[[], None]], T]) -> Future[T]:
        """Ask for something long. It comes when nothing else waits, and one at a time.

        Args:
            work: given a function that it calls often, by which the device does what has come to wait meanwhile.
        """
        search = _Call(lambda: work(self._work), Future())
        self._put(self._searches, search)
        return search.future

    def _put(self, queue: deque[W], work: W) -> None:
        with self._changed:
            if self._closing:
                raise RuntimeError("the device worker is closed")
            queue.append(work)
            self._changed.notify()

    def waiting(self) -> int:
        """Return how many translations have not been started."""
        with self._changed:
            return sum(len(job.targets) - job.taken for job in self._jobs)

    def close(self) -> None:
        """Finish what was accepted, then stop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _forget(self, job: _Job) -> None:
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)

    def _run(self) -> None:
        while self._come():
            self._work()
            if self._searches and not (self._jobs or self._calls):
                _answer(self._searches.popleft())

    def _come(self) -> bool:
        """Wait for work; False: the worker is closed, and everything is done."""
        with self._changed:
            while not (self._jobs or self._calls or self._searches or self._closing):
                self._changed.wait()
            return bool(self._jobs or self._calls or self._searches)

    def _work(self) -> None:
        """Answer what else needs the device, and translate one batch of what waits, if anything does."""
        while self._calls:
            _answer(self._calls.popleft())
        rows = self._take()
        if not rows:
            return
        start = time.perf_counter()
        translations = self._translate(rows)
        self._observe(len(rows), time.perf_counter() - start)
        for (job, _), y in zip(rows, translations, strict=True):
            if isinstance(y, Exception):
                _fail(job, y)
                self._forget(job)
                continue
            job.results.append(y)
            if len(job.results) == len(job.targets) and not job.future.done():
                _finish(job)

    def _take(self) -> list[tuple[_Job, int]]:
        """Return the next batch: rows of the oldest job's model, in order."""
        with self._changed:
            mine = [job for job in self._jobs if job.translator is self._jobs[0].translator]
            waiting = sum(len(job.targets) - job.taken for job in mine)
            room = max((size for size in batch_sizes(self.batch_size) if size <= waiting), default=0)
            rows: list[tuple[_Job, int]] = []
            for job in mine:
                count = min(room - len(rows), len(job.targets) - job.taken)
                rows += [(job, job.taken + i) for i in range(count)]
                job.taken += count
                if job.taken == len(job.targets):
                    self._jobs.remove(job)
                if len(rows) == room:
                    break
            return rows

    def _translate(self, rows: Sequence[tuple[_Job, int]]) -> list[Tensor | Exception]:
        """Translate a batch; if that fails, each half, so that only what cannot be translated fails."""
        translator = rows[0][0].translator
        try:
            x = torch.cat([job.x for job, _ in rows])
            y = translate_each(translator, x, [job.targets[i] for job, i in rows], [job.known for job, _ in rows])
            return list(y.cpu())
        except Exception as error:
            if len(rows) > 1:
                half = len(rows) // 2
                return self._translate(rows[:half]) + self._translate(rows[half:])
            log.exception("a picture could not be translated")
            return [error]


def batch_sizes(most: int) -> list[int]:
    """Return the sizes that batches have: powers of two, and the most.

    Convolution libraries prepare, and keep, their kernels for every size that they meet; this way they meet few.
    """
    return [1 << i for i in range((most - 1).bit_length())] + [most]


def _answer(call: _Call) -> None:
    if call.future.set_running_or_notify_cancel():
        try:
            call.future.set_result(call.work())
        except Exception as error:
            call.future.set_exception(error)


def _fail(job: _Job, error: Exception) -> None:
    if not job.future.done():
        try:
            job.future.set_exception(error)
        except Exception:  # Cancelled meanwhile by the one who asked.
            pass


def _finish(job: _Job) -> None:
    try:
        job.future.set_result(job.results)
    except Exception:  # Cancelled meanwhile by the one who asked.
        pass
