"""Contact sheets: pictures of any size and kind in rows, with a title over each column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from asterism.data.pictures import from_pil, to_depth

MARGIN = 4
"""White pixels around each cell."""


def contact_sheet(rows: Sequence[Sequence[Any]], titles: Sequence[str] = (), side: int = 192) -> Image.Image:
    """Draw a sheet, such as sources with their translations.

    Args:
        rows: per row its pictures: PIL images, or arrays HWC or HW of uint8 or uint16, of any size and channel count
            (of two channels the first is shown, of more than three the first three). Rows may differ in length.
        titles: a heading per column, none for no headings.
        side: longest side of a cell, in pixels; pictures are scaled to fit and never cropped.

    Returns:
        An RGB image.
    """
    cells = [[thumbnail(picture, side) for picture in row] for row in rows]
    columns = max(len(titles), *(len(row) for row in cells))
    letters = max(11, side // 14)
    font = ImageFont.load_default(size=letters)
    head = 2 * letters if titles else 0
    step = side + 2 * MARGIN
    sheet = Image.new("RGB", (columns * step, head + len(cells) * step), "white")
    draw = ImageDraw.Draw(sheet)
    for k, title in enumerate(titles):
        draw.text((k * step + step // 2, head // 2), _shorten(title, font, side), fill="black", font=font, anchor="mm")
    for r, row in enumerate(cells):
        for k, cell in enumerate(row):
            sheet.paste(cell, (k * step + (step - cell.width) // 2, head + r * step + (step - cell.height) // 2))
    return sheet


def thumbnail(picture: Any, side: int) -> Image.Image:
    """Return a picture, as `contact_sheet` takes them, in RGB with its longest side as given."""
    array = from_pil(picture) if isinstance(picture, Image.Image) else picture
    array = array[..., None] if array.ndim == 2 else array
    array = to_depth(array, 8)
    array = array[..., :3] if array.shape[2] >= 3 else np.repeat(array[..., :1], 3, axis=2)
    image = Image.fromarray(np.ascontiguousarray(array))
    scale = side / max(image.size)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.LANCZOS)


def _shorten(title: str, font: Any, width: int) -> str:
    """Cut the title, with three dots, so that it stays over its column."""
    shown = title
    while shown and font.getlength(shown) > width:
        title = title[:-1]
        shown = title + "..." if title else ""
    return shown
