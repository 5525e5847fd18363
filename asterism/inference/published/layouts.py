"""The layouts of published checkpoints, and export to them.

A layout is a module with `read` and `write`, and a line here. It may list networks that an import keeps on request (`EXTRAS`)
and tell the user something about an imported model (`remarks`).
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import ModuleType

import torch

from asterism.config import closest
from asterism.inference.published import (
    attgan,
    cyclegan,
    dcgan,
    discogan,
    ganimation,
    pix2pix,
    pix2pixhd,
    progan,
    relgan,
    semistargan,
    stargan,
    stargan_v2,
    stargan_vc,
    stgan,
    wgan,
)
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError
from asterism.storage.whole import write_whole

LAYOUTS: dict[str, ModuleType] = {
    "stargan": stargan,
    "fixed_point": stargan,  # The same keys and shapes: only the caller can tell which recipe a file is of.
    "stargan_v2": stargan_v2,
    "cyclegan": cyclegan,
    "pix2pix": pix2pix,
    "pix2pixhd": pix2pixhd,
    "discogan": discogan,
    "dcgan": dcgan,
    "wgan": wgan,
    "progan": progan,
    "relgan": relgan,
    "stgan": stgan,
    "attgan": attgan,
    "ganimation": ganimation,
    "semistargan": semistargan,
    "stargan_vc": stargan_vc,
}


def layout(name: str) -> ModuleType:
    """Return the published layout of a recipe.

    Raises:
        ModelError: it has none.
    """
    if name not in LAYOUTS:
        raise ModelError(f"there are no published checkpoints of recipe {name!r}: {closest(name, LAYOUTS)}")
    return LAYOUTS[name]


def remarks(model: Model) -> list[str]:
    """Return what the user of an imported model should know."""
    found: list[str] = getattr(layout(model.name), "remarks", lambda model: [])(model)
    return found


def export_published(model: Model, out: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
    """Write a model as the published code would have, in files that the modules of `LAYOUTS` describe.

    The published loaders load them strictly. A model file keeps discriminators in float16, so these are rounded to 11 bits;
    the other networks are exact.

    Args:
        model: from `load_model`; networks that it lacks are left out.
        out: folder for the files.
        overwrite: replace files that are there.

    Raises:
        ModelError: a recipe without published layout, or a file that is there already.
        OSError: a file that cannot be written.
    """
    files = {Path(out) / name: weights for name, weights in layout(model.name).write(model).items()}
    there = [str(path) for path in files if path.exists()]
    if there and not overwrite:
        raise ModelError(f"{', '.join(there)} would be replaced: give another --out, or say --overwrite")
    for path, weights in files.items():
        content = io.BytesIO()
        torch.save(weights, content)
        write_whole(path, content.getvalue(), sync=True)
    return list(files)
