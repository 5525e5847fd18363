"""WGAN's published checkpoints come in, and go out again as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asterism.cli import main
from asterism.inference.published.containers import read_state_dict
from asterism.inference.published.importing import import_published
from asterism.inference.published.layouts import export_published
from asterism.recipes.model import load_model
from asterism.storage.model_file import ModelError

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "wgan"

pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded numbers are not beside this checkout")


@pytest.mark.parametrize("case", ["bn32", "nobn64"])
def test_the_files_go_out_as_they_came(case: str, tmp_path: Path) -> None:
    files = [GOLDEN / f"{case}_net{letter}.ckpt" for letter in "GD"]
    assert main(["import", "wgan", *map(str, files), "--out", str(tmp_path / "run")]) == 0
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert model.config.generator_norm == (case == "bn32") and model.config.extra_layers == (case == "nobn64")
    written = export_published(model, tmp_path / "out")
    assert [path.name for path in written] == ["netG_epoch_0.pth", "netD_epoch_0.pth"]
    for mine, theirs, tolerance in zip(written, files, (0.0, 1e-3), strict=True):  # The critic is kept in float16.
        weights, published = read_state_dict(mine), read_state_dict(theirs)
        assert list(weights) == list(published)
        for key, t in published.items():
            torch.testing.assert_close(weights[key], t, rtol=tolerance, atol=tolerance / 100)
    assert main(["generate", str(tmp_path / "run"), "--count", "2", "--sheet", str(tmp_path / "sheet.png")]) == 0


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no generator among the files"):
        import_published("wgan", [GOLDEN / "bn32_netD.ckpt"], out=tmp_path / "run")
    with pytest.raises(ModelError, match="is for pictures of 32x32, not 64x64"):
        import_published("wgan", [GOLDEN / "bn32_netG.ckpt"], out=tmp_path / "run", size=(64, 64))
    torch.save({"main.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match=r"is not a file of WGAN, whose layers are called main.initial:"):
        import_published("wgan", [tmp_path / "other.pth"], out=tmp_path / "run")
