"""ProGAN's published checkpoints, those of the GAN zoo: `{name}_s{level}_i{step}.pt`, a dict of netG, netD and avgG.

Shapes are those of ours; names say a layer's place: `scaleLayers.0.1.module.weight`. Old files lack `module.`. The zoo's
own files hold their configuration as an object, and such files are refused: opening them may run code. That object also says
how far a fade had come; a file here is taken as one of a finished level. `avgG`, the averaged generator, makes the pictures.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from asterism.inference.published.containers import Weights, read_networks
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


def read(files: Sequence[Path], space: LabelSpace | None, size: tuple[int, int] | None) -> Found:
    """Infer what the networks of a file were built with.

    Args:
        files: one file.
        space: the labels that a conditional model was told, in the order of its classes; none: it was told none.
        size: height and width of the pictures of training; none takes what the file tells.

    Raises:
        ModelError: a file that is not ProGAN's, that holds more than tensors, whose pictures have another size, or that has
            other classes than there are labels.
    """
    if len(files) != 1:
        raise ModelError(f"ProGAN's networks are in one file, such as faces_s4_i96000.pt: give one, not {len(files)}")
    path = files[0]
    try:
        held = read_networks(path, ("avgG", "netG", "netD"))
    except ModelError as error:
        if isinstance(error.__cause__, pickle.UnpicklingError):
            raise ModelError(
                f"{path} holds more than tensors, as the GAN zoo's own files do: an object with the configuration. It was not "
                "opened, because that may run code. If you trust it, do this in a checkout of pytorch_GAN_zoo, then import the "
                f"new file: held = torch.load('{path.name}', weights_only=False); "
                "torch.save({k: held[k] for k in ('netG', 'netD', 'avgG')}, 'tensors.pt')"
            ) from error
        raise
    made = next((held[name] for name in ("avgG", "netG") if name in held), None)
    if made is None or not {"formatLayer", "groupScale0", "toRGBLayers"} <= {key.partition(".")[0] for key in made}:
        raise ModelError(
            f"{path} has no generator of ProGAN: expected avgG or netG, with formatLayer, groupScale0, toRGBLayers"
        )
    networks = {"generator": (path, ours(made, "generator"))}
    if "netD" in held:
        networks["discriminator"] = path, ours(held["netD"], "discriminator")
    weights = networks["generator"][1]
    last = sorted((key for key in weights if key.startswith("to_rgb.")), key=lambda key: int(key.split(".")[1]))[-1]
    levels, channels = int(last.split(".")[1]) + 1, len(weights[last])
    side = 2 << levels
    if size not in (None, (side, side)):
        raise ModelError(f"{path} makes pictures of {side}x{side}, not {size[0]}x{size[1]}")
    widths = tuple(weights[f"to_rgb.{level}.weight"].shape[1] for level in range(levels))
    config: dict[str, object] = {"latent_dim": weights["format.weight"].shape[1], "widths": widths}
    classes = len(networks["discriminator"][1]["decision.weight"]) - 1 if "netD" in held else 0
    if classes:
        if space is None or space.code_size != classes:
            count = "none" if space is None else f"{space.code_size}"
            raise ModelError(f"{path} classifies {classes} labels; {count} are given: name them, in the order of training")
        config |= {"latent_dim": weights["format.weight"].shape[1] - classes, "conditional": True}
    return Found(config, space or UNLABELLED, (side, side), channels, networks)


def write(model: Model) -> dict[str, dict[str, dict[str, Tensor]]]:
    """Return the published file of a model: file name -> network -> state dict. Both generators are the averaged one.

    Raises:
        ModelError: a model of an earlier level than its last, or of a fade.
    """
    recipe = model.recipe
    if recipe.phase != recipe.phases[-1].name:
        raise ModelError(f"this model is of the phase {recipe.phase!r}: train it to {recipe.phases[-1].name!r}, then export it")
    found = {
        name: theirs({key: t.detach().cpu().contiguous() for key, t in recipe.networks[network].state_dict().items()}, network)
        for name, network in (("netG", "generator"), ("netD", "discriminator"), ("avgG", "generator"))
        if network not in model.missing
    }
    level = model.picture.height.bit_length() - 3
    return {f"asterism_s{level}_i{model.info.get('step', 0)}.pt": found}


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
