"""The content of published checkpoints, converted to our recipes, labels and networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asterism.data.pictures import PictureFormat
from asterism.inference.published.containers import Weights
from asterism.labels import LabelSpace


@dataclass(frozen=True)
class Found:
    """A model in published files.

    Args:
        config: values of the recipe's configuration.
        space: the labels, in the order of training.
        size: height and width of the pictures of training.
        channels: C.
        networks: by network, its file and its parameters in our layout.
        licence: of the authors' weights, where it is known.
        source: the pictures that are translated, where they are of another kind than those that are made.
        features: floats as networks see them are translated, and no pictures.
    """

    config: Mapping[str, object]
    space: LabelSpace
    size: tuple[int, int]
    channels: int
    networks: Mapping[str, tuple[Path, Weights]]
    licence: str = ""
    source: PictureFormat | None = None
    features: bool = False
