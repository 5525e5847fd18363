"""Read tensors from published checkpoint files without executing code in them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asterism.storage.model_file import ModelError

Weights = Mapping[str, Tensor]


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a checkpoint that is a bare state dict.

    Raises:
        ModelError: no such file, a damaged one, or one that holds anything but tensors by name.
    """
    held = _open(path)
    if not _is_state_dict(held):
        raise ModelError(f"{path} is not a bare state dict (tensors by name) but {_what(held)}")
    return {str(key): tensor for key, tensor in held.items()}


def read_state_dicts(path: Path) -> dict[str, dict[str, Tensor]]:
    """Read a checkpoint that is a dict of state dicts, one per network; the prefix `module.` of its keys is taken off.

    Raises:
        ModelError: no such file, a damaged one, or one of another structure.
    """
    held = _open(path)
    if not isinstance(held, dict) or not held or not all(_is_state_dict(inner) for inner in held.values()):
        raise ModelError(f"{path} is not a dict of state dicts (tensors by name, by network) but {_what(held)}")
    return {str(n): {str(key).removeprefix("module."): t for key, t in inner.items()} for n, inner in held.items()}


def read_networks(path: Path, names: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """Read those state dicts of a checkpoint that have these names, whatever else it holds; `module.` is taken off their keys.

    Raises:
        ModelError: no such file, a damaged one, one that is no dict, or one whose content may run code.
    """
    held = _open(path)
    if not isinstance(held, dict):
        raise ModelError(f"{path} is not a dict of networks but {_what(held)}")
    found = {name: held[name] for name in names if _is_state_dict(held.get(name))}
    return {name: {str(key).removeprefix("module."): t for key, t in inner.items()} for name, inner in found.items()}


def with_counts(weights: Weights) -> dict[str, Tensor]:
    """Add the counts of batches of batch norms, which files of PyTorch 0.3 lack; nothing reads them."""
    result: dict[str, Tensor] = {}
    for key, tensor in weights.items():
        result[key] = tensor
        if key.endswith(".running_var"):
            count = f"{key.removesuffix('running_var')}num_batches_tracked"
            result[count] = weights.get(count, torch.tensor(0))
    return result


def _open(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"there is no file {path}") from None
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds more than tensors, or is not a checkpoint. It was not opened, because that may run code"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error or 'it ends too early'}; download it again") from error


def _is_state_dict(held: Any) -> bool:
    return isinstance(held, Mapping) and all(isinstance(t, Tensor) for t in held.values())


def _what(held: Any) -> str:
    return f"a dict of {', '.join(map(str, list(held)[:4]))}" if isinstance(held, dict) else type(held).__name__
