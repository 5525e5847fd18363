"""A trained model: a recipe with the weights of a model file, ready to use."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from asterism import __version__
from asterism.config import ConfigError, build, to_dict
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace
from asterism.recipes import origin, recipe_class
from asterism.recipes.base import Recipe
from asterism.storage.model_file import ModelError, author, read_tensors, write_tensors


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

    def require(self, ability: Literal["translates", "generates", "attends"]) -> None:
        """Raise ModelError unless the recipe has an ability; says what to use instead."""
        can = self.recipe.abilities
        if getattr(can, ability):
            return
        if ability == "attends":
            raise ModelError(
                f"this model of {self.name} has no attention to show; a map of the changes (--diff) shows any model's"
            )
        if not can.makes_pictures:
            raise ModelError(f"this model of {self.name} judges pictures: it neither translates nor generates any")
        if can.generates:
            raise ModelError(f"this model of {self.name} generates pictures and translates none: use generate, not translate")
        raise ModelError(f"this model of {self.name} translates pictures and generates none: use translate, not generate")

    @property
    def unreachable(self) -> tuple[str, ...]:
        """The labels that are no targets: the recipe has others only, or lacks the network that makes this label alone."""
        owners = owned(self.recipe) if self.missing else {}
        lacking = [owners[name] for name in self.missing if name in owners and name in self.recipe.averaged]
        targets = self.recipe.abilities.targets
        return (*lacking, *(name for name in self.space.names if targets and name not in targets))


def owned(recipe: Recipe) -> dict[str, str]:
    """Return the networks that belong to one label with all that they hold, and to which."""
    owner = {slot.parameter: slot.owner for slot in recipe.label_slots() if slot.axis is None}
    found = {n: {owner.get(f"{n}.{key}") for key, _ in network.named_parameters()} for n, network in recipe.networks.items()}
    return {n: label for n, labels in found.items() if len(labels) == 1 for label in labels if label is not None}


def save_model(
    path: str | os.PathLike[str], recipe: Recipe, name: str, weights: Mapping[str, Tensor], *, info: Mapping[str, Any]
) -> None:
    """Write a model file, whole or not at all.

    Networks named in `recipe.averaged` and those never trained, which make the pictures, are kept in float32; the others, of
    which only the class head is used later, in float16. Only discriminators, and networks of single labels, may be left out.

    Args:
        path: the file to write or replace.
        recipe: gives the configuration, the labels and the pictures; its own weights are not read.
        name: the recipe's name in the registry.
        weights: the recipe's state dict, averages applied, of all networks or of some whole networks.
        info: JSON values about the model; the library's version is added.

    Raises:
        ModelError: an incomplete network.
        OSError: no room on the disk, or no right to write.
    """
    given = {key.partition(".")[0] for key in weights}
    exact = {n for n in recipe.networks if n in recipe.averaged or n not in recipe.optimizers()}
    spared = owned(recipe) if given & exact else {}
    networks = {n: network for n, network in recipe.networks.items() if n in given or (n in exact and n not in spared)}
    _compare({f"{n}.{key}" for n, network in networks.items() for key in network.state_dict()}, weights)
    tensors = {key: _stored(t, exact=key.partition(".")[0] in exact) for key, t in weights.items()}
    where = origin(name)
    outside = {"recipe_from": os.path.basename(where)} if where else {}  # Without its place, since model files are shared.
    facts = {
        "recipe": name,
        "config": to_dict(recipe.config),
        "labels": recipe.space.to_json(),
        "picture": asdict(recipe.picture),
        "networks": list(networks),
        "info": {**info, **outside, "version": __version__},
    }
    write_tensors(path, tensors, facts)


def load_model(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Model:
    """Rebuild a model from its file.

    Random numbers drawn elsewhere are not disturbed.

    Args:
        path: a model file; `find_model` finds it from a run folder or a hub name.
        device: where its networks go.

    Raises:
        ModelError: not a model file of this library, damaged, written by a newer version, or of an unknown recipe.
    """
    weights, facts = read_tensors(path)
    written_by = author(facts)
    try:
        recipe_type = recipe_class(facts["recipe"], facts.get("info", {}).get("recipe_from"))
    except ConfigError as error:
        raise ModelError(f"{path}, written by {written_by}: {error}") from error
    try:
        config = build(recipe_type.config_type, facts["config"])
        space, picture = LabelSpace.from_json(facts["labels"]), PictureFormat.from_json(facts["picture"])
        with torch.random.fork_rng(devices=[]):
            recipe = recipe_type(config, space, picture)
        _fill(recipe, recipe.completed(weights), facts["networks"])
        info = dict(facts["info"])
        recipe.enter(info.get("phase", recipe.phases[-1].name))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}, written by {written_by}, does not fit asterism {__version__}: {error}") from error
    recipe.eval().requires_grad_(False).to(device)
    missing = tuple(n for n in recipe.networks if n not in facts["networks"])
    return Model(recipe, facts["recipe"], space, picture, config, info, missing)


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
