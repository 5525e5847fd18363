"""Drawn discs: what the small data sets of the tests hold."""

from __future__ import annotations

import random

from PIL import Image, ImageDraw

COLOURS = {"Red": (214, 48, 40), "Green": (44, 160, 64), "Blue": (40, 84, 214)}


PICTURES = 24  # Per colour.


def draw(rng: random.Random, colour: tuple[int, int, int], border: bool = False) -> Image.Image:
    """Draw a disc of any place and size on a grey ground, 32 x 32 pixels, RGB; `border` adds a black frame."""
    ground = rng.randrange(150, 230)
    picture = Image.new("RGB", (32, 32), (ground, ground, ground))
    pen, radius = ImageDraw.Draw(picture), rng.randrange(6, 10)
    x, y = rng.randrange(radius + 2, 30 - radius), rng.randrange(radius + 2, 30 - radius)
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    if border:
        pen.rectangle((0, 0, 31, 31), outline=(0, 0, 0), width=2)
    return picture
