"""The command line in a process of torchrun, watched: what it writes, and perhaps killed in the middle of a step.

`$WATCHED` is a folder, in which `<rank>.txt` names every file that the process wrote, moved or removed; `$KILLED`, `RANK:STEP`,
kills that process there, unless torchrun has started it anew.
"""

from __future__ import annotations

import os
import signal
import sys

RANK = os.environ["RANK"]


def watch(folder: str) -> None:
    """Note what this process does to files."""
    notes = os.open(os.path.join(folder, f"{RANK}.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(event: str, values: tuple) -> None:
        writes = event == "open" and bool((values[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writes or event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"):
            os.write(notes, f"{event} {values[0]}\n".encode())

    sys.addaudithook(note)


def kill_in_step(wanted: int) -> None:
    """End this process, as a lack of memory would, when half of a step's messages have left."""
    from asterism.engine.gradients import GradientSums
    from asterism.engine.step import Steps

    now, finish, train_step = [0], GradientSums.finish, Steps.train_step

    def counted(self, drawn):
        now[0] = self.step
        train_step(self, drawn)

    def deadly(self):
        if now[0] == wanted:
            os.kill(os.getpid(), signal.SIGKILL)
        finish(self)

    Steps.train_step, GradientSums.finish = counted, deadly


if __name__ == "__main__":
    watch(os.environ["WATCHED"])
    rank, _, step = os.environ.get("KILLED", "").partition(":")
    if rank == RANK and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        kill_in_step(int(step))
    from asterism.cli import main

    raise SystemExit(main())
