"""Project picture files: their codes in one file, what the model makes of them, and both on a sheet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asterism.data.pictures import PictureError
from asterism.inference.decoding import beside_model, decodes, saved_codes
from asterism.inference.fast_png import write_result
from asterism.inference.folder import FolderError, Summary, check_results, find_pictures, suffix_for
from asterism.inference.images import open_file, to_array
from asterism.inference.on_manifold import OnManifold
from asterism.inference.png_rows import png_rows
from asterism.inference.projecting import Read
from asterism.inference.sheets import MARGIN, row, thumbnail
from asterism.manifold.code_files import CODES, Codes, write_codes
from asterism.manifold.projection import STARTS
from asterism.terminal import counting

SHEET = "sheet.png"
AT_ONCE = 32
"""Pictures that are open together."""


@dataclass
class ProjectedFiles(Summary):
    """What `project_files` did.

    Args:
        errors: mean squared error of each picture that was projected, in the range [-1, 1].
        far: pictures that one plain colour is about as near to as what the model makes.
    """

    errors: dict[str, float] = field(default_factory=dict)
    far: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Say it in words."""
        lines = [f"{name}: the model cannot make it: the best code is hardly nearer than one plain colour" for name in self.far]
        if self.errors:
            mean = sum(self.errors.values()) / len(self.errors)
            lines.append(f"mean squared error {mean:.4f} over {len(self.errors)} pictures (values from -1 to 1)")
        return "\n".join([*lines, super().__str__()])


def project_files(
    model: OnManifold,
    inputs: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    keep: bool = False,
    overwrite: bool = False,
    **how: Any,
) -> ProjectedFiles:
    """Find the codes of picture files and of all that folders hold.

    Writes into `out`: `codes.safetensors`, a code by the name of each picture (its path below the input folder, without
    suffix); what the model makes of it as `<name>.png`; and `sheet.png`, each picture beside what the model makes of it.

    Args:
        keep: add the codes to those beside the model, where `asterism generate --code` finds them.
        overwrite: replace files that are there, and codes of the same name beside the model.
        how: as for `project_pictures`.

    Raises:
        FolderError: inputs that are not there, or files that are.
        As for `project_pictures`.
    """
    out, picture, kind = Path(out), model.model.picture, decodes(model)
    sources = find_pictures([Path(i) for i in inputs], out)
    suffix = suffix_for(picture, None)
    results = [[out / f"{name}{suffix}"] for _, name in sources]
    shared = [out / CODES, out / SHEET]
    check_results([path for path, _ in sources] + shared, [*results, *([path] for path in shared)], out, overwrite)
    beside = beside_model(model, CODES)
    if keep and beside is None:
        raise FolderError("this model was not loaded from a file: no codes are kept beside it")
    summary, by_name, bands = ProjectedFiles(), dict[str, torch.Tensor](), list[np.ndarray]()
    side, size = max(picture.height, picture.width), 0
    out.mkdir(parents=True, exist_ok=True)
    with counting("projecting") as tell:
        for first in range(0, len(sources), AT_ONCE):
            some, opened = range(first, min(first + AT_ONCE, len(sources))), dict[int, np.ndarray]()
            for number in some:
                try:
                    opened[number] = open_file(sources[number][0], picture).x.permute(1, 2, 0).numpy()
                except PictureError as error:
                    summary.skipped.append((sources[number][0], str(error)))
            if opened:
                found = model.project(list(opened.values()), **how)
            for place, number in enumerate(opened):
                name, (result,) = sources[number][1], results[number]
                made = to_array(found.y[place], picture)
                write_result(result, made)
                bands.append(row([thumbnail(to_array(found.x[place], picture), picture), thumbnail(made, picture)], side))
                by_name[name], summary.errors[name], size = found.codes[place], found.errors[place], found.codes.shape[1]
                summary.far += [name] if found.far[place] else []
                summary.written.append(result)
            tell(some.stop, len(sources))
    if by_name:
        codes = Codes(kind, model.model.name, by_name)
        write_codes(out / CODES, codes)
        with png_rows(out / SHEET, 2 * (side + 2 * MARGIN)) as append:
            for band in bands:
                append(band)
        summary.written += shared
        if keep and beside is not None:
            write_codes(beside, saved_codes(model, size).merged(codes))
            summary.written.append(beside)
    return summary


def compare_ways(
    model: OnManifold,
    inputs: Sequence[str | os.PathLike[str]],
    read: Read,
    *,
    starts: int = STARTS,
    steps: int | None = None,
    **how: Any,
) -> dict[str, list[float]]:
    """Return the errors of pictures by each way of projecting them, one after the other (iGAN, arXiv:1609.03552, Table 1).

    The network alone; optimisation from drawn codes; the hybrid, in which the network's code takes the place of one of these.

    Args:
        inputs: picture files and folders.
        read: the network.
        starts, steps, how: as for `project_pictures`.

    Returns:
        `network`, `optimisation` and `hybrid`: mean squared errors of the pixels, in the range [-1, 1].

    Raises:
        As for `project_files`.
    """
    files = [path for path, _ in find_pictures([Path(i) for i in inputs])]
    ways: dict[str, dict[str, Any]] = {
        "network": {**how, "starts": 1, "read": read, "steps": 0},
        "optimisation": {**how, "starts": starts, "steps": steps},
        "hybrid": {**how, "starts": starts, "steps": steps, "read": read},
    }
    errors = dict[str, list[float]]()
    with counting("comparing") as tell:
        for number, (way, words) in enumerate(ways.items(), 1):
            errors[way] = model.project(files, **words).errors
            tell(number, len(ways))
    return errors
