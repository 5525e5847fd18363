"""Grids: sources in the first column, their translations to the right, targets and styles along the top."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from asterism.config import ConfigError
from asterism.data.pictures import PictureError, read
from asterism.inference.folder import FolderError, Summary, beyond_learnt, find_instances, find_pictures
from asterism.inference.images import Picture, as_stored, open_file, to_array
from asterism.inference.png_rows import png_rows
from asterism.inference.sheets import MARGIN, row, thumbnail
from asterism.inference.source_labels import stated
from asterism.inference.styles import Target
from asterism.inference.translator import Translator

FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "arial.ttf", "segoeui.ttf")
"""Fonts of Linux, macOS and Windows with more letters than Pillow's own."""


def draw_grid(
    translator: Translator,
    inputs: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    to: Sequence[str | Mapping[str, Any]] = (),
    styles: Sequence[int] = (),
    like: Sequence[str | os.PathLike[str]] = (),
    truncation: float = 1.0,
    strengths: Sequence[float] = (),
    side: int = 128,
    fit: str = "letterbox",
    labels: str | Mapping[str, Any] | None = None,
    batch_size: int = 16,
    overwrite: bool = False,
    instances: str | os.PathLike[str] | None = None,
) -> Summary:
    """Write a PNG in which each row is a source and each column a target, for recipes with styles in one style.

    Rows are written as they are translated, so that the number of sources is not limited by memory. A source that cannot be
    read is left out, and named.

    Args:
        inputs: the sources: picture files and folders.
        out: the PNG file.
        to: targets, as for `Translator.translate`; none takes every label by itself, of recipes with styles every domain.
        styles, like: seeds, then reference pictures and folders of them: a column each, in every target; references are
            read as pictures of the target. Without any, recipes with styles show the mean style.
        truncation: as for `Translator.translate`.
        strengths: for recipes that are told a strength: a column each, in every target.
        side: of a cell, in pixels; pictures are scaled to fit and never cropped.
        fit, labels, batch_size, overwrite, instances: as for `translate_folder`.

    Raises:
        ConfigError: no room for a cell.
        FolderError: no such input, another ending than .png, or a file that is there already.
        ModelError: a recipe that does not translate, styles for one without, or strengths for one that is told none.
        PictureError: a reference that cannot be read.
        LabelError: as for `translate_folder`.
    """
    translator.model.require("translates")
    out = Path(out)
    if out.suffix.lower() != ".png":
        raise FolderError(f"a grid is written as .png; {out} has another ending")
    if out.exists() and not overwrite:
        raise FolderError(f"{out} would be replaced: give another --out, or say --overwrite")
    if side < 16:
        raise ConfigError(f"a cell of {side} pixels is too small; 16 or more")
    picture = translator.model.picture
    (own,) = stated(translator.model.space, labels, 1)
    translator.check_strengths(strengths)
    looks: list[tuple[Any, float, Image.Image]] = []
    for strength in strengths:
        looks.append((None, strength, heading(f"strength {strength:g}", side)))
    for seed in styles:
        looks.append((translator.style(seed=seed, truncation=truncation), 1.0, heading(f"seed {seed}", side)))
    for path, _ in find_pictures([Path(p) for p in like], out) if like else []:
        try:
            look = translator.style(like=path, truncation=truncation, fit=fit)
            looks.append((look, 1.0, thumbnail(as_stored(read(path, picture.channels), picture.made), picture, side)))
        except PictureError as error:
            raise PictureError(f"reference {path}: {str(error).removeprefix(f'{path}: ')}") from error
    wanted = list(to) or list(translator.labels)
    looked = [(look, strength) for look, strength, _ in looks] or [(None, 1.0)]
    targets = [Target(edits, look, strength) for edits in map(translator.parse, wanted) for look, strength in looked]
    sources = find_pictures([Path(i) for i in inputs], out)
    beside, summary = find_instances(picture, instances, sources), Summary(beyond=beyond_learnt(targets))

    def opened() -> Iterator[Picture]:
        for (path, _), ids in zip(sources, beside, strict=True):
            try:
                yield replace(open_file(path, picture, ids), labels=own)
            except PictureError as error:
                summary.skipped.append((path, str(error)))

    with png_rows(out, (1 + len(targets)) * (side + 2 * MARGIN)) as append:
        for heads in _headings(wanted, [head for *_, head in looks], side):
            append(row([None, *heads], side))
        for source, made in translator.stream(opened(), targets, fit=fit, batch_size=batch_size):
            cells = [thumbnail(to_array(y, picture), picture, side) for y in made]
            append(row([thumbnail(source.x.permute(1, 2, 0).numpy(), picture.taken, side), *cells], side))
        if len(summary.skipped) == len(sources):
            raise FolderError(f"none of the sources can be read; the first: {sources[0][0]}: {summary.skipped[0][1]}")
    summary.written.append(out)
    return summary


def _headings(
    targets: Sequence[str | Mapping[str, Any]], looks: Sequence[Image.Image], side: int
) -> Iterator[list[Image.Image]]:
    """Yield the rows on top: the targets unless there is one in many looks, and the looks if there are any."""
    if len(targets) > 1 or not looks:
        names = [to if isinstance(to, str) else ", ".join(f"{k}={v}" for k, v in to.items()) for to in targets]
        yield [heading(name, side) for name in names for _ in range(max(1, len(looks)))]
    if looks:
        yield [head for _ in targets for head in looks]


def heading(text: str, side: int) -> Image.Image:
    """Write a heading over a column, in letters as large as fit."""
    size = max(10, side // 8)
    while size > 6 and lettered(text, size)[1].getlength(lettered(text, size)[0]) > side:
        size -= 1
    cell, (shown, font) = Image.new("RGB", (side, 2 * size), "white"), lettered(text, size)
    ImageDraw.Draw(cell).text((side // 2, size), shown, fill="black", font=font, anchor="mm")
    return cell


def lettered(text: str, size: int) -> tuple[str, ImageFont.FreeTypeFont | ImageFont.ImageFont]:
    """Return a text and a font that has its letters; where the system has none, letters lose their accents."""
    if not text.isascii():
        for name in FONTS:
            with suppress(OSError):
                return text, ImageFont.truetype(name, size)
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return plain, ImageFont.load_default(size=size)  # Pillow's own has the letters of English alone.
