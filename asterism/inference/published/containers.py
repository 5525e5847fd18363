"""Read tensors from published checkpoint files without executing code in them."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from asterism.mistaken import mistaken
from asterism.storage.model_file import ModelError
from asterism.wording import some

Weights = Mapping[str, Tensor]


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a checkpoint that is a bare state dict.

    Raises:
        ModelError: no such file, a damaged one, or one that holds anything but tensors by name.
    """
    held = unwrapped(read_checkpoint(path))
    if not _is_state_dict(held):
        raise ModelError(f"{path} is not a bare state dict (tensors by name) but {_what(held)}")
    return _stripped(held)


def read_state_dicts(path: Path) -> dict[str, dict[str, Tensor]]:
    """Read a checkpoint that is a dict of state dicts, one per network.

    Raises:
        ModelError: no such file, a damaged one, or one of another structure.
    """
    held = unwrapped(read_checkpoint(path))
    if not isinstance(held, dict) or not held or not all(_is_state_dict(inner) for inner in held.values()):
        raise ModelError(f"{path} is not a dict of state dicts (tensors by name, by network) but {_what(held)}")
    return {str(name): _stripped(inner) for name, inner in held.items()}


def read_networks(path: Path, names: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """Read those state dicts of a checkpoint that have these names, whatever else it holds.

    Raises:
        ModelError: no such file, a damaged one, one that is no dict, or one whose content may run code.
    """
    held = read_checkpoint(path)
    if not isinstance(held, dict):
        raise ModelError(f"{path} is not a dict of networks but {_what(held)}")
    found = {name: held[name] for name in names if _is_state_dict(held.get(name))}
    return {name: _stripped(inner) for name, inner in found.items()}


WRAPPERS = ("params_ema", "model_ema", "ema_state_dict", "ema", "state_dict", "model_state_dict", "model", "params", "weights")
"""Keys that programs which train keep a state dict under; averaged weights before others."""

PREFIXES = ("module.", "_orig_mod.", "ema_model.")
"""What data parallel training, compilation and averaging put before all keys."""

COUNTERS = ("n_averaged", "initted", "step")
"""What averaging keeps beside the weights."""


def unwrapped(held: Any) -> Any:
    """Return the state dict, or the dict of state dicts, that a checkpoint of a program which trains keeps under a key."""
    while isinstance(held, Mapping) and not _is_state_dict(held):
        inner = next((held[key] for key in WRAPPERS if isinstance(held.get(key), Mapping) and held[key]), None)
        if inner is None:
            return held
        held = inner
    return held


def _stripped(weights: Mapping[Any, Tensor]) -> dict[str, Tensor]:
    """Return weights by the names that the network gave them."""
    names = {str(key): tensor for key, tensor in weights.items()}
    averaged = {key: tensor for key, tensor in names.items() if key.startswith("ema_model.")}  # Beside `online_model.`.
    names = averaged or names
    while prefix := next((p for p in PREFIXES if names and all(k.startswith(p) for k in names if k not in COUNTERS)), ""):
        names = {key.removeprefix(prefix): tensor for key, tensor in names.items() if key.startswith(prefix)}
    return {key.replace("._orig_mod.", "."): tensor for key, tensor in names.items()}


def with_counts(weights: Weights) -> dict[str, Tensor]:
    """Add the counts of batches of batch norms, which files of PyTorch 0.3 lack; nothing reads them."""
    result: dict[str, Tensor] = {}
    for key, tensor in weights.items():
        result[key] = tensor
        if key.endswith(".running_var"):
            count = f"{key.removesuffix('running_var')}num_batches_tracked"
            result[count] = weights.get(count, torch.tensor(0))
    return result


def read_checkpoint(path: Path) -> Any:
    """Read a checkpoint of any structure, with nothing in it but tensors and plain values.

    Raises:
        ModelError: no such file, or a damaged one, or one that holds more.
    """
    if found := mistaken(path):
        raise ModelError(f"{path} {found}")
    try:
        with _member(path) as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds more than tensors, or is not a checkpoint. It was not opened, because that may run code. If you "
            "trust it, load it beside the code that wrote it, save its weights by "
            f"torch.save(module.state_dict(), '{path.name}.pth'), then import that"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error or 'it ends too early'}; download it again") from error


@contextmanager
def _member(path: Path) -> Iterator[IO[bytes]]:
    """Open a checkpoint, or the only one in a zip as it is released."""
    inside: list[str] = []
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inside = [name for name in archive.namelist() if Path(name).suffix in (".pth", ".pt", ".ckpt", ".bin", ".pkl")]
            if any(name.endswith("data.pkl") for name in archive.namelist()):  # It is what PyTorch itself writes.
                inside = []
            if len(inside) == 1:
                yield io.BytesIO(archive.read(inside[0]))
                return
    if inside:
        raise ModelError(f"{path} is a zip of {some(inside, 'checkpoints')}: unpack it, and name the one that is meant")
    with open(path, "rb") as file:
        yield file


def _is_state_dict(held: Any) -> bool:
    return isinstance(held, Mapping) and all(isinstance(t, Tensor) for t in held.values())


def _what(held: Any) -> str:
    return f"a dict of {', '.join(map(str, list(held)[:4]))}" if isinstance(held, dict) else type(held).__name__
