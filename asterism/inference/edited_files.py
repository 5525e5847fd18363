"""Write what an edit came to: candidates, their codes and a sheet; the way to one of them; the edited photograph."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asterism.inference.editing import Edited
from asterism.inference.fast_png import write_result
from asterism.inference.folder import Summary, check_results, suffix_for
from asterism.inference.images import to_array
from asterism.inference.png_rows import png_rows
from asterism.inference.sequence import write_sequence
from asterism.inference.sheets import MARGIN, row, thumbnail
from asterism.manifold.code_files import CODES, Codes, write_codes

COLUMNS = 4
CHOSEN = 0
"""The candidate that the way and the photograph are made of: the best."""


def write_edit(
    edited: Edited,
    out: str | os.PathLike[str],
    *,
    photo: str | os.PathLike[str] | None = None,
    start: Tensor | None = None,
    number: int = CHOSEN,
    steps: int = 8,
    fit: str = "crop",
    overwrite: bool = False,
) -> Summary:
    """Write an edit into a folder.

    That is `candidate_01.png` and so on, the best first; `candidates.png`, a sheet of them; `codes.safetensors`, their codes by
    these names; with a start `way.gif`, from there to the chosen one; with a photograph `<its name>__edited`, done to itself.

    Args:
        photo: what was projected to the start.
        start: as for `Edited.slide`.
        number: the candidate that way and photograph go to, from 0.
        steps: of the way.

    Raises:
        FolderError: files that are there.
        ConfigError: no such candidate.
    """
    out, model = Path(out), edited.placed.model
    picture, suffix = model.picture, suffix_for(model.picture, None)
    begin = edited.start if start is None else start
    names = [f"candidate_{k:02}" for k in range(1, len(edited.codes) + 1)]
    files = [out / f"{name}{suffix}" for name in names]
    sheet, codes, film = out / "candidates.png", out / CODES, out / "way.gif"
    whole = out / f"{Path(photo).stem}__edited{suffix}" if photo is not None else None
    extra = [sheet, codes, *([film] if begin is not None else []), *([whole] if whole else [])]
    check_results([Path(name) for name in names] + extra, [[file] for file in [*files, *extra]], out, overwrite)
    out.mkdir(parents=True, exist_ok=True)
    arrays = [_array(edited, k) for k in range(len(names))]
    for file, array in zip(files, arrays, strict=True):
        write_result(file, array)
    side = max(picture.height, picture.width)
    with png_rows(sheet, COLUMNS * (side + 2 * MARGIN)) as append:
        for first in range(0, len(arrays), COLUMNS):
            cells: list[Any] = [thumbnail(array, picture) for array in arrays[first : first + COLUMNS]]
            append(row([*cells, *[None] * (COLUMNS - len(cells))], side))
    write_codes(codes, Codes(edited.decoder.kind, model.name, dict(zip(names, edited.codes, strict=True))))
    if begin is not None:
        frames = [to_array(y, picture) for y in edited.path(number, steps, begin)]
        write_sequence(film, iter([*frames, *frames[-2:0:-1]]), picture, "gif", side=None, fps=steps, first=frames[0])
    if whole is not None:
        made = edited.transfer(number, photo, begin, fit)
        write_result(whole, _stored(made))
    return Summary([*files, *extra])


def _array(edited: Edited, number: int) -> np.ndarray:
    return _stored(edited.pictures[number])


def _stored(made: Any) -> np.ndarray:
    """Return a picture as stored values [H, W, C]."""
    array = np.asarray(made) if not isinstance(made, torch.Tensor) else made.numpy()
    return array[:, :, None] if array.ndim == 2 else array
