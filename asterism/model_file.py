"""The model file: `model.safetensors`, from which a trained model is rebuilt with no other file.

The tensors are the recipe's state dict (`generator.main.0.weight`, ...). The metadata, all of it JSON text, says what
they belong to:

    format     version of this layout
    recipe     name in the registry; decides, since recipes may share keys and shapes (StarGAN and Fixed-Point GAN)
    config     the recipe's configuration
    labels     the label space's groups
    picture    size, channels, depth and value range of the pictures
    networks   the networks that the file holds; an imported generator may come alone
    info       about the model: version, step, scores, data, licence, created_from
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from asterism import __version__
from asterism.config import build, closest, to_dict
from asterism.data.pictures import PictureFormat
from asterism.files import write_whole
from asterism.labels import LabelSpace
from asterism.recipes import JUDGES, RECIPES, recipe_class
from asterism.recipes.base import Recipe

FORMAT = 1
FILE_NAME = "model.safetensors"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class ModelError(ValueError):
    """A model file that cannot be found, read, written or used; the message says why and what to do."""


@dataclass(frozen=True)
class Model:
    """A trained model, ready to translate.

    Args:
        recipe: its networks, float32, in eval mode and without gradients.
        name: the recipe's name in the registry.
        space: the labels it knows.
        picture: the pictures it takes.
        config: the recipe's configuration.
        info: what the file tells about itself: version, step, scores, data, licence, created_from.
        missing: networks that the file does not hold; they stand in `recipe` with random weights and must not be used.
    """

    recipe: Recipe
    name: str
    space: LabelSpace
    picture: PictureFormat
    config: Any
    info: Mapping[str, Any]
    missing: tuple[str, ...] = ()


def save_model(
    path: str | os.PathLike[str], recipe: Recipe, name: str, weights: Mapping[str, Tensor], *, info: Mapping[str, Any]
) -> None:
    """Write a model file, whole or not at all.

    Networks named in `recipe.averaged` and those never trained, which make the translations, are kept in float32; the others,
    of which only the class head is used later, in float16.

    Args:
        path: the file to write or replace.
        recipe: gives the configuration, the labels and the pictures; its own weights are not read.
        name: the recipe's name in the registry.
        weights: the recipe's state dict, averages applied, of all networks or of some whole networks.
        info: JSON values about the model; the library's version is added.

    Raises:
        ModelError: an incomplete network, or no room on the disk.
    """
    given = {key.partition(".")[0] for key in weights}
    exact = {n for n in recipe.networks if n in recipe.averaged or n not in recipe.optimizers()}
    networks = {n: network for n, network in recipe.networks.items() if n in given or n in exact}
    _compare({f"{n}.{key}" for n, network in networks.items() for key in network.state_dict()}, weights)
    tensors = {key: _stored(t, exact=key.partition(".")[0] in exact) for key, t in weights.items()}
    metadata = {
        "format": FORMAT,
        "recipe": name,
        "config": to_dict(recipe.config),
        "labels": recipe.space.to_json(),
        "picture": asdict(recipe.picture),
        "networks": list(networks),
        "info": {**info, "version": __version__},
    }
    write_file(path, save(tensors, {key: json.dumps(value) for key, value in metadata.items()}))


def load_model(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Model:
    """Rebuild a model from its file.

    Random numbers drawn elsewhere are not disturbed.

    Args:
        path: a model file; `find_model` finds it from a run folder or a hub name.
        device: where its networks go.

    Raises:
        ModelError: not a model file of this library, damaged, written by a newer version, or of an unknown recipe.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if "format" not in metadata or "recipe" not in metadata:
                raise ModelError(
                    f"{path} holds tensors but no model of asterism; published weights come in through `asterism import`"
                )
            weights = {key: file.get_tensor(key) for key in file.keys()}
        facts = {key: json.loads(value) for key, value in metadata.items()}
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise ModelError(f"cannot read {path}: {error}. The file is damaged or no safetensors file; copy it again") from error
    written_by = f"asterism {facts.get('info', {}).get('version', '(unknown)')}"
    if facts["format"] != FORMAT:
        raise ModelError(
            f"{path} has format {facts['format']}, written by {written_by}; this is {__version__}: upgrade asterism"
        )
    if facts["recipe"] not in RECIPES | JUDGES:
        raise ModelError(
            f"{path} is a model of recipe {facts['recipe']!r}, written by {written_by}: {closest(facts['recipe'], RECIPES)}"
        )
    try:
        recipe_type = recipe_class(facts["recipe"])
        config = build(recipe_type.config_type, facts["config"])
        space, picture = LabelSpace.from_json(facts["labels"]), PictureFormat(**facts["picture"])
        with torch.random.fork_rng(devices=[]):
            recipe = recipe_type(config, space, picture)
        _fill(recipe, weights, facts["networks"])
        info = dict(facts["info"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}, written by {written_by}, does not fit asterism {__version__}: {error}") from error
    recipe.eval().requires_grad_(False).to(device)
    missing = tuple(n for n in recipe.networks if n not in facts["networks"])
    return Model(recipe, facts["recipe"], space, picture, config, info, missing)


def find_model(path_or_name: str | os.PathLike[str]) -> Path:
    """Return the model file that a user means.

    Args:
        path_or_name: a model file; a run folder; else, if there is not even a folder `owner` here, a hub name `owner/name`,
            whose `model.safetensors` is downloaded once.

    Raises:
        ModelError: there is none; says what was looked for.
    """
    path = Path(path_or_name).expanduser()
    if path.is_dir():
        if (path / FILE_NAME).is_file():
            return path / FILE_NAME
        if (path / "config.json").is_file():
            raise ModelError(f"the run {path} has no {FILE_NAME} yet: it is written with the first checkpoint")
        raise ModelError(f"{path} is no run: it holds neither {FILE_NAME} nor config.json")
    if path.is_file():
        if path.suffix != ".safetensors":
            raise ModelError(f"{path} is no model file (.safetensors); published checkpoints come in through `asterism import`")
        return path
    hub_name = HUB_NAME.fullmatch(str(path_or_name)) and path.suffix != ".safetensors"
    if hub_name and not path.parent.is_dir():  # runs/faec, with a folder runs at hand, is a slip and no hub name.
        return _download(str(path_or_name))
    raise ModelError(
        f"there is no model {str(path_or_name)!r}: give a run folder, a .safetensors file or a hub name owner/name"
    )


def write_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to a file of a model, whole or not at all, in a folder that is made where it is missing.

    Raises:
        ModelError: no room on the disk, or no right to write; nothing is left behind.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content, sync=True)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = f"; free {-(-len(content) // 10**6)} MB there, or choose another folder" if full else ""
        raise ModelError(f"cannot write {path}: {error.strerror}{remedy}") from error


def _stored(tensor: Tensor, exact: bool) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.to(torch.float32 if exact else torch.float16) if tensor.is_floating_point() else tensor


def _fill(recipe: Recipe, weights: Mapping[str, Tensor], present: list[str]) -> None:
    """Put the weights into the networks that the file holds, exactly."""
    networks = recipe.networks
    unknown = [name for name in present if name not in networks]
    if unknown:
        raise ModelError(f"it holds a network {unknown[0]!r}, which the recipe does not have")
    expected = {f"{name}.{key}": t for name in present for key, t in networks[name].state_dict().items()}
    _compare(expected, weights)
    for key, tensor in weights.items():
        if tensor.shape != expected[key].shape:
            raise ModelError(f"{key} is {list(tensor.shape)}; expected {list(expected[key].shape)}")
        expected[key].copy_(tensor)  # Into the network's own storage, in its own precision.


def _compare(expected: Collection[str], given: Collection[str]) -> None:
    """Raise ModelError unless both name the same tensors."""
    missing, surprising = sorted(set(expected) - set(given)), sorted(set(given) - set(expected))
    if missing:
        raise ModelError(f"the weights lack {missing[0]} ({len(missing)} missing in all)")
    if surprising:
        raise ModelError(f"the weights hold {surprising[0]}, which the recipe has no place for ({len(surprising)} in all)")


def _download(name: str) -> Path:
    from huggingface_hub import hf_hub_download  # Slow to import, and only hub names need it.
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(name, FILE_NAME))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"no folder {name!r} is here, and the hub gave no {FILE_NAME} of that name: {reason}") from error
