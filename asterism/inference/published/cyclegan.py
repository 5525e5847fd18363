"""CycleGAN's published checkpoints: `{epoch}_net_G_A.pth`, `..._G_B.pth`, `..._D_A.pth`, `..._D_B.pth`, bare state dicts.

G_A makes pictures of B, which D_A judges; ours are named by the domain that they make or judge. Only the file's name tells one
direction from the other. Released weights are of a single direction, `latest_net_G.pth`, which is taken for G_A.

Files of 2018 also keep running statistics of the instance norms (published issues 262, 461, 529), which were gathered and
never meant to be used: they are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from asterism.inference.published.containers import Weights, read_state_dict
from asterism.inference.published.found import Found
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError

NAMES = {"G_A": "generator_b", "G_B": "generator_a", "D_A": "discriminator_b", "D_B": "discriminator_a"}
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
SIZE = (256, 256)
"""Of the published training and test."""

Networks = dict[str, tuple[Path, Weights]]


def read(files: Sequence[Path], space: LabelSpace | None, size: tuple[int, int] | None) -> Found:
    """Tell the networks apart by the files' names and infer what they were built with.

    Args:
        files: one generator, or two, and any of the discriminators.
        space: the domains A and B, in that order; none: A, B.
        size: height and width of the pictures of training; none: 256 x 256.

    Raises:
        ModelError: files that are not CycleGAN's with residual blocks, a name that does not tell the network, or a space that
            is not of two domains.
    """
    space = space or LabelSpace([LabelGroup("pictures", ("A", "B"), "one_of")])
    if space.num_labels != 2 or len(space.domain_names) != 2:
        raise ModelError(f"CycleGAN translates between two domains: name A and B in that order, not {', '.join(space.names)}")
    networks: Networks = {}
    for path in files:
        name = NAMES[_letters(path)]
        if name in networks:
            raise ModelError(f"{networks[name][0]} and {path} are both a {_letters(path)}: give one of them")
        weights = read_state_dict(path)
        networks[name] = path, {key: t for key, t in weights.items() if not _is_buffer(key, weights)}
    made = [networks[name] for name in ("generator_b", "generator_a") if name in networks]
    judged = [networks[name] for name in ("discriminator_b", "discriminator_a") if name in networks]
    if not made:
        raise ModelError("there is no generator among the files: give G_A or G_B, or both")
    config, channels = _read_generator(*made[0])
    # Discriminators that are not there are built and never used; they must only take the size.
    layers = min(3, (min(size or SIZE) // 3).bit_length() - 1)
    config |= _read_discriminator(*judged[0]) if judged else {"discriminator_layers": layers}
    return Found(config, space, size or SIZE, channels, networks)


def write(model: Model) -> dict[str, dict[str, Tensor]]:
    """Return the published files of a model: file name -> state dict, keys in the published order."""
    step = int(model.info.get("step", 0))
    return {
        f"{step}_net_{letters}.pth": {
            k: t.detach().cpu().contiguous() for k, t in model.recipe.networks[name].state_dict().items()
        }
        for letters, name in NAMES.items()
        if name not in model.missing
    }


def _letters(path: Path) -> str:
    """latest_net_G_A.pth -> G_A; latest_net_G.pth -> G_A."""
    found = re.search(r"net_([GD])(_[AB])?\.pth$", path.name)
    if found is None or found[0] == "net_D.pth":
        raise ModelError(
            f"{path} has a name that does not identify its network: expected a name that ends in {', '.join(NAMES)} or, of a "
            "single direction, G, such as latest_net_G_A.pth"
        )
    return found[1] + (found[2] or "_A")


def _read_generator(path: Path, weights: Weights) -> tuple[dict[str, int], int]:
    dropout = [key for key in weights if key.endswith("conv_block.6.weight")]
    if dropout:
        raise ModelError(f"{path} was trained with dropout, as {dropout[0]} shows; CycleGAN's own generators have none")
    blocks = [key for key in weights if re.fullmatch(r"model\.\d+\.conv_block\.1\.weight", key)]
    first, last = (_kernel(path, weights, key) for key in ("model.1.weight", f"model.{17 + len(blocks)}.weight"))
    if first.shape[1] != last.shape[0]:
        raise ModelError(f"{path} makes pictures of {last.shape[0]} channels from {first.shape[1]}; here both have as many")
    return {"conv_dim": first.shape[0], "num_blocks": len(blocks)}, first.shape[1]


def _read_discriminator(path: Path, weights: Weights) -> dict[str, int]:
    convolutions = [key for key in weights if re.fullmatch(r"model\.\d+\.weight", key) and weights[key].ndim == 4]
    first = _kernel(path, weights, "model.0.weight")
    return {"discriminator_conv_dim": first.shape[0], "discriminator_layers": max(1, len(convolutions) - 2)}


def _kernel(path: Path, weights: Weights, key: str) -> Tensor:
    if key not in weights or weights[key].ndim != 4:
        raise ModelError(
            f"{path} lacks the kernel {key}: not a generator with residual blocks (netG resnet_6blocks or resnet_9blocks) "
            "or a discriminator of patches (netD basic) of CycleGAN, or it is incomplete"
        )
    return weights[key]


def _is_buffer(key: str, weights: Weights) -> bool:
    """Say whether it is a running statistic of an instance norm; batch norms, which have weights too, are refused later."""
    layer, _, name = key.rpartition(".")
    return name in BUFFERS and f"{layer}.weight" not in weights
