"""Model files, changed for tests."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file


def rewrite(path: Path, **changes: object) -> None:
    """Change the metadata of a model file."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file(load_file(path), path, metadata | {key: json.dumps(value) for key, value in changes.items()})
