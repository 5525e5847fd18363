"""On a CPU, parts of a batch side by side, each computed by a thread of its own.

The threads of one operation meet after it, thousands of times in a batch. Where the threads that decode and encode files take
a core for a moment, all wait for the one that was on it; and the files' own operations on tensors would each bring as many
threads again. Threads that compute a part of the batch alone wait for nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

import torch
from torch import Tensor

from asterism.inference.images import Picture
from asterism.inference.styles import Target
from asterism.inference.translator import Translator

Row = tuple[Picture, list[Tensor], Callable[[Tensor], Tensor]]
"""What `Translator.batches` yields."""


@contextmanager
def side_by_side(
    translator: Translator, targets: Sequence[Target], fit: str, batch_size: int, files: int
) -> Iterator[tuple[ThreadPoolExecutor, Callable[[Iterable[Picture]], Iterator[Row]]]]:
    """Divide PyTorch's threads between the parts of a batch, until the end of the context.

    Args:
        targets, fit, batch_size: as for `Translator.batches`.
        files: how many threads decode and encode.

    Yields:
        The threads for the files; and what translates pictures as `Translator.batches` does, in its order, with as many
        pictures at once. Its arithmetic, and that of the files, is that of one thread unless there are more threads than
        pictures; on other devices than CPUs, and of models that call a function of the user's, it is as everywhere.
    """
    threads = torch.get_num_threads()
    parts = min(threads, batch_size) if translator.machine.device.type == "cpu" and not translator.recipe.calls_out else 1
    if parts <= 1:
        with ThreadPoolExecutor(files) as own:
            yield own, lambda pictures: translator.batches(pictures, targets, fit=fit, batch_size=batch_size)
        return

    def compute(part: list[Picture]) -> list[Row]:
        return list(translator.batches(part, targets, fit=fit, batch_size=len(part)))

    def batches(pictures: Iterable[Picture]) -> Iterator[Row]:
        remaining, waiting = iter(pictures), deque[Future[list[Row]]]()
        while part := list(islice(remaining, batch_size // parts)):
            waiting.append(computing.submit(compute, part))
            if len(waiting) > parts:  # One more than are computed, so that none of them waits for the caller.
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()

    share = threads // parts  # Of each thread; the caller's stays, and what begins later has it until it is set back.
    try:
        with (
            translator.machine.backend_flags(),  # What threads set and set back at a time would stay.
            ThreadPoolExecutor(files, initializer=torch.set_num_threads, initargs=(share,)) as own,
            ThreadPoolExecutor(parts, initializer=torch.set_num_threads, initargs=(share,)) as computing,
        ):
            yield own, batches
    finally:
        torch.set_num_threads(threads)
