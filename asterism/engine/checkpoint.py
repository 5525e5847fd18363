"""Checkpoints: the complete state that a run needs to resume exactly.

Files load with `weights_only=True`. No random state is stored: random numbers are functions of seed, step and position.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from asterism.errors import AsterismError
from asterism.storage.whole import PARTIAL, writing

BEST = "best.pt"
"""The checkpoint with the best evaluation, beside the last ones."""

PATTERN = re.compile(r"step_(\d{8,})\.pt")


class CheckpointError(AsterismError, RuntimeError):
    """A checkpoint that cannot be written, read or continued; the message says what to do."""


def write(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically.

    Raises:
        CheckpointError: the disk is full or refuses; no partial file remains and earlier checkpoints stand.
    """
    try:
        with writing(path, sync=True) as partial, open(partial, "wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:  # torch.save reports that less was written than it gave as RuntimeError.
        full = not isinstance(error, OSError) or error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = error.strerror if isinstance(error, OSError) else "the disk stored only a part of it"
        remedy = "free some space, then run the same command again to resume" if full else "check that the folder is writable"
        raise CheckpointError(f"cannot save {path}: {reason}; earlier checkpoints are untouched; {remedy}") from error


def newest(folder: Path, report: Callable[[str], None]) -> dict[str, Any] | None:
    """Read the newest checkpoint of a folder that can be read, and report those that cannot; None where there are none.

    Raises:
        CheckpointError: there are some, and none can be read.
    """
    found = find(folder)
    state = next(filter(None, (read(path, report) for path in reversed(found))), None)
    if found and state is None:
        raise CheckpointError(f"no checkpoint in {folder} can be read; to start this run from scratch, delete that folder")
    return state


def read(path: Path, report: Callable[[str], None]) -> dict[str, Any] | None:
    """Read a checkpoint, or report that it cannot be read and return None."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # A damaged file surfaces as many kinds of error.
        report(f"{path.name} cannot be read ({type(error).__name__}), and is skipped")
    return None


def find(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, oldest first."""
    return sorted((p for p in folder.glob("step_*.pt") if PATTERN.fullmatch(p.name)), key=lambda p: int(p.stem[5:]))


def prune(folder: Path, keep: int) -> None:
    """Delete all but the `keep` newest checkpoints, and what a kill left half-written."""
    for path in [*find(folder)[:-keep], *folder.glob(f"{PARTIAL}*")]:
        path.unlink(missing_ok=True)
