"""asterism: train one model to translate images between many domains, evaluate it, and put it to use.

import asterism

model = asterism.load("runs/faces")
model.translate("me.jpg", to="Blond_Hair").save("blond.png")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"
__all__ = ["Translator", "__version__", "load", "train"]

if TYPE_CHECKING:
    from asterism.inference.translator import Translator, load
    from asterism.training import train

_WHERE = {
    "load": "asterism.inference.translator",
    "Translator": "asterism.inference.translator",
    "train": "asterism.training",
}


def __getattr__(name: str) -> Any:
    """Import PyTorch and what needs it on first use, so that `import asterism` and `--help` stay fast."""
    if name == "recipes":
        return importlib.import_module("asterism.recipes")
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'asterism' has no attribute {name!r}")
