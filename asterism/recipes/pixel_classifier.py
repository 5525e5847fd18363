"""The classifier of pixels: finds the label map of a picture, trained on real pairs of both (pix2pix, Section 4.1, FCN score).

Not a translation recipe: the engine trains it like one, evaluation asks which classes it finds in translations.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from asterism.config import ConfigError, option
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace
from asterism.machine import at_least_float32
from asterism.networks.pixel_classifier import PixelNetwork
from asterism.recipes.base import Abilities, Adam, Recipe, Stream, Terms, Update


@dataclass(frozen=True, kw_only=True)
class Config:
    """The classifier's choices."""

    width: int = option(32, "Channels of the outermost level.", low=1)
    lr: float = option(1e-3, "Learning rate.", low=0)


class PixelClassifier(Recipe):
    """A small U-Net from the pictures that a model makes to the classes of the label maps that it takes."""

    config_type = Config
    averaged = ("classifier",)
    streams = (Stream("pair", of="partner", aligned=True),)
    num_domains = range(2, 3)
    two_kinds = True

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__(config, space, picture)
        if not picture.taken.classes:
            raise ConfigError("the classifier of pixels learns label maps, and the pairs of these data lead from pictures")
        self.classifier = PixelNetwork(picture.channels, picture.taken.classes, config.width)
        self.abilities = Abilities()
        self.updates = (Update("classifier", trains=("classifier",)),)

    def optimizers(self) -> dict[str, Adam]:
        """Adam with its usual moments: there is no adversary here."""
        return {"classifier": Adam(self.config.lr, betas=(0.9, 0.999))}

    def classifier_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """The negative log-likelihood of the classes, mean over pixels."""
        logits = at_least_float32(self.classifier(batch.x_pair))
        ids = batch.x[:, 0].long()
        return {"class": (1.0, F.cross_entropy(logits, ids, reduction="none").flatten(1).mean(1))}

    def classify(self, x: Tensor) -> Tensor:
        """Return raw class logits [N, K, H, W]."""
        return self.classifier(x)
