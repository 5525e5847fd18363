"""Parts of large photographs: each is translated at the model's size, and what that changes is added to the photograph.

A part that is larger than the model's pictures keeps its own detail: y = x + w (up(G(down(x))) - up(down(x))), where the weight
w falls to 0 towards the edges of the part. Where the model changes nothing, and outside, the photograph stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from asterism.config import ConfigError
from asterism.data.pictures import PictureError, PictureFormat, to_float
from asterism.data.transforms import Box
from asterism.inference.images import Picture, fit_in, open_file, to_array
from asterism.inference.kept import kept_of_file, write_kept
from asterism.inference.outcome import Summary, unwritable
from asterism.inference.styles import Target

if TYPE_CHECKING:
    from asterism.inference.translator import Translator

FADE = 1 / 8
"""Of a side: how wide the edge is over which a part gives way to the photograph."""

Rectangle = tuple[int, int, int, int]
"""Left, top, width and height in pixels of the upright picture."""

Regions = Sequence[Rectangle] | Callable[[np.ndarray[Any, Any]], Iterable[Rectangle]]
"""Rectangles, or what finds them in a picture, stored values [H, W, C]."""


def region_of(text: str) -> Rectangle:
    """Read `x,y,w,h`.

    Raises:
        ConfigError: these are not four whole numbers of a rectangle.
    """
    try:
        left, top, width, height = map(int, text.split(","))
    except ValueError:
        left = top = width = height = 0
    if width < 1 or height < 1 or left < 0 or top < 0:
        raise ConfigError(f"--region {text}: expected x,y,w,h in pixels: the left upper corner, the width and the height")
    return left, top, width, height


def translate_regions(
    translator: Translator, opened: Picture, targets: Sequence[Target], regions: Regions, batch_size: int = 16
) -> list[Tensor]:
    """Translate parts of a picture, each to every target, and return the whole picture for each target.

    Args:
        regions: each grows to the shape of the model's pictures, as far as the picture reaches.

    Returns:
        float32 [C, H, W] in [-1, 1] of the picture's own size, on the CPU.

    Raises:
        ConfigError: a model of features or label maps.
        PictureError: a region that lies outside the picture.
    """
    picture = translator.model.picture
    if picture.source or picture.taken.classes or picture.depth == 32:
        raise ConfigError(f"regions are parts of photographs, and this model takes {picture.taken.words}: leave them out")
    x = opened.x if opened.x.is_floating_point() else to_float(opened.x[None], picture)[0]
    results = [x.clone() for _ in targets]
    found = regions(opened.x.permute(1, 2, 0).numpy()) if callable(regions) else regions
    boxes = [_box(rectangle, x.shape[1], x.shape[2], picture) for rectangle in found]
    parts = []
    for box in boxes:
        part = replace(opened, x=opened.x[:, box.top : box.top + box.height, box.left : box.left + box.width], fitted=None)
        parts.append(replace(part, fitted=fit_in(part, picture, "letterbox", translator.machine.device)))
    for box, (part, made, back) in zip(boxes, translator.batches(parts, targets, batch_size=batch_size), strict=True):
        assert part.fitted is not None
        base, weight = back(part.fitted[0].float()), _weight(box, x.shape[1], x.shape[2])
        for result, y in zip(results, made, strict=True):
            change = (back(y.float()) - base)[0].cpu()
            result[:, box.top : box.top + box.height, box.left : box.left + box.width] += weight * change
    return [result.clamp(-1, 1) for result in results]


def _box(rectangle: Rectangle, height: int, width: int, picture: PictureFormat) -> Box:
    """Return a rectangle grown about its middle to the shape of the model's pictures, moved and cut to lie in the picture."""
    left, top, w, h = rectangle
    if left + w > width or top + h > height or min(left, top) < 0 or min(w, h) < 1:
        raise PictureError(f"the region {left},{top},{w},{h} does not lie in its {width} x {height} pixels")
    scale = max(w / picture.width, h / picture.height)
    grown_w, grown_h = min(width, round(scale * picture.width)), min(height, round(scale * picture.height))
    middle_x, middle_y = left + w / 2, top + h / 2
    return Box(
        min(max(0, round(middle_y - grown_h / 2)), height - grown_h),
        min(max(0, round(middle_x - grown_w / 2)), width - grown_w),
        grown_h,
        grown_w,
    )


def _weight(box: Box, height: int, width: int) -> Tensor:
    """Return w, float32 [h, w]: 1 in the middle, falling to 0 at those edges that are not the picture's."""
    sides = []
    for start, length, whole in ((box.top, box.height, height), (box.left, box.width, width)):
        edge = max(1, round(FADE * length))
        ramp = (1 - torch.cos(torch.pi * (torch.arange(edge) + 0.5) / edge)) / 2
        side = torch.ones(length)
        if start > 0:
            side[:edge] = ramp
        if start + length < whole:
            side[-edge:] = torch.minimum(side[-edge:], ramp.flip(0))
        sides.append(side)
    return sides[0][:, None] * sides[1][None, :]


def translate_region_files(
    translator: Translator,
    sources: Sequence[Path],
    results: Sequence[Sequence[Path]],
    targets: Sequence[Target],
    labels: Mapping[int, float],
    regions: Regions,
    summary: Summary,
    *,
    batch_size: int = 16,
    skip_existing: bool = False,
) -> None:
    """Translate parts of picture files, and note in `summary` what was done; arguments as for `translate_full`.

    Raises:
        FolderError: a result that cannot be written.
        ConfigError: as `translate_regions`.
    """
    for path, files in zip(sources, results, strict=True):
        wanted = [i for i, file in enumerate(files) if not (skip_existing and file.exists())]
        summary.kept += [file for i, file in enumerate(files) if i not in wanted]
        try:
            opened = replace(open_file(path, translator.model.picture), labels=labels)
            made = translate_regions(translator, opened, [targets[i] for i in wanted], regions, batch_size)
        except PictureError as error:
            summary.skipped.append((path, str(error)))
            continue
        kept = kept_of_file(path)
        for i, y in zip(wanted, made, strict=True):
            file = files[i]
            try:
                write_kept(file, to_array(y, translator.model.picture), kept)
            except OSError as error:
                raise unwritable(file, error) from error
            summary.written.append(file)
