"""The cache that evaluations share: trained classifiers, features of real pictures, weights of published networks.

The folder is `$ASTERISM_CACHE`, else `asterism` in the user's cache folder; deleting it costs time and nothing else, but for
the files that the user put into `weights`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from asterism.cache import cache_folder as cache_folder
from asterism.storage.whole import write_whole


def weights_folder() -> Path:
    """Return the folder where files of published weights are looked for."""
    return cache_folder() / "weights"


def digest_of(*parts: str | bytes) -> str:
    """Return a short hash of texts or bytes, 16 hexadecimal digits."""
    whole = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        whole.update(len(content).to_bytes(8, "big") + content)
    return whole.hexdigest()[:16]


def digest_of_weights(module: nn.Module | Mapping[str, Tensor]) -> str:
    """Return a short hash of names, shapes and values of a module's weights."""
    state = module.state_dict() if isinstance(module, nn.Module) else module
    whole = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        whole.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        whole.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()[:16]


def digest_of_file(path: Path) -> str:
    """Return a short hash of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def write_tensor(path: Path, tensor: Tensor) -> None:
    """Write a tensor with its hash, whole or not at all."""
    write_whole(path, save({"tensor": tensor.contiguous()}, {"digest": digest_of_weights({"tensor": tensor})}), sync=True)


def read_tensor(path: Path) -> Tensor | None:
    """Return what `write_tensor` wrote; None where there is no file.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensor, stated = file.get_tensor("tensor"), (file.metadata() or {}).get("digest")
    except (OSError, SafetensorError) as error:
        raise ValueError(str(error)) from error
    if digest_of_weights({"tensor": tensor}) != stated:
        raise ValueError("its content and its hash differ")
    return tensor
