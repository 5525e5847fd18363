"""A run folder belongs to one training process at a time."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from asterism.errors import AsterismError

NAME = ".lock"
"""File in the run folder that the process holds open; the system frees it when the process ends, however that is."""


class LockedError(AsterismError, ValueError):
    """A run folder that another process trains; the message says which."""


@contextmanager
def locked(folder: Path, *, remedy: str = "stop it, or give another --out", wait: bool = False) -> Iterator[None]:
    """Keep other processes out of a folder, which is made where it is missing, until the block ends.

    Where the file system or the machine knows no locks, nobody is kept out.

    Args:
        remedy: what can be done beside waiting until the other process ends.
        wait: until another process lets go of it, in place of an error; for what takes a moment.

    Raises:
        LockedError: another process holds it.
    """
    path, file = folder / NAME, None
    while file is None:
        with suppress(FileNotFoundError):  # A process that ended just now has removed the file or the folder.
            folder.mkdir(parents=True, exist_ok=True)
            file = _take(path, remedy, wait)
    try:
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
    finally:
        with suppress(PermissionError):  # Windows removes no open file: there it stays, and keeps nobody out.
            path.unlink(missing_ok=True)
        file.close()
        with suppress(OSError):  # Something is in it, as it should be.
            folder.rmdir()


def _take(path: Path, remedy: str, wait: bool) -> IO[str] | None:
    """Open and lock a file; none, or FileNotFoundError, if a process that ended removed it in between."""
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115  It stays open with the lock.
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            file.close()
            return None
        file.truncate(0)
    except FileNotFoundError:
        file.close()
        raise
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            file.seek(0)
            who = file.read() or "another process"
            file.close()
            raise LockedError(f"{path.parent} is being trained by {who}: wait until it ends, {remedy}") from None
    except ImportError:  # Windows.
        pass
    return file
