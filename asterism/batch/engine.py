"""Ray: started here or joined where it runs, and work mapped over workers that hold what is costly to make.

Ray Data schedules the work, holds it back while workers are busy, does again what a lost worker left undone, and shows its
progress.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from asterism.config import ConfigError
from asterism.errors import AsterismError

RETRIES = 3
"""How often work is done again whose worker was lost; more often, and it is the work that loses them."""

ATTEMPTS = 3
"""To start Ray, which waits 30 seconds for its own processes: a busy machine takes longer at first."""

QUIET: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": False}


@contextmanager
def cluster(address: str | None) -> Iterator[Any]:
    """Start Ray on this machine, or join a cluster; yield Ray, and leave it again.

    Args:
        address: `auto` for the cluster that this machine belongs to, or the address of one; none starts Ray here, for as long
            as the block lasts.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Nothing is sent anywhere.
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ConfigError(f'--engine ray needs {error.name or "ray"}: pip install "asterism[ray]"') from error
    try:
        _join(ray, address) if address else _start(ray)
        yield ray
    finally:
        ray.shutdown()


def _join(ray: Any, address: str) -> None:
    try:
        ray.init(address=address, **QUIET)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"no Ray cluster answers at {address} ({str(error).splitlines()[0]}): start one by `ray start --head`, set "
            "RAY_AUTH_MODE=token if it wants its token, or leave out --address"
        ) from error


def _start(ray: Any) -> None:
    for attempt in range(ATTEMPTS):
        try:
            ray.init(address="local", include_dashboard=False, **QUIET)
            return
        except Exception as error:  # It has no kind of its own.
            ray.shutdown()
            if "timed out during startup" not in str(error) or attempt == ATTEMPTS - 1:
                reason = f"Ray does not start on this machine: {error}"
                raise ConfigError(f"{reason}; try again when it is less busy, or leave out --engine ray") from error


def workers(ray: Any, device: str, cores: int) -> tuple[int, dict[str, float]]:
    """Return how many workers the cluster holds, and what each of them takes: a GPU where there are some, else cores.

    Args:
        device: as the user gave it.

    Raises:
        ConfigError: the cluster has not enough for one.
    """
    has = ray.cluster_resources()
    gpus, cpus = int(has.get("GPU", 0)), int(has.get("CPU", 0))
    if device.startswith("cuda") and not gpus:
        raise ConfigError(f"device {device!r} was asked for, and the Ray cluster has no GPU")
    if gpus and device != "cpu":
        return gpus, {"num_gpus": 1, "num_cpus": min(cores, max(1, cpus // gpus))}
    if cores > cpus:
        raise ConfigError(f"a worker is to have {cores} cores, and the Ray cluster has {cpus}; give fewer --cores")
    return cpus // cores, {"num_cpus": cores}


def mapped(
    ray: Any,
    rows: Sequence[str],
    worker: type,
    arguments: Sequence[Any],
    device: str,
    cores: int,
    before: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    after: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Iterator[dict[str, Any]]:
    """Let workers do rows, in any order; yield what they return. Rows whose workers were lost each time are missing.

    Args:
        rows: what is to be done, each a piece of work of its own.
        worker: made once in each worker process from `arguments`, of which Ray's references are resolved, and called with
            {"row": ...}; see `answered` for what it returns.
        before, after: done to rows by other processes before and after the workers, such as reading and writing.

    Raises:
        AsterismError: what a worker raised.
    """
    count, each = workers(ray, device, cores)
    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = -1  # The rest is done; the caller sees what is missing.
    context.enable_rich_progress_bars = False
    size = min(count, len(rows))
    io: dict[str, Any] = {"num_cpus": 0, "compute": ray.data.TaskPoolStrategy(2 * size)}  # Workers may have every core.
    data = ray.data.from_items([{"row": row} for row in rows], override_num_blocks=len(rows))
    if before is not None:
        data = data.map(before, **io)
    data = data.map(
        worker,
        fn_constructor_args=arguments,
        compute=ray.data.ActorPoolStrategy(size=size),
        max_task_retries=RETRIES,
        **each,
    )
    if after is not None:
        data = data.map(after, **io)
    for row in data.iter_rows():
        if row["error"]:
            raise pickle.loads(row["error"])
        yield row


def answered(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a worker makes of a row, under `error` the pickled sentence that ends it all, empty where there is none."""
    try:
        return {"error": b"", **work()}
    except AsterismError as error:
        return {"error": pickle.dumps(error)}
