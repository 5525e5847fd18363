"""The model file: `model.safetensors`, from which a trained model is rebuilt with no other file.

The tensors are the recipe's state dict (`generator.main.0.weight`, ...). The metadata, all of it JSON text, says what
they belong to:

    format     version of this layout
    recipe     name in the registry; decides, since recipes may share keys and shapes (StarGAN and Fixed-Point GAN)
    config     the recipe's configuration
    labels     the label space's groups
    picture    size, channels, depth and value range of the pictures
    networks   the networks that the file holds; an imported generator may come alone
    info       about the model: version, step, scores, data, licence, created_from
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from asterism import __version__
from asterism.errors import AsterismError
from asterism.mistaken import mistaken
from asterism.storage.whole import write_whole

FORMAT = 1
FILE_NAME = "model.safetensors"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?<!\.safetensors)")
DEMO = Path(__file__).parents[1] / "sample" / "demo.safetensors"  # Bundled; `demo` means it, where nothing else has that name.


class ModelError(AsterismError, ValueError):
    """A model file that cannot be found, read or used; the message says why and what to do."""


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors with what the head of this file lists, as JSON text, whole or not at all.

    Raises:
        OSError: no room on the disk, or no right to write.
    """
    content = save(dict(tensors), {key: json.dumps(value) for key, value in {"format": FORMAT, **facts}.items()})
    write_whole(Path(path), content, sync=True)


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote: the tensors by name, and the facts.

    Raises:
        ModelError: not a model file of this library, damaged, or written by a newer version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if "format" not in metadata or "recipe" not in metadata:
                raise ModelError(
                    f"{path} holds tensors but no model of asterism; published weights come in through `asterism import`"
                )
            weights = {key: file.get_tensor(key) for key in file.keys()}
        facts = {key: json.loads(value) for key, value in metadata.items()}
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        found = mistaken(Path(path)) or f"cannot be read: {error}. The file is damaged or no safetensors file; copy it again"
        raise ModelError(f"{path} {found}") from error
    if facts["format"] != FORMAT:
        raise ModelError(
            f"{path} has format {facts['format']}, written by {author(facts)}; this is {__version__}: upgrade asterism"
        )
    return weights, facts


def author(facts: Mapping[str, Any]) -> str:
    """Return which version of the library wrote a model file."""
    return f"asterism {facts.get('info', {}).get('version', '(unknown)')}"


def find_model(path_or_name: str | os.PathLike[str]) -> Path:
    """Return the model file that a user means.

    Args:
        path_or_name: a model file; a run folder; else `demo`, the bundled model, or, if there is not even a folder `owner`
            here, a hub name `owner/name`, whose `model.safetensors` is downloaded once.

    Raises:
        ModelError: there is none; says what was looked for.
    """
    path = Path(path_or_name).expanduser()
    if path.is_dir():
        if (path / FILE_NAME).is_file():
            return path / FILE_NAME
        if (path / "config.json").is_file():
            raise ModelError(f"the run {path} has no {FILE_NAME} yet: it is written with the first checkpoint")
        raise ModelError(f"{path} is no run: it holds neither {FILE_NAME} nor config.json")
    if path.is_file():
        if path.suffix != ".safetensors":
            raise ModelError(f"{path} is no model file (.safetensors); published checkpoints come in through `asterism import`")
        return path
    if str(path_or_name) == DEMO.stem:
        return DEMO
    if HUB_NAME.fullmatch(str(path_or_name)) and not path.parent.is_dir():  # Where runs is a folder, runs/faec is a slip.
        return _download(str(path_or_name))
    raise ModelError(f"there is no model {str(path_or_name)!r}: give a run folder, a .safetensors file, owner/name or demo")


def _download(name: str) -> Path:
    from huggingface_hub import hf_hub_download  # Slow to import, and only hub names need it.
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(name, FILE_NAME))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"no folder {name!r} is here, and the hub gave no {FILE_NAME} of that name: {reason}") from error
