"""Reference x source grids: the first row shows the references, the first column the sources."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from asterism.config import ConfigError
from asterism.data.pictures import PictureError, read
from asterism.inference.folder import FolderError, Summary, find_pictures
from asterism.inference.images import open_file, to_array
from asterism.inference.png_rows import PngRows
from asterism.inference.sheets import MARGIN, thumbnail
from asterism.inference.source_labels import stated
from asterism.inference.translator import Translator


def reference_grid(
    translator: Translator,
    inputs: Sequence[str | os.PathLike[str]],
    to: str | Mapping[str, Any],
    out: str | os.PathLike[str],
    *,
    styles: Sequence[int] = (),
    like: Sequence[str | os.PathLike[str]] = (),
    truncation: float = 1.0,
    side: int = 128,
    fit: str = "letterbox",
    labels: str | Mapping[str, Any] | None = None,
    batch_size: int = 16,
    overwrite: bool = False,
) -> Summary:
    """Write a PNG in which each row is a source and each column a style: what it looks like, and every source in it.

    Row after row is translated and written, so that the number of sources is not limited by memory. A source that cannot
    be read is left out, and named.

    Args:
        inputs: the sources: picture files and folders.
        to: the target, as for `Translator.translate`; references are read as pictures of it.
        out: the PNG file.
        styles, like: seeds, then reference pictures and folders of them: the columns.
        truncation: as for `Translator.translate`.
        side: of a cell, in pixels; pictures are scaled to fit and never cropped.
        fit, labels, batch_size, overwrite: as for `translate_folder`.

    Raises:
        ConfigError: no styles at all, or no room for a cell.
        FolderError: no such input, another ending than .png, or a file that is there already.
        PictureError: a reference that cannot be read.
        LabelError, ModelError: as for `translate_folder`.
    """
    out = Path(out)
    if out.suffix.lower() != ".png":
        raise FolderError(f"a grid is written as .png; {out} has another ending")
    if out.exists() and not overwrite:
        raise FolderError(f"{out} would be replaced: give another --out, or say --overwrite")
    references = [path for path, _ in find_pictures([Path(p) for p in like], out)] if like else []
    if not references and not styles:
        raise ConfigError("a grid needs columns: --like PICTURE (or a folder) or --style SEED, each as often as wanted")
    if side < 16:
        raise ConfigError(f"a cell of {side} pixels is too small; 16 or more")
    edits, picture = translator.parse(to), translator.model.picture
    (own,) = stated(translator.model.space, labels, 1)
    looks = [translator.style(seed=seed, truncation=truncation) for seed in styles]
    heads = [_words(f"seed {seed}", side) for seed in styles]
    for path in references:
        try:
            looks.append(translator.style(like=path, truncation=truncation, fit=fit))
            heads.append(thumbnail(read(path, picture.channels), side))
        except PictureError as error:
            raise PictureError(f"reference {path}: {str(error).removeprefix(f'{path}: ')}") from error
    sources = find_pictures([Path(i) for i in inputs], out)
    summary = Summary()
    with PngRows(out, (1 + len(looks)) * (side + 2 * MARGIN)) as sheet:
        sheet.append(_row([None, *heads], side))
        for path, _ in sources:
            try:
                opened = replace(open_file(path, picture), labels=own)
            except PictureError as error:
                summary.skipped.append((path, str(error)))
                continue
            made = translator.in_each(opened, edits, [look for look in looks if look], fit=fit, batch_size=batch_size)
            cells = [thumbnail(to_array(y, picture), side) for y in made]
            sheet.append(_row([thumbnail(opened.x.permute(1, 2, 0).numpy(), side), *cells], side))
        if len(summary.skipped) == len(sources):
            raise FolderError(f"none of the sources can be read; the first: {sources[0][0]}: {summary.skipped[0][1]}")
    summary.written.append(out)
    return summary


def _row(cells: Sequence[Image.Image | None], side: int) -> np.ndarray:
    """Draw cells side by side, each in the middle of its white square: uint8 [h, w, 3]."""
    step = side + 2 * MARGIN
    band = Image.new("RGB", (len(cells) * step, step), "white")
    for k, cell in enumerate(cells):
        if cell is not None:
            band.paste(cell, (k * step + (step - cell.width) // 2, (step - cell.height) // 2))
    return np.asarray(band)


def _words(text: str, side: int) -> Image.Image:
    cell = Image.new("RGB", (side, side), "white")
    font = ImageFont.load_default(size=max(10, side // 7))
    ImageDraw.Draw(cell).text((side // 2, side // 2), text, fill="black", font=font, anchor="mm")
    return cell
