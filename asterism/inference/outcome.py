"""What a job over many files did, and what it says when it cannot."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from asterism.data.listing import some
from asterism.errors import AsterismError
from asterism.inference.tiles import Seams

CLIPPED = 0.01
"""Share of values outside the value range up to which no warning is given."""


class FolderError(AsterismError, ValueError):
    """Inputs that cannot be found or outputs that cannot be written; the message says which and what to do."""


@dataclass
class Summary:
    """What `translate_folder` did.

    Args:
        written: the files written, in order.
        kept: results that were there and were left as they are.
        skipped: the pictures left out since they are broken, with the reason.
        clipped: the pictures with more than `CLIPPED` of their values beyond the model's range, with the share.
        beyond: what the user should know of the strength.
        notes: sentences on single results.
        enlarged: pictures larger than the model's size whose results are enlarged from it.
        size: width and height of the model's pictures.
        passed: what lies in the folders and is no picture by its suffix.
        seams: how far neighbouring tiles were apart, where pictures were translated in tiles.
    """

    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    skipped: list[tuple[Path | str, str]] = field(default_factory=list)
    clipped: list[tuple[Path | str, float]] = field(default_factory=list)
    beyond: str = ""
    enlarged: list[Path] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    notes: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    seams: Seams = field(default_factory=Seams)

    def __str__(self) -> str:
        """Say it in words, a line for every picture left out, and one for all that were clipped."""
        lines = [f"left out: {path}: {reason}" for path, reason in self.skipped]
        lines += self.notes + ([self.beyond] if self.beyond else [])
        lines += [some(self.passed, "other files, passed over")] if self.passed else []
        if self.clipped:
            worst = sorted(self.clipped, key=lambda found: -found[1])
            lines.append(
                some([f"{path} {share:.0%}" for path, share in worst], "sources clipped to the value range of the model's data")
            )
        if self.enlarged:
            what = f"results enlarged from the model's {self.size[0]} x {self.size[1]} pixels"
            told = "--fit full translates every pixel at its own resolution, --region X,Y,W,H a part"
            lines.append(f"{some([str(path) for path in self.enlarged], what)}; {told}")
        if self.seams.count:
            lines.append(f"tiles differed by {self.seams.mean:.2%} of the value range, on average, where they were blended")
        kept = f"; already there: {len(self.kept)}" if self.kept else ""
        return "\n".join([*lines, f"files written: {len(self.written)}{kept}; sources left out: {len(self.skipped)}"])


def beyond(stored: np.ndarray, low: float, high: float) -> float:
    """Return the share of stored values that a model cannot tell from the ends of its value range; none of features."""
    if stored.dtype.kind == "f":
        return 0.0
    if low <= 0 and high >= np.iinfo(stored.dtype).max:
        return 0.0
    return np.count_nonzero((stored < low) | (stored > high)) / stored.size


def unwritable(path: Path, error: OSError) -> FolderError:
    """Return what to say of a result that could not be written."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]  # As of a program that writes videos.
    full = "; free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return FolderError(
        f"cannot write {path}: {error.strerror or reason}{full}; the existing files are complete, --skip-existing makes those "
        "that are missing, and --overwrite replaces all"
    )
