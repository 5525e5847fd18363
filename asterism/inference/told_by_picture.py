"""A target from another picture: the labels that the model reads in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from asterism.inference.apply import predict_labels
from asterism.inference.images import fit_in, open_image
from asterism.inference.placed import PlacedModel
from asterism.inference.target_words import Edit
from asterism.labels import LabelError
from asterism.storage.model_file import ModelError


def like(placed: PlacedModel, image: Any, name: str = "like") -> tuple[Edit, ...]:
    """Return the target that gives a picture every label that the model's class head reads in another one.

    Args:
        image: the other picture, in the forms of `Translator.translate`.
        name: how the results are called.

    Raises:
        LabelError: there is no picture.
        ModelError: a model without a class head, or one of styles, which is told the domain that they are of.
        PictureError: a picture that cannot be read.
    """
    model = placed.model
    if image is None:
        raise LabelError(f"give a target, to, or a picture to be like; the model knows {', '.join(placed.labels)}")
    if model.recipe.abilities.style:
        raise ModelError(f"{model.name} takes the style of a reference for a domain: say which, such as {placed.labels[0]}")
    read = labels_in(placed, image)
    return tuple(replace(edit, name=name) for edit in placed.parse({label: read[label] for label in placed.labels}))


def labels_in(placed: PlacedModel, image: Any) -> dict[str, float]:
    """Return what the class head reads in a picture: label -> True, False or a number; arguments and errors as for `like`."""
    picture = placed.model.picture
    x, _ = fit_in(open_image(image, picture), picture, "letterbox", placed.machine.device)
    return placed.model.space.named(predict_labels(placed, x)[0])
