"""AttGAN's published checkpoints: `weights.{epoch}.pth` of AttGAN-PyTorch, and the authors' code's of TensorFlow.

The PyTorch files are dicts of state dicts with our names and shapes: `G` alone in released weights, `D` beside it where all was
saved, with states of optimisers, which are left out. TensorFlow's are as STGAN's. The two differ in slopes and epsilons, which
decide the recipe's `constants`.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from asterism.inference.published.containers import read_networks, with_counts
from asterism.inference.published.found import Found
from asterism.inference.published.stgan import inferred
from asterism.inference.published.stgan import read_networks as read_tensorflow
from asterism.inference.published.tensorflow import is_checkpoint
from asterism.labels import LabelSpace
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError


def read(files: Sequence[Path], space: LabelSpace | None, size: tuple[int, int] | None) -> Found:
    """Read a checkpoint and infer what its networks were built with.

    Args:
        files: one .pth file, or the files of one checkpoint of TensorFlow.
        space: the labels in the order of training; none: the thirteen of the published models.
        size: height and width of the pictures of training; none: the square that the discriminator was built for.

    Raises:
        ModelError: files that are not AttGAN's, labels of another number, or a size that cannot be read or does not fit.
    """
    path = files[0]
    if all(map(is_checkpoint, files)):
        constants, (generator, discriminator) = "official", read_tensorflow(files, size)
    elif len(files) > 1:
        raise ModelError(
            f"{path} and {files[1]}: an AttGAN is one .pth file, or one checkpoint of TensorFlow; give one of them"
        )
    else:
        held = _networks(path)
        if "enc_layers.0.layers.0.weight" not in held.get("G", {}):
            raise ModelError(f"{path} holds no generator of AttGAN: expected a dict whose G has enc_layers.0.layers.0.weight")
        constants, generator, discriminator = "pytorch", with_counts(held["G"]), held.get("D", {})
    if any(key.startswith("stu.") for key in generator):
        raise ModelError(f"{path} has selective transfer units: import it as stgan")
    config, space, size, channels = inferred(path, generator, discriminator, space, size)
    networks = {"generator": (path, generator)} | ({"discriminator": (path, discriminator)} if discriminator else {})
    penalty = {"official": "published", "pytorch": "exact"}[constants]
    return Found({**config, "constants": constants, "penalty_gradient": penalty}, space, size, channels, networks)


def _networks(path: Path) -> dict[str, dict[str, Tensor]]:
    try:
        return read_networks(path, ("G", "D"))
    except ModelError as error:
        if not isinstance(error.__cause__, pickle.UnpicklingError):
            raise
        raise ModelError(
            f"{error}. If you trust the file, load it where it was made, save what AttGAN needs of it by "
            "torch.save({'G': held['G']}, 'weights.pth'), then import that"
        ) from error


def write(model: Model) -> dict[str, dict[str, dict[str, Tensor]]]:
    """Return the published file of a model: file name -> G, and D if it is there -> state dict, keys in the published order.

    Raises:
        ModelError: the model has the constants of the authors' code, which AttGAN-PyTorch would replace by its own.
    """
    if model.config.constants != "pytorch":
        raise ModelError(
            "AttGAN-PyTorch has other slopes and epsilons than this model (recipe.constants official): train with "
            "--recipe.constants pytorch, or export to onnx or hub"
        )
    return {
        f"weights.{model.info.get('step', 0)}.pth": {
            letter: {k: t.detach().cpu().contiguous() for k, t in model.recipe.networks[name].state_dict().items()}
            for letter, name in (("G", "generator"), ("D", "discriminator"))
            if name not in model.missing
        }
    }
