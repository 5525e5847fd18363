"""A sequence of pictures as a strip, a GIF, a video or files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from asterism.config import ConfigError
from asterism.data.pictures import PictureFormat, write
from asterism.inference.sheets import row, thumbnail
from asterism.storage.whole import writing

ENDINGS = {"strip": ".png", "gif": ".gif", "mp4": ".mp4", "frames": ""}
"""Output kinds of a sequence and their file endings; `frames` makes a folder."""


SLOWEST, FASTEST = 0.002, 1000.0
"""Frames per second; a GIF holds each for at most 655 s."""


def check_kind(kind: str, fps: float) -> None:
    """Make sure that a kind of sequence can be written, before anything is worked out.

    Raises:
        ConfigError: no such kind, a video without the extra that writes it, or frames that no film shows.
    """
    if not SLOWEST <= fps <= FASTEST:
        raise ConfigError(f"frames per second are {fps:g}; expected {SLOWEST:g} to {FASTEST:,.0f}")
    if kind not in ENDINGS:
        raise ConfigError(f"the format of a sequence is one of {', '.join(ENDINGS)}, not {kind!r}")
    if kind == "mp4":
        try:
            import imageio.v2  # noqa: F401
            import imageio_ffmpeg  # noqa: F401
        except ImportError as error:
            raise ConfigError(
                'mp4 needs the video extra: pip install "asterism[video]"; gif, strip and frames need no extra'
            ) from error


def write_sequence(
    path: Path,
    pictures: Iterator[np.ndarray],
    picture: PictureFormat,
    kind: str,
    *,
    side: int | None,
    fps: float,
    first: np.ndarray,
) -> list[Path]:
    """Write a sequence; each file is written whole or not at all.

    Frames and video are written as they come; a strip and a GIF, which is of 256 colours, are put together in memory.

    Args:
        path: the file, or for `frames` the folder, whose older frames are replaced.
        pictures: stored values [H, W, C], all of one size.
        picture: says how they are shown.
        kind: one of `ENDINGS`.
        side: longest side of what is drawn, in pixels; none keeps the pictures' own (for `strip` 256).
        fps: frames per second, of gif and mp4.
        first: the source, drawn in front of a strip.

    Returns:
        The files written.
    """
    if kind == "frames":
        files = []
        for number, frame in enumerate(pictures, 1):
            files.append(path / f"{number:04}{'.png' if side or _fits_png(frame) else '.tif'}")
            write(files[-1], frame if side is None else np.asarray(thumbnail(frame, picture, side)))
        for old in {*path.glob("[0-9]*.png"), *path.glob("[0-9]*.tif")} - {*files}:  # Of a longer sequence that stood here.
            old.unlink()
        return files
    with writing(path) as partial:
        if kind == "strip":
            cells = [thumbnail(first, picture.taken, side or 256)]
            cells += [thumbnail(array, picture, side or 256) for array in pictures]
            Image.fromarray(row(cells, side or 256)).save(partial)
        elif kind == "gif":
            drawn = [thumbnail(array, picture, side).quantize(256, dither=Image.Dither.NONE) for array in pictures]
            drawn[0].save(partial, save_all=True, append_images=drawn[1:], duration=round(1000 / fps), loop=0)
        else:
            _write_video(partial, pictures, picture, side, fps)
    return [path]


def _write_video(path: Path, pictures: Iterator[np.ndarray], picture: PictureFormat, side: int | None, fps: float) -> None:
    """Write H.264, which takes even sides only: an odd one is filled up by repeating its last pixels."""
    import imageio.v2 as imageio

    video = imageio.get_writer(
        path, format="FFMPEG", mode="I", fps=fps, codec="libx264", pixelformat="yuv420p", macro_block_size=2
    )
    with video:
        for array in pictures:
            frame = np.asarray(thumbnail(array, picture, side))
            odd = ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0))
            video.append_data(np.pad(frame, odd, mode="edge"))


def _fits_png(picture: np.ndarray) -> bool:
    return picture.shape[2] <= 4 and (picture.dtype == np.uint8 or picture.shape[2] == 1)
