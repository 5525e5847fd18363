"""Networks through which pictures are compared while a code is searched: gradients pass, unlike those of an `Extractor`."""

from __future__ import annotations

from pathlib import Path

from asterism.config import ConfigError
from asterism.data.pictures import PictureFormat
from asterism.evaluation.extractors import extractor
from asterism.machine import Machine
from asterism.manifold.projection import Features
from asterism.networks.resnet import ResNet18
from asterism.recipes.base import Recipe
from asterism.recipes.model import Model, load_model
from asterism.storage.model_file import FILE_NAME


def feature_network(name: str, machine: Machine, picture: PictureFormat) -> Features:
    """Return the network of a name, frozen, on the machine.

    Args:
        name: the model file of a classifier that asterism trained, of which the four stages are compared; an exported program
            (NAME.pt2), `module:Class` or `inception`, as evaluation takes them.
        picture: the pictures that it will be given.

    Raises:
        ConfigError, ModelError: no such network, or one for other pictures.
    """
    if not name.endswith(".safetensors"):
        return extractor(name, machine, picture).compute
    return stages_of(classifier_of(name, machine, picture).recipe)


def classifier_of(file: str | Path, machine: Machine, picture: PictureFormat) -> Model:
    """Return a trained classifier of pictures of one kind and size, frozen, on the machine.

    Raises:
        ModelError: no model file.
        ConfigError: no classifier, or one of pictures of another size or channels.
    """
    model = load_model(file)
    if not model.recipe.abilities.judges or model.missing:
        raise ConfigError(f"{file} is a model of {model.name}, which reads no labels; give that of a classifier")
    theirs, ours = model.picture, picture
    seen, made = (f"{p.channels} x {p.height} x {p.width}" for p in (theirs, ours))
    if seen != made:
        raise ConfigError(f"the classifier {file} sees pictures of {seen} values; this model makes {made}")
    machine.place(model.recipe)
    return model


def stages_of(recipe: Recipe) -> Features:
    """Return the stages of a classifier as features, or its logits where it is built in another way."""
    network = recipe.networks.get("classifier")
    return network.stages if isinstance(network, ResNet18) else recipe.classify


def own_classifier(run: str | Path) -> Path | None:
    """Return the model file of the classifier that evaluation trained in a run's folder; none where it trained none there."""
    found = sorted(Path(run).glob(f"classifier/*/{FILE_NAME}"), key=lambda file: file.stat().st_mtime)
    return found[-1] if found else None
