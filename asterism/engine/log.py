"""The run's log: one JSON object a line, always written, rewound to the checkpoint when a run resumes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from asterism.storage.run_files import read_log
from asterism.storage.whole import write_whole


class Log:
    """`log.jsonl` of a run, and TensorBoard where it is installed.

    Args:
        run: the run's folder.
        step: lines of later steps are dropped, since the resumed run writes them again.
    """

    def __init__(self, run: Path, step: int) -> None:
        self.path = run / "log.jsonl"
        kept = [line for line in read_log(self.path) if line["step"] <= step]
        write_whole(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self.seconds = max((line.get("seconds", 0.0) for line in kept), default=0.0)
        self.board = _tensorboard(run, step)

    def write(self, line: dict[str, Any]) -> None:
        """Append a line; a value that is not finite becomes null, which JSON can hold."""
        terms = line["terms"]
        self._append({**line, "terms": {k: v if math.isfinite(v) else None for k, v in terms.items()}}, terms)

    def write_scores(self, step: int, scores: dict[str, float | None], seconds: float) -> None:
        """Append what an evaluation measured, as a line of the step's own that readers join with its other one."""
        curves = {f"scores/{name}": value for name, value in scores.items() if value is not None}
        self._append({"step": step, "scores": scores, "evaluation_seconds": round(seconds, 3)}, curves)

    def _append(self, line: dict[str, Any], curves: dict[str, float]) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.board is not None:
            for name, value in curves.items():
                self.board.add_scalar(name, value, line["step"])
            self.board.flush()  # Else the last two minutes would be lost when the process ends.


def _tensorboard(run: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except Exception:  # Not installed, or broken: the log does not depend on it.
        return None
    return SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)
