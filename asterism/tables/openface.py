"""OpenFace's tables (github.com/TadasBaltrusaitis/OpenFace): intensities of a face's action units, from 0 to 5."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

INTENSITY = re.compile(r"(AU\d\d)_r")
DERIVED = re.compile(r"AU\d\d_c|success")
"""Columns that say once more, as yes or no, what the intensities say."""

HIGHEST = 5.0

Columns = dict[str, Sequence[str]]


def as_numbers(path: Path, columns: Columns, frames: bool) -> tuple[Columns, tuple[str, ...]]:
    """Return a table's columns with intensities `AU12_r` as numbers `AU12` from 0 to 1, and which these are.

    As GANimation (arXiv:1807.09251) takes them, intensities are divided by 5; what lies beyond is clipped, and where the face
    was not tracked they are unknown.

    Args:
        frames: no column names pictures: those of a video's frames, in a column `file`, are the faces that OpenFace writes
            beside the table.
    """
    units = tuple(found[1] for found in map(INTENSITY.fullmatch, columns) if found)
    if not units:
        return columns, ()
    result: Columns = {}
    for name, cells in columns.items():
        if unit := INTENSITY.fullmatch(name):
            tracked: Sequence[str] = columns.get("success", ("1",) * len(cells))
            result[unit[1]] = tuple(_share(cell) if seen != "0" else "" for cell, seen in zip(cells, tracked, strict=True))
        elif not DERIVED.fullmatch(name):
            result[name] = cells
    if frames and "frame" in columns:
        faces = tuple(f"{path.stem}_aligned/frame_det_00_{frame:0>6}.bmp" for frame in columns["frame"])
        return {"file": faces} | result, units
    return result, units


def _share(cell: str) -> str:
    try:
        return f"{min(max(float(cell) / HIGHEST, 0.0), 1.0):g}"
    except ValueError:
        return cell  # Empty, or no number, which is told where it is read.
