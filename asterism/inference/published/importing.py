"""Import published checkpoints as runs; every key must match."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from asterism.data.pictures import PictureFormat
from asterism.inference.published.containers import Weights
from asterism.inference.published.layouts import layout
from asterism.labels import LabelSpace
from asterism.recipes import recipe_class
from asterism.recipes.model import save_model
from asterism.recipes.settings import Settings
from asterism.storage.model_file import FILE_NAME, ModelError
from asterism.storage.whole import write_json


def import_published(
    name: str,
    files: Sequence[str | os.PathLike[str]],
    *,
    space: LabelSpace | None = None,
    size: tuple[int, int] | None = None,
    out: str | os.PathLike[str],
    licence: str = "",
    keep: Sequence[str] = (),
) -> Path:
    """Make a run from published checkpoints, for `translate`, `evaluate` and `train --init`.

    Widths and depths are inferred from the tensors' shapes. Recipes may share keys and shapes, so the caller names the recipe.

    Args:
        name: the recipe.
        files: its checkpoint files in any order; the module of its layout says which. Without the network that classifies, the
            labels that a target does not name cannot be predicted.
        space: the labels in the order of training (`LabelSpace.from_text` reads them from words); None: the layout's own.
        size: height and width of the pictures of training; None: what the files or the layout tell.
        out: folder of the run, new or empty.
        licence: of the weights; none takes that of the authors' files where it is known. Kept in the model file.
        keep: extra networks to keep, by name; a layout lists its own as `EXTRAS`.

    Returns:
        The model file.

    Raises:
        ModelError: a file that cannot be read, that belongs to something else, or that does not fit `space` or `size`;
            names the file and the key.
        SizeError: a size that the networks cannot take.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ModelError(f"{out} already exists and is not empty: choose another folder for the run")
    paths = list(dict.fromkeys(Path(file) for file in files))
    module = layout(name)
    extras = getattr(module, "EXTRAS", ())
    for network in keep:
        if network not in extras:
            raise ModelError(f"recipe {name} has no extra network {network!r} to keep; it has {', '.join(extras) or 'none'}")
    found = module.read(paths, space, size, keep) if keep else module.read(paths, space, size)
    overrides: dict[str, object] = {f"recipe.{key}": value for key, value in found.config.items()} | {"data.size": found.size}
    binary = [label for group in found.space.groups if group.kind == "binary" for label in group.labels]
    excluding = dict.fromkeys(",".join(names) for group in found.space.groups for names in group.exclusive)
    # Of all columns that a table may have, for evaluation.
    overrides |= {"data.labels": ",".join(binary), "data.exclusive": ";".join(excluding)}
    conflicts = dict.fromkeys("|".join(names) for group in found.space.groups for names in group.conflicts)
    overrides |= {"data.conflicts": ",".join(conflicts)} if conflicts else {}
    preset = "published" if "published" in recipe_class(name).presets else None
    settings = Settings.resolve(name, preset=preset, overrides=overrides)
    with torch.random.fork_rng(devices=[]):
        picture = replace(PictureFormat(found.channels, *found.size), source=found.source)
        picture = replace(picture, low=-1.0, high=1.0, depth=32) if found.features else picture
        recipe = recipe_class(name)(settings.recipe, found.space, picture)
    for network, (path, weights) in found.networks.items():
        _check(path, weights, recipe.networks[network])
    weights = {f"{network}.{key}": t for network, (_, given) in found.networks.items() for key, t in given.items()}
    step = next((int(m[1]) for path in paths if (m := re.match(r"(\d+)[-_.]", path.name))), 0)
    licence = licence or found.licence or "not stated"
    info = {"step": step, "created_from": [path.name for path in paths], "licence": licence}
    save_model(out / FILE_NAME, recipe, name, weights, info=info)
    write_json(out / "config.json", settings.to_json())
    return out / FILE_NAME


def _check(path: Path, weights: Weights, network: nn.Module) -> None:
    """Raise ModelError unless the file holds exactly the network's parameters."""
    expected = network.state_dict()
    missing, surprising = [k for k in expected if k not in weights], [k for k in weights if k not in expected]
    if missing or surprising:
        parts = [f"lacks {', '.join(missing[:3])}"] if missing else []
        parts += [f"holds {', '.join(surprising[:3])}, which the network does not have"] if surprising else []
        raise ModelError(f"{path} {' and '.join(parts)} ({len(missing)} missing, {len(surprising)} unexpected keys)")
    for key, tensor in weights.items():
        if tensor.shape != expected[key].shape:
            raise ModelError(f"{path}: {key} is {list(tensor.shape)}; expected {list(expected[key].shape)}")
