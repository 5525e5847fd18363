"""Make pictures with a photograph's textures, and still with exact truth, out of a set of drawings.

    python tools/make_textured.py avatars_adventurer textured --textures photographs

What learns on flat drawings may not learn on photographs: nothing there has one colour. The drawings' manifest.csv has the
column `back`, the colour of the background; it becomes a cut of a photograph, and the figure is lit from one side, gets the
grain of a surface, blur, the noise of a sensor and the marks of JPEG. All of it is drawn by the picture's identity, so
that the true pictures of a test picture's edits differ from it where the edit is, and by the marks of JPEG around it.
The other columns stay. Without --textures the cuts are noise of a photograph's spectrum (amplitude one over frequency).
"""

from __future__ import annotations

import argparse
import csv
import io
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps

Floats = NDArray[np.float32]


def spectrum_noise(rng: np.random.Generator, side: int, channels: int) -> Floats:
    """Return noise [side, side, channels] of amplitude one over frequency: mean 0, deviation 1 in each channel."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = np.inf
    noise = np.fft.rfft2(rng.standard_normal((channels, side, side))) / frequency
    values = np.fft.irfft2(noise, (side, side)).transpose(1, 2, 0)
    return (values / values.std((0, 1))).astype(np.float32)


def cut(rng: np.random.Generator, photographs: Sequence[Image.Image], side: int) -> Floats:
    """Return a background [side, side, 3] in [0, 1]: a square of a photograph of any place and scale, or noise."""
    if not photographs:
        mean, spread = rng.uniform(0.25, 0.75, 3), rng.uniform(0.08, 0.25)
        grey, colour = spectrum_noise(rng, side, 1), spectrum_noise(rng, side, 3)
        return np.clip(mean + spread * (grey + 0.4 * colour), 0, 1).astype(np.float32)
    picture = photographs[rng.integers(len(photographs))]
    most = min(picture.size)
    of = int(rng.integers(min(side, most), most + 1))
    left, top = (int(rng.integers(0, length - of + 1)) for length in picture.size)
    square = picture.crop((left, top, left + of, top + of)).resize((side, side), Image.Resampling.BOX)
    values = np.asarray(square, np.float32) / 255
    return values[:, ::-1] if rng.random() < 0.5 else values


def figure(picture: Floats, back: Floats) -> Floats:
    """Return the opacity [H, W, 1] of the figure before a background of one colour, softened by a pixel."""
    near = np.abs(picture - back).max(2) < 0.12  # The marks of JPEG around the outline are within this.
    # Only what is joined to the border is background: an eye may have its colour.
    mask = ImageOps.expand(Image.fromarray(np.where(near, 0, 255).astype(np.uint8)), 1, 0)
    ImageDraw.floodfill(mask, (0, 0), 128)
    mask = ImageOps.crop(mask, 1).point(lambda value: 0 if value == 128 else 255).filter(ImageFilter.GaussianBlur(0.6))
    return np.asarray(mask, np.float32)[..., None] / 255


def textured(drawing: Image.Image, back: str, rng: np.random.Generator, photographs: Sequence[Image.Image]) -> Image.Image:
    """Return the drawing as a picture of textures; `back` is its background's colour in hexadecimal."""
    picture = np.asarray(drawing.convert("RGB"), np.float32) / 255
    side = len(picture)
    colour = np.frombuffer(bytes.fromhex(back), np.uint8).astype(np.float32) / 255
    opacity = figure(picture, colour)
    angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.35)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    light = 1 + depth * (np.cos(angle) * x + np.sin(angle) * y)
    grain = 1 + rng.uniform(0.03, 0.12) * spectrum_noise(rng, side, 1)
    whole = opacity * picture * light[..., None] * grain + (1 - opacity) * cut(rng, photographs, side)
    noise = rng.uniform(0, 0.03) * rng.standard_normal(whole.shape)
    blur, quality = rng.uniform(0, 0.8), int(rng.integers(60, 96))
    values = Image.fromarray((255 * np.clip(whole, 0, 1)).astype(np.uint8)).filter(ImageFilter.GaussianBlur(blur))
    values = np.clip(np.asarray(values, np.float32) + 255 * noise, 0, 255).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(values).save(encoded, "JPEG", quality=quality)
    return Image.open(encoded)


def main() -> None:
    """Make the set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the drawings, with manifest.csv")
    parser.add_argument("out", type=Path, help="where to write the new set")
    parser.add_argument("--textures", type=Path, help="a folder of photographs for the backgrounds (default: noise)")
    parser.add_argument("--by", default="identity", help="the column of what true pictures share (default identity)")
    args = parser.parse_args()
    photographs = [Image.open(path).convert("RGB") for path in sorted(args.textures.iterdir())] if args.textures else []
    with (args.source / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        target = (args.out / row["file"]).with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(args.source / row["file"]) as drawing:
            rng = np.random.default_rng(zlib.crc32(f"{row['split']}/{row[args.by]}".encode()))
            textured(drawing, row["back"], rng, photographs).save(target)
        row["file"] = Path(row["file"]).with_suffix(".png").as_posix()
    with (args.out / "manifest.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    print(f"{len(rows)} pictures in {args.out}")


if __name__ == "__main__":
    main()
