"""Write generated pictures: one file each, or all as one sheet."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from asterism.config import ConfigError
from asterism.data.pictures import FAST, write
from asterism.inference.decoding import moved
from asterism.inference.folder import FolderError, Summary, check_results, suffix_for
from asterism.inference.generator import chosen_seeds, decoded, latents, told_of
from asterism.inference.images import to_array
from asterism.inference.png_rows import png_rows
from asterism.inference.sheets import MARGIN, row, thumbnail
from asterism.inference.translator import Translator
from asterism.terminal import counting


def generate_files(
    translator: Translator,
    seeds: Sequence[int],
    out: str | os.PathLike[str] | None = None,
    *,
    to: Sequence[str | Mapping[str, Any]] = (),
    along: Mapping[str, float] | None = None,
    truncation: float = 1.0,
    sheet: str | os.PathLike[str] | None = None,
    format: str | None = None,
    batch_size: int = 16,
    overwrite: bool = False,
) -> Summary:
    """Write the pictures of seeds into a folder, onto a sheet, or both.

    Args:
        seeds: one picture each, and with several targets one for each target.
        out: folder of the files `seed7.png`, with targets `seed7__<target>.png`.
        to: the targets, as for `generate`.
        along, truncation: as for `OnManifold.generate`.
        sheet: a PNG of all the pictures: a square, or with several targets a row for each.
        format: suffix of the files (.png .jpg .webp .tif .npy); none takes .png, or .tif for what PNG cannot hold.
        batch_size: pictures at once.
        overwrite: replace files that are there.

    Raises:
        ModelError, LabelError, ConfigError: as for `generate`; or neither a folder nor a sheet is given.
        FolderError: files that are there already, two of one name, or a format that cannot hold the pictures.
    """
    if out is None and sheet is None:
        raise ConfigError(
            "give an output: --out DIR for one file per picture, or --sheet FILE.png for one PNG with all of them"
        )
    seeds, picture = chosen_seeds(None, seeds), translator.model.picture
    targets = [told_of(translator, target) for target in to] or [told_of(translator, None)]
    endings = [f"__{translator.parse(target)[0].name}" for target in to] or [""]
    files: list[list[Path]] = []
    if out is not None:
        suffix = suffix_for(picture, format)
        files = [[Path(out) / f"seed{seed}{ending}{suffix}" for seed in seeds] for ending in endings]
        sources = [Path(f"seed {seed}") for seed in seeds]
        check_results(sources, list(zip(*files, strict=True)), Path(out), overwrite)
        Path(out).mkdir(parents=True, exist_ok=True)
    if sheet is not None:
        check_sheet(Path(sheet), overwrite)
    z = moved(translator, latents(seeds, translator.recipe.abilities.latent), along, truncation)
    columns = math.ceil(math.sqrt(len(seeds))) if len(targets) == 1 else len(seeds)
    summary, cells, rows = Summary(), list[Image.Image](), list[Any]()
    side, done = max(picture.height, picture.width), 0
    with counting("generating") as tell:
        for number, told in enumerate(targets):
            for place, y in enumerate(decoded(translator, z, told, batch_size)):
                array = to_array(y, picture)
                if files:
                    write(files[number][place], array, compression=FAST)
                    summary.written.append(files[number][place])
                if sheet is not None:
                    cells.append(thumbnail(array, picture))
                if len(cells) == columns or (cells and place == len(seeds) - 1):
                    rows.append(row([*cells, *[None] * (columns - len(cells))], side))
                    cells = []
                done += 1
                tell(done, len(seeds) * len(targets))
    if sheet is not None:
        with png_rows(sheet, columns * (side + 2 * MARGIN)) as append:
            for band in rows:
                append(band)
        summary.written.append(Path(sheet))
    return summary


def check_sheet(sheet: Path, overwrite: bool) -> None:
    """Raise FolderError for a sheet that is no PNG, or that is there already."""
    if sheet.suffix.lower() != ".png":
        raise FolderError(f"a sheet is written as .png; {sheet} has another ending")
    if sheet.exists() and not overwrite:
        raise FolderError(f"{sheet} would be replaced: give another --sheet, or say --overwrite")
