"""Small training runs for tests."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from asterism.engine import checkpoint

SMALL = {
    "recipe.conv_dim": 4,
    "recipe.num_blocks": 1,
    "recipe.discriminator_conv_dim": 4,
    "recipe.discriminator_layers": 3,
    "recipe.critic_steps": 2,
    "data.size": 32,
    "data.workers": 0,
    "train.batch_size": 4,
    "train.steps": 8,
    "train.decay_steps": 4,
    "train.log_every": 2,
    "train.checkpoint_every": 4,
    "train.preview_every": 100,
    "train.precision": "float32",
}

BRIEF = {
    "data.size": 32,
    "data.workers": 0,
    "train.batch_size": 2,
    "train.steps": 8,
    "train.decay_steps": 4,
    "train.checkpoint_every": 4,
    "train.evaluate_every": 0,
    "train.precision": "float32",
}
"""Of any recipe."""


def small(**changes) -> dict:
    return SMALL | {key.replace("__", "."): value for key, value in changes.items()}


def state(run: Path) -> dict:
    return checkpoint.newest(run / "checkpoints", print)


def flat(tree, prefix="") -> dict[str, torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        return {prefix: tree}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return {k: v for key, sub in items for k, v in flat(sub, f"{prefix}/{key}").items()}


def assert_same_state(a: dict, b: dict) -> None:
    a, b = flat(a), flat(b)
    assert a.keys() == b.keys() and len(a) > 30
    different = [k for k in a if not torch.equal(a[k], b[k])]
    assert not different


def command(data: Path, out: Path, settings: dict) -> list[str]:
    words = [f"--{key}={value}" for key, value in settings.items()]
    return [sys.executable, "-m", "asterism", "train", "stargan", "--data", str(data), "--out", str(out), *words]
