"""Several processes that train one model, for tests: copies of one that has PyTorch in memory already."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import traceback
from collections.abc import Callable
from typing import Any

import torch

from asterism.engine import distributed
from asterism.engine.distributed import Processes

SECONDS = 120
"""After which processes that should have ended long ago are ended."""


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def together(world: int, work: Callable[..., Any], *arguments: Any, minutes: float = 10) -> list[Any]:
    """Return by rank what `work(processes, *arguments)` of a module returns or raises; nothing of a process that was killed.

    Args:
        minutes: that they wait for one another's gradients.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.helpers.recipes"])
    port, started = free_port(), []
    for rank in range(world):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_join, args=(theirs, rank, world, port, work, arguments, minutes), daemon=True)
        process.start()
        theirs.close()
        started.append((process, ours))
    results = []
    for process, ours in started:
        try:
            results.append(pickle.loads(ours.recv_bytes()) if ours.poll(SECONDS) else "hangs")
        except EOFError:
            results.append(None)
        process.join(SECONDS)
        process.kill()
    return results


def _join(
    pipe: Any, rank: int, world: int, port: int, work: Callable[..., Any], arguments: tuple[Any, ...], minutes: float
) -> None:
    torch.set_num_threads(1)
    distributed.ANSWER_MINUTES = minutes
    place = {"RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({key: str(value) for key, value in place.items()})
    try:
        processes = Processes.join(torch.device("cpu"))
        try:
            pipe.send_bytes(pickle.dumps(work(processes, *arguments)))
        finally:
            processes.leave()
    except Exception as error:
        traceback.print_exc()
        pipe.send_bytes(pickle.dumps(error))
