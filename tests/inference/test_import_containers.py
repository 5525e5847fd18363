"""Checkpoints as programs write them and people download them: wrapped, prefixed, zipped, or no checkpoint at all."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from asterism.inference.published.containers import read_networks, read_state_dict, read_state_dicts
from asterism.recipes.model import load_model
from asterism.storage.model_file import ModelError

NETWORK = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
WEIGHTS = NETWORK.state_dict()
OTHERS = {key: tensor + 1 for key, tensor in WEIGHTS.items()}


def prefixed(prefix: str, weights: dict[str, torch.Tensor] = WEIGHTS) -> dict[str, torch.Tensor]:
    return {prefix + key: tensor for key, tensor in weights.items()}


@pytest.mark.parametrize(
    "held",
    [
        prefixed("module."),
        prefixed("_orig_mod."),
        prefixed("module._orig_mod."),
        {"state_dict": WEIGHTS, "epoch": 3, "optimizer": {"state": {}}},
        {"model": {"state_dict": prefixed("module.")}},
        {"params": OTHERS, "params_ema": WEIGHTS},
        AveragedModel(NETWORK).state_dict(),
        prefixed("ema_model.") | prefixed("online_model.", OTHERS) | {"initted": torch.tensor(True), "step": torch.tensor(9)},
    ],
    ids=["parallel", "compiled", "both", "state_dict", "nested", "params_ema", "averaged", "ema beside online"],
)
def test_wrappers_and_prefixes_are_taken_off(tmp_path: Path, held: dict) -> None:
    torch.save(held, tmp_path / "g.pth")
    found = read_state_dict(tmp_path / "g.pth")
    assert found.keys() == WEIGHTS.keys() and all(torch.equal(found[key], WEIGHTS[key]) for key in WEIGHTS)


def test_wrappers_around_several_networks_are_taken_off(tmp_path: Path) -> None:
    torch.save({"state_dict": {"G": prefixed("_orig_mod."), "D": OTHERS}, "step": 1}, tmp_path / "all.ckpt")
    found = read_state_dicts(tmp_path / "all.ckpt")
    assert found["G"].keys() == found["D"].keys() == WEIGHTS.keys()
    torch.save({"G": prefixed("module."), "step": 1}, tmp_path / "some.ckpt")
    assert read_networks(tmp_path / "some.ckpt", ("G", "D"))["G"].keys() == WEIGHTS.keys()


def test_the_only_checkpoint_in_a_zip_is_found(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "g.pth")
    with zipfile.ZipFile(tmp_path / "released.zip", "w") as archive:
        archive.write(tmp_path / "g.pth", "models/200000-G.pth")
        archive.writestr("models/README", "hello")
    assert read_state_dict(tmp_path / "released.zip").keys() == WEIGHTS.keys()
    with zipfile.ZipFile(tmp_path / "released.zip", "a") as archive:
        archive.write(tmp_path / "g.pth", "models/100000-G.pth")
    with pytest.raises(ModelError, match=r"is a zip of checkpoints: 2 \(models/200000-G.pth, .*unpack it, and name the one"):
        read_state_dict(tmp_path / "released.zip")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: download it again"),
        (b"\n<!DOCTYPE html><html><title>Sign in</title>", "is a web page and no model"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "is a pointer of Git LFS"),
        (None, "is cut off: download it again"),
    ],
    ids=["empty", "web page", "pointer", "cut"],
)
def test_what_is_no_checkpoint_is_told_for_what_it_is(tmp_path: Path, content: bytes | None, message: str) -> None:
    torch.save(WEIGHTS, tmp_path / "g.pth")
    (tmp_path / "g.pth").write_bytes((tmp_path / "g.pth").read_bytes()[:700] if content is None else content)
    with pytest.raises(ModelError, match=message):
        read_state_dict(tmp_path / "g.pth")
    (tmp_path / "m.safetensors").write_bytes((tmp_path / "g.pth").read_bytes())
    with pytest.raises(ModelError, match=f"m.safetensors {message}"):
        load_model(tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match="is no file"):
        read_state_dict(tmp_path / "gone.pth")
