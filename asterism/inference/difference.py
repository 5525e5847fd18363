"""Show what a translation changes: a map of the difference, and a figure with its scale.

The map's size is the mean over channels of |y - x|, the score of Fixed-Point GAN (arXiv:1908.06965); its sign is that of
the mean change: red where the picture gets brighter, blue where it gets darker. Values are shares of the pictures' value
range, so that the scale is the same for 8 and 16 bits and any number of channels.

Shapes: C channels, H x W pixels.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from asterism.data.pictures import PictureFormat
from asterism.inference.sheets import to_shown

FULL_COLOUR = 0.25
"""Default change, as a share of the value range, that is drawn in full colour."""

SMALLEST = 256
"""Minimum width of a figure's panels in pixels, so that its text can be read."""

# Colours from darker to brighter over grounds of white: blue, white, red; told apart by colour-blind readers too.
_STOPS = np.array([(5, 48, 97), (67, 147, 195), (255, 255, 255), (214, 96, 77), (103, 0, 31)], dtype=np.float32)

Array = np.ndarray
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def difference(x: Tensor, y: Tensor) -> Array:
    """Return how much y differs from x at each pixel, float32 [H, W] in [-1, 1], as a share of the value range.

    Args:
        x, y: float [C, H, W] in [-1, 1], source and translation.
    """
    change = (y.float() - x.float().to(y.device)) / 2
    size, sign = change.abs().mean(0), change.mean(0).sign()
    return (size * sign.where(sign != 0, 1.0)).cpu().numpy()


def heat_map(change: Array, full: float = FULL_COLOUR) -> Array:
    """Colour a difference.

    Args:
        change: float [H, W], from `difference`.
        full: the change that takes full colour; larger ones take it too.

    Returns:
        uint8 [H, W, 3]: white where nothing changes, red where it gets brighter, blue where it gets darker.
    """
    place = (np.clip(change / full, -1, 1) + 1) / 2 * (len(_STOPS) - 1)
    below = np.minimum(place.astype(int), len(_STOPS) - 2)
    share = (place - below)[..., None]
    return np.rint(_STOPS[below] * (1 - share) + _STOPS[below + 1] * share).astype(np.uint8)


def figure(stored: Array, change: Array, picture: PictureFormat, full: float = FULL_COLOUR) -> Image.Image:
    """Draw the source, grey, beside the map of what changes, over a bar that states the scale and the largest change.

    Args:
        stored: the source, [H, W, C] of the model's depth.
        change: float [H, W], from `difference`.
        picture: whose value range the scale is of.
        full: as for `heat_map`.
    """
    height, width = change.shape
    times = max(1, -(-SMALLEST // width))  # Small pictures are enlarged by a whole factor, pixels kept as squares.
    panel = (width * times, height * times)
    grey = Image.fromarray(_grey(stored, picture))
    panels = [grey.convert("RGB"), Image.fromarray(heat_map(change, full))]
    letters = max(11, min(28, panel[0] // 24))
    font, gap = ImageFont.load_default(size=letters), letters // 2
    foot = 4 * letters + 4 * gap
    sheet = Image.new("RGB", (2 * panel[0] + gap, panel[1] + foot), "white")
    for k, shown in enumerate(panels):
        sheet.paste(shown.resize(panel, Image.Resampling.NEAREST), (k * (panel[0] + gap), 0))
    _draw_scale(sheet, panel, gap, letters, font, full)
    low, high = picture.low, picture.high
    where = np.unravel_index(np.abs(change).argmax(), change.shape)
    words = [
        f"largest change {100 * change[where]:+.1f} %, at x {where[1]}, y {where[0]}",
        f"mean change {100 * np.abs(change).mean():.2f} %",
        f"100 % is the range {low:g} to {high:g}",
    ]
    text = "\n".join(_fitted(line, font, panel[0] - gap) for line in words)
    ImageDraw.Draw(sheet).multiline_text((gap, panel[1] + gap), text, fill="black", font=font, spacing=gap // 2)
    return sheet


def _draw_scale(sheet: Image.Image, panel: tuple[int, int], gap: int, letters: int, font: Font, full: float) -> None:
    """Draw the colour bar under the map, with its ends and middle named."""
    left, top = panel[0] + gap, panel[1] + gap
    bar = heat_map(np.tile(np.linspace(-full, full, panel[0], dtype=np.float32), (letters, 1)), full)
    sheet.paste(Image.fromarray(bar), (left, top))
    draw, line = ImageDraw.Draw(sheet), top + letters + gap // 2
    draw.rectangle((left, top, left + panel[0] - 1, top + letters - 1), outline="grey")
    for share, text, anchor in ((0.0, f"-{100 * full:g} %", "la"), (0.5, "0", "ma"), (1.0, f"+{100 * full:g} %", "ra")):
        draw.text((left + share * (panel[0] - 1), line), text, fill="black", font=font, anchor=anchor)
    for share, text, anchor in ((0.0, "darker", "la"), (1.0, "brighter", "ra")):
        draw.text((left + share * (panel[0] - 1), line + letters), text, fill="black", font=font, anchor=anchor)


def _grey(stored: Array, picture: PictureFormat) -> Array:
    """Return the source as uint8 [H, W]: luma of colour, the mean of other channels, over the model's value range."""
    if stored.shape[2] == 3:
        return np.array(Image.fromarray(to_shown(stored, picture)).convert("L"))
    values = (stored.astype(np.float32).mean(2) - picture.low) / (picture.high - picture.low)
    return np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)


def _fitted(text: str, font: Font, width: int) -> str:
    """Break the text into lines of at most so many pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)
