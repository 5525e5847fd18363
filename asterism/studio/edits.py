"""What the studio's tabs for models that generate do: a start, strokes, a choice. Nothing here knows of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from asterism.config import ConfigError
from asterism.inference.editing import Edited, Warp, edit_pictures
from asterism.inference.fast_png import write_result
from asterism.inference.reading import own_projector, read_by
from asterism.inference.sheets import thumbnail
from asterism.manifold.spaces import Ball, along
from asterism.studio.models import StudioModel, new_file

SHOWN = 384
"""Pixels of the longer side at which a model's small pictures are shown and drawn on."""


@dataclass(frozen=True)
class Desk:
    """An edit on the page, which goes on from step to step.

    Args:
        start: the code [Z] that it began with.
        code: the code at present: the start's, or of the candidate that was chosen last.
        photo: the file that was projected to the start, if one was.
        to: what the model is told, where it is told labels.
        edited: what the last strokes came to; none before the first.
    """

    start: Tensor
    code: Tensor
    photo: str | None = None
    to: str | None = None
    edited: Edited | None = None


def begin(model: StudioModel, photo: str | None, seed: int, to: str | None) -> Desk:
    """Begin with a photograph, which is projected, or else with a seed."""
    translator = model.translator
    with model.lock:
        if photo is None:
            code = translator.latents(seeds=[seed])[0]
        else:
            projector = own_projector(translator)
            read = read_by(translator, projector) if projector else None
            code = translator.project(photo, to=to, read=read).codes[0]
    return Desk(code, code, photo, to)


def shown(model: StudioModel, desk: Desk) -> Image.Image:
    """Return the picture of the present code, enlarged so that it can be drawn on."""
    with model.lock:
        (picture,) = model.translator.generate(code=desk.code, to=desk.to)
    return enlarged(model, picture)


def enlarged(model: StudioModel, picture: Any) -> Image.Image:
    """Return one of the model's pictures in RGB, enlarged."""
    array = np.asarray(picture)
    return thumbnail(array[:, :, None] if array.ndim == 2 else array, model.picture, SHOWN)


def drawn(layers: Sequence[np.ndarray]) -> np.ndarray:
    """Put an editor's layers, uint8 [H, W, 4] each, into one picture of strokes, the last on top.

    Raises:
        ConfigError: nothing was drawn.
    """
    whole: Image.Image | None = None
    for layer in layers:
        image = Image.fromarray(np.ascontiguousarray(layer)).convert("RGBA")
        whole = image if whole is None else Image.alpha_composite(whole, image)
    if whole is None or not np.asarray(whole)[:, :, 3].any():
        raise ConfigError("draw something on the picture first")
    return np.asarray(whole)


def with_strokes(
    model: StudioModel,
    desk: Desk,
    *,
    paint: np.ndarray | None = None,
    sketch: np.ndarray | None = None,
    warp: Sequence[Warp] = (),
    candidates: int = 32,
    steps: int = 30,
) -> Desk:
    """Edit the present code by strokes; as `edit_pictures`."""
    with model.lock:
        edited = edit_pictures(
            model.translator,
            desk.code,
            paint=paint,
            sketch=sketch,
            warp=warp,
            to=desk.to,
            candidates=candidates,
            steps=steps,
        )
    return replace(desk, edited=edited)


def chosen(desk: Desk, number: int) -> Desk:
    """Go on with a candidate."""
    assert desk.edited is not None
    return replace(desk, code=desk.edited.codes[number])


def between(model: StudioModel, desk: Desk, share: float) -> Image.Image:
    """Return the picture at a share of the way from the start to the present code."""
    codes = along(Ball(len(desk.start)), desk.start, desk.code, 101)
    with model.lock:
        (picture,) = model.translator.generate(code=codes[round(100 * share)], to=desk.to)
    return enlarged(model, picture)


def photograph(model: StudioModel, desk: Desk) -> Path:
    """Do what the edit did to the photograph itself, and return its file.

    Raises:
        ConfigError: it began with no photograph, or nothing was edited yet.
    """
    if desk.photo is None or desk.edited is None:
        raise ConfigError("begin with a photograph and edit it first: then the edit can be done to the photograph itself")
    held = replace(desk.edited, codes=desk.code[None])
    with model.lock:
        made = np.asarray(held.transfer(0, desk.photo, desk.start))
    file = new_file(f"{Path(desk.photo).stem}__edited.png")
    write_result(file, made[:, :, None] if made.ndim == 2 else made)
    return file
