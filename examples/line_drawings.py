"""Make line drawings of pictures, and pairs of both for pix2pix.

    python examples/line_drawings.py FACES OUT
    asterism train pix2pix --preset small --data OUT --out runs/lines

FACES is a folder of pictures, or holds `manifest.csv` with the columns `file` and perhaps `split`. OUT gets `drawings/`,
`pictures/` and `pairs.csv`, a table with two columns of pictures. It needs NumPy and Pillow, which asterism brings along.

A line is where a colour channel is darker than its surroundings: the difference of two Gaussians, as in drawings by XDoG
(Winnemoeller, Kyprianidis, Olsen 2012), of which only the lines are kept. A drawing is black on white; whether an area is dark
or light, and its colour, are not in it.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def blurred(x: np.ndarray, sigma: float) -> np.ndarray:
    """Return pictures [H, W, C] blurred by a Gaussian of `sigma` pixels; edges are continued."""
    reach = int(np.ceil(3 * sigma))
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    for axis in (0, 1):
        padded = np.pad(x, [(reach, reach) if a == axis else (0, 0) for a in range(3)], "edge")
        x = sum(w * padded.take(range(i, i + x.shape[axis]), axis) for i, w in enumerate(weights))
    return x


def drawing(picture: Image.Image, sigma: float, threshold: float) -> Image.Image:
    """Return the black lines of an RGB picture on white.

    Args:
        sigma: half the width of a line in pixels, about.
        threshold: how much darker than its surroundings a line is, as a share of the range.
    """
    x = np.asarray(picture, np.float32) / 255
    darker = (blurred(x, 1.6 * sigma) - blurred(x, sigma)).max(2)
    return Image.fromarray(np.where(darker > threshold, 0, 255).astype(np.uint8)).convert("RGB")


def main() -> None:
    """Draw every picture, and write the table of pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, help="a folder of pictures, or with a manifest.csv")
    parser.add_argument("out", type=Path, help="where to write the pairs")
    parser.add_argument("--size", type=int, help="side in pixels that drawings and pictures are shrunk to, square")
    parser.add_argument("--sigma", type=float, default=0.7, help="half the width of a line in pixels (default 0.7)")
    parser.add_argument("--threshold", type=float, default=0.02, help="how much darker a line is, 0 to 1 (default 0.02)")
    options = parser.parse_args()

    table = options.faces / "manifest.csv"
    if table.exists():
        with open(table, newline="", encoding="utf-8") as file:
            rows = [(row["file"], row.get("split", "")) for row in csv.DictReader(file)]
    else:
        files = sorted(path for path in options.faces.rglob("*") if path.suffix.lower() in SUFFIXES)
        rows = [(path.relative_to(options.faces).as_posix(), "") for path in files]
    pairs = []
    for name, split in rows:
        with Image.open(options.faces / name) as file:
            picture = file.convert("RGB")
        drawn = drawing(picture, options.sigma, options.threshold)
        names = []
        for folder, result in (("drawings", drawn), ("pictures", picture)):
            target = options.out / folder / Path(name).with_suffix(".png")
            target.parent.mkdir(parents=True, exist_ok=True)
            if options.size:
                result = result.resize((options.size, options.size), Image.Resampling.BOX)
            result.save(target)
            names.append(target.relative_to(options.out).as_posix())
        pairs.append((*names, split))
    with open(options.out / "pairs.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("drawing", "picture", "split"), *pairs])
    print(f"{len(pairs)} pairs in {options.out}")


if __name__ == "__main__":
    main()
