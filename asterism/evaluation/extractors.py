"""Feature networks for FID and similar metrics; the name and weight hash are stored with every number.

`classifier` is the dataset's own and always there; `inception` is the published FID network; anything else that the user
names is a file or a class of theirs.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asterism.config import ConfigError
from asterism.data.pictures import PictureFormat
from asterism.evaluation.cache import digest_of, digest_of_file, digest_of_weights, weights_folder
from asterism.evaluation.judge import JudgeClassifier
from asterism.machine import Machine
from asterism.metrics.alexnet import CHANNELS, LEAST_SIDE, AlexNet
from asterism.metrics.perceptual import Stages

CLASSIFIER = "classifier"
INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
FROM = f"github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION}"
ALEXNET = "alexnet-owt-7be5be79.pth"
LPIPS = "lpips_alex.pth"


@dataclass(frozen=True)
class Extractor:
    """A network that makes features [N, D] of pictures [N, C, H, W] in [-1, 1].

    Args:
        name: as the user calls it.
        digest: hash of its weights.
        dims: D.
        compute: pictures on the machine's device to features; the caller moves, the callee chooses its own precision.
    """

    name: str
    digest: str
    dims: int
    compute: Callable[[Tensor], Tensor]
    machine: Machine

    def __call__(self, x: Tensor) -> Tensor:
        """Return features, float32 [N, D] on the CPU."""
        with torch.inference_mode():
            return self.compute(x.to(self.machine.device)).float().flatten(1).cpu()

    def about(self) -> dict[str, Any]:
        """Return what scores.json says of it."""
        return {"name": self.name, "digest": self.digest, "dims": self.dims}


def of_classifier(judge: JudgeClassifier) -> Extractor:
    """Return the dataset's own classifier as an extractor."""

    def features(x: Tensor) -> Tensor:
        with judge.machine.autocast():
            return judge.network.features(x.to(judge.machine.full_dtype))

    return Extractor(CLASSIFIER, judge.digest, judge.network.head.in_features, features, judge.machine)


def extractor(name: str, machine: Machine, picture: PictureFormat) -> Extractor:
    """Return the extractor of a name: `inception`, an exported program's file, or `module:Class`.

    Args:
        picture: the pictures that it will be given.

    Raises:
        ConfigError: no such extractor, its weights or its package are missing, or it does not give one vector per picture.
    """
    if name == "inception":
        return _inception(machine, picture.channels)
    if name.endswith(".pt2"):
        compute, digest = _exported(Path(name).expanduser(), machine)
        name = Path(name).name
    elif ":" in name:
        compute, digest = _module(name, machine)
    else:
        raise ConfigError(
            f"no extractor {name!r}: classifier, inception, a file written by torch.export.save (NAME.pt2), or module:Class "
            "of a torch.nn.Module that takes pictures [N, C, H, W] in [-1, 1]"
        )
    return Extractor(name, digest, _dims(name, compute, machine, picture), compute, machine)


def _dims(name: str, compute: Callable[[Tensor], Tensor], machine: Machine, picture: PictureFormat) -> int:
    """Ask a user's extractor for the features of three pictures, and say what is wrong with the answer."""
    shape = [3, picture.channels, picture.height, picture.width]
    try:
        with torch.inference_mode():
            made = compute(torch.zeros(shape, device=machine.device))
    except Exception as error:
        raise ConfigError(
            f"extractor {name} cannot take pictures {shape}: {error}. Export it for this size, with a free first length"
        ) from error
    if not isinstance(made, Tensor) or len(made) != 3 or made.ndim < 2:
        raise ConfigError(f"extractor {name} must give one tensor [N, ...], a row of features per picture")
    return made.flatten(1).shape[1]


def _exported(path: Path, machine: Machine) -> tuple[Callable[[Tensor], Tensor], str]:
    if not path.is_file():
        raise ConfigError(f"there is no extractor file {path}")
    try:
        module = torch.export.load(str(path)).module().to(machine.device)
    except Exception as error:  # A damaged archive surfaces as many kinds of error.
        raise ConfigError(f"{path} is not an exported program: {error}. Write it with torch.export.save") from error
    return module, digest_of_file(path)


def _module(name: str, machine: Machine) -> tuple[Callable[[Tensor], Tensor], str]:
    where, _, attribute = name.partition(":")
    try:
        made = getattr(importlib.import_module(where), attribute)
        module = made() if isinstance(made, type) else made
    except Exception as error:  # Whatever the user's own code raises.
        raise ConfigError(f"extractor {name}: {error}; expected an importable module:Class that takes no arguments") from error
    if not isinstance(module, nn.Module):
        raise ConfigError(f"extractor {name} is not a torch.nn.Module")
    module = module.eval().requires_grad_(False).to(machine.device)
    try:
        source = inspect.getsource(type(module))
    except (OSError, TypeError):  # Not written in a file.
        source = ""
    return module, digest_of(digest_of_weights(module), source)


def _inception(machine: Machine, channels: int) -> Extractor:
    """Return the published FID network, Inception-v3 of 2015 with TensorFlow's resizing, through torch-fidelity."""
    if channels not in (1, 3):
        raise ConfigError(f"inception takes pictures of 1 or 3 channels, not {channels}: use --extractor classifier")
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except Exception as error:  # Not installed, or what it needs is broken.
        raise ConfigError(
            f'the inception extractor needs torch-fidelity ({error}): pip install "asterism[inception]"; '
            "--extractor classifier needs nothing"
        ) from error
    path = weights_folder() / INCEPTION
    if not path.is_file():
        raise ConfigError(
            f"the weights of the inception extractor are not at {path}. Put the file from {FROM} there, or into the folder "
            "weights of another cache that ASTERISM_CACHE names"
        )
    try:
        network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))
    except Exception as error:  # A damaged file surfaces as many kinds of error.
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"the weights of the inception extractor cannot be read from {path} ({reason}): take the file from {FROM}"
        ) from error
    network.to(machine.device)

    def features(x: Tensor) -> Tensor:
        x = ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        return network(x.expand(-1, 3, -1, -1))[0]

    return Extractor("inception", digest_of_file(path), 2048, features, machine)


@dataclass(frozen=True)
class Perceptual:
    """What the diversity of outputs is measured by: feature maps and the weights of their channels.

    Args:
        name: `lpips`, or the extractor whose maps count alike.
    """

    name: str
    digest: str
    stages: Stages
    weights: Sequence[Tensor] | None


def perceptual(judge: JudgeClassifier, machine: Machine, picture: PictureFormat) -> Perceptual:
    """Return LPIPS where both its weight files are in the cache and it can take the pictures, else the classifier's stages."""
    backbone, linear = weights_folder() / ALEXNET, weights_folder() / LPIPS
    fits = picture.channels == 3 and min(picture.height, picture.width) >= LEAST_SIDE
    if fits and backbone.is_file() and linear.is_file():
        stages, weights = load_lpips(backbone, linear)
        stages.to(machine.device)
        weights = [w.to(machine.device) for w in weights]
        return Perceptual("lpips", digest_of_file(backbone)[:8] + digest_of_file(linear)[:8], stages, weights)
    return Perceptual("classifier", judge.digest, lambda x: judge.network.stages(x.to(machine.full_dtype)), None)


def lpips_files() -> str:
    """Say which files LPIPS needs, and where."""
    return (
        f"torchvision's {ALEXNET} (download.pytorch.org/models/{ALEXNET}) and, as {LPIPS}, the file "
        "lpips/weights/v0.1/alex.pth of github.com/richzhang/PerceptualSimilarity into the folder weights of the cache"
    )


def load_lpips(backbone: Path, linear: Path) -> tuple[AlexNet, list[Tensor]]:
    """Read AlexNet's published weights and LPIPS's linear layers.

    Args:
        backbone: torchvision's file, with keys such as features.0.weight.
        linear: weights/v0.1/alex.pth of LPIPS, keys lin0.model.1.weight [1, C_l, 1, 1] and so on.

    Raises:
        ConfigError: a file that does not hold these tensors.
    """
    network = AlexNet().eval().requires_grad_(False)
    try:
        state = torch.load(backbone, map_location="cpu", weights_only=True)
        network.load_state_dict({key: state[key] for key in network.state_dict()})
        state = torch.load(linear, map_location="cpu", weights_only=True)
        weights = [state[f"lin{i}.model.1.weight"].flatten() for i in range(len(CHANNELS))]
    except Exception as error:
        raise ConfigError(
            f"the weights of LPIPS in {backbone.parent} cannot be read ({type(error).__name__}: {error}): put {lpips_files()}"
        ) from error
    if [len(w) for w in weights] != list(CHANNELS):
        raise ConfigError(f"{linear} weighs {[len(w) for w in weights]} channels; LPIPS of AlexNet weighs {list(CHANNELS)}")
    return network, weights
