"""ProGAN's published checkpoints, those of the GAN zoo: `{name}_s{level}_i{step}.pt`, a dict of netG, netD and avgG.

Shapes are those of ours; names say a layer's place: `scaleLayers.0.1.module.weight`. Old files lack `module.`. The zoo's
own files hold their configuration as an object, and such files are refused: opening them may run code. That object also says
how far a fade had come; a file here is taken as one of a finished level. `avgG`, the averaged generator, makes the pictures.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from asterism.inference.published.containers import Weights, read_checkpoint, read_networks
from asterism.inference.published.found import Found
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError

UNLABELLED = LabelSpace([LabelGroup("pictures", (), "binary")])

NAMES = {
    "generator": {"format": "formatLayer", "first": "groupScale0.0", "blocks": "scaleLayers", "to_rgb": "toRGBLayers"},
    "discriminator": {
        "from_rgb": "fromRGBLayers",
        "blocks": "scaleLayers",
        "last": "groupScaleZero.0",
        "hidden": "groupScaleZero.1",
        "decision": "decisionLayer",
    },
}
"""Of each network, our name of a layer, or of a list of layers, and theirs."""


def ours(held: Weights, network: str) -> dict[str, Tensor]:
    """Return the weights of a network under our names; a name that is not theirs stays as it is."""
    found: dict[str, Tensor] = {"steps": torch.zeros((), dtype=torch.long)} if network == "generator" else {}
    for key, tensor in held.items():
        key = key.replace(".module.", ".")
        mine = next((our for our, their in NAMES[network].items() if key.startswith(f"{their}.")), None)
        found[key if mine is None else mine + key.removeprefix(NAMES[network][mine])] = tensor
    return found


def theirs(weights: Weights, network: str) -> dict[str, Tensor]:
    """Return the weights of a network under the published names."""
    found = {}
    for key, tensor in weights.items():
        name, _, rest = key.partition(".")
        if name in NAMES[network]:  # Not the generator's count of steps.
            place, _, kind = rest.rpartition(".")
            found[".".join(filter(None, (NAMES[network][name], place, "module", kind)))] = tensor
    return found
