"""The classifier that judges translations: a ResNet-18 trained on the real pictures (StarGAN, Section 5.4).

Not a translation recipe: the engine trains it like one, evaluation uses its logits.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from asterism.config import option
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace
from asterism.networks.resnet import ResNet18
from asterism.objectives.classification import classification
from asterism.recipes.base import Abilities, Adam, Recipe, Terms, Update


@dataclass(frozen=True, kw_only=True)
class Config:
    """The classifier's choices."""

    width: int = option(64, "Channels of the first stage; ResNet-18 has 64.", low=1)
    lr: float = option(1e-3, "Learning rate.", low=0)


class Classifier(Recipe):
    """ResNet-18 over a label space."""

    config_type = Config
    averaged = ("classifier",)
    coupled = True
    two_kinds = True

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__(config, space, picture.made)  # Sources are shown as such.
        self.classifier = ResNet18(picture.channels, space.num_labels, config.width)
        self.abilities = Abilities(judges=True)
        self.updates = (Update("classifier", trains=("classifier",)),)

    def optimizers(self) -> dict[str, Adam]:
        """Adam with its usual moments: there is no adversary here."""
        return {"classifier": Adam(self.config.lr, betas=(0.9, 0.999))}

    def classifier_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """The negative log-likelihood of the known labels."""
        return {"class": (1.0, classification(self.classifier(batch.x), batch.labels, batch.known, self.space))}

    def classify(self, x: Tensor) -> Tensor:
        """Return raw class logits [N, L]."""
        return self.classifier(x)
