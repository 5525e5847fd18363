"""Codes by name, in a file of tensors: what projection writes, what arithmetic and directions read.

The tensors are the codes, float32 [D] each, by name; the metadata is JSON text: `format`, `kind` (latent, style, labels),
`recipe`, and `facts`, values by name such as the words of a direction.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from asterism.config import ConfigError
from asterism.storage.whole import write_whole

FORMAT = 1
CODES, DIRECTIONS = "codes.safetensors", "directions.safetensors"
"""The files beside a run's model."""


@dataclass(frozen=True)
class Codes:
    """Codes of one model.

    Args:
        kind: what a code is: latent, style or labels.
        recipe: the model's.
        by_name: float32 [D] each.
        facts: JSON values by name.
    """

    kind: str
    recipe: str
    by_name: Mapping[str, Tensor]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def check(self, path: str | os.PathLike[str], kind: str, recipe: str, size: int) -> None:
        """Raise ConfigError unless the codes are of a model of that recipe, kind and size."""
        sizes = {tuple(code.shape) for code in self.by_name.values()}
        if (self.kind, self.recipe) != (kind, recipe) or sizes - {(size,)}:
            held = f"{self.kind} codes of {self.recipe}, {', '.join(str(list(s)) for s in sizes) or 'none'}"
            raise ConfigError(f"{path} holds {held}; this model has {kind} codes of {recipe}, [{size}]")

    def merged(self, other: Codes) -> Codes:
        """Return these codes and another's, which win where both have a name."""
        return Codes(other.kind, other.recipe, {**self.by_name, **other.by_name}, {**self.facts, **other.facts})


def write_codes(path: str | os.PathLike[str], codes: Codes) -> None:
    """Write a file of codes, whole or not at all.

    Raises:
        OSError: no room on the disk, or no right to write.
    """
    facts = {"format": FORMAT, "kind": codes.kind, "recipe": codes.recipe, "facts": dict(codes.facts)}
    tensors = {name: code.detach().to("cpu", torch.float32).contiguous() for name, code in codes.by_name.items()}
    write_whole(Path(path), save(tensors, {key: json.dumps(value) for key, value in facts.items()}), sync=True)


def read_codes(path: str | os.PathLike[str]) -> Codes:
    """Read what `write_codes` wrote.

    Raises:
        ConfigError: no such file, a damaged one, or one that holds no codes.
    """
    if not Path(path).is_file():
        raise ConfigError(f"there is no file of codes {path}; asterism project writes one")
    try:
        with safe_open(path, framework="pt") as file:
            facts = {key: json.loads(text) for key, text in (file.metadata() or {}).items()}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        if facts.get("format") != FORMAT or "kind" not in facts or any(t.ndim != 1 for t in tensors.values()):
            raise ConfigError(f"{path} holds tensors but no codes; asterism project writes such a file")
    except (OSError, SafetensorError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"cannot read {path}: {error}; asterism project writes files of codes") from error
    return Codes(facts["kind"], facts["recipe"], tensors, facts.get("facts", {}))
