"""Small sets of label maps and the pictures that they are of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = np.array([[20, 20, 20], [220, 80, 60], [70, 190, 90], [60, 90, 210], [240, 240, 90]], np.uint8)
"""Of five classes, in the palette of the maps and in the pictures."""

SPLITS = ("train",) * 8 + ("val", "test")
SIDE = 24


def ids(number: int, side: int = SIDE) -> np.ndarray:
    """A label map: on class 0 a square of each other class, uint8 [side, side]."""
    rng, made = np.random.default_rng(number), np.zeros((side, side), np.uint8)
    for label in range(1, len(COLOURS)):
        y, x = rng.integers(0, side - 8, 2)
        made[y : y + 8, x : x + 8] = label
    return made


def palette(array: np.ndarray, colours: np.ndarray = COLOURS) -> Image.Image:
    """Ids as a palette picture."""
    image = Image.fromarray(array, "P")
    image.putpalette(colours.flatten().tolist())
    return image


def put(image: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def write(
    root: Path, as_map: Callable[[np.ndarray], Image.Image] = palette, where: str = "{split}/{domain}/{number}.png"
) -> Path:
    """Ten pairs, eight of them for training: maps in A, and in B the same in colours, which nothing blurs."""
    for number, split in enumerate(SPLITS):
        put(as_map(ids(number)), root / where.format(split=split, domain="A", number=number))
        put(Image.fromarray(COLOURS[ids(number)]), root / where.format(split=split, domain="B", number=number))
    return root


def write_instances(root: Path, first: int = 33_000) -> Path:
    """The layout and the names of pix2pixHD's Cityscapes, with 16-bit ids of instances: those of class 1 are two halves."""
    for number, split in enumerate(SPLITS):
        array, instances = ids(number), ids(number).astype(np.uint16) + first
        instances[:, : SIDE // 2][array[:, : SIDE // 2] == 1] = 7
        put(Image.fromarray(array), root / f"{split}_label" / f"x{number}_gtFine_labelIds.png")
        put(Image.fromarray(instances), root / f"{split}_inst" / f"x{number}_gtFine_instanceIds.png")
        put(Image.fromarray(COLOURS[array]), root / f"{split}_img" / f"x{number}_leftImg8bit.png")
    return root
