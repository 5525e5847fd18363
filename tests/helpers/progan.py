"""The GAN zoo's ProGAN files, whose configuration is an object of a class that is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "progan"


class Stub:
    """Stands for the configuration's class, and holds what it held."""


def read_zoo(path: Path) -> dict[str, Any]:
    """Return config, netG, netD and avgG of a published file without running anything in it."""
    with torch.serialization.safe_globals([(Stub, "models.utils.config.BaseConfig")]):
        held: dict[str, Any] = torch.load(path, weights_only=True)
    return held
