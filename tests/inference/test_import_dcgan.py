"""DCGAN's published checkpoints come in key by key, give the published pictures, and go out again as they were."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asterism.cli import main
from asterism.inference.published.containers import read_state_dict
from asterism.inference.published.importing import import_published
from asterism.inference.published.layouts import export_published
from asterism.recipes.model import load_model
from asterism.recipes.render import generate
from asterism.storage.model_file import ModelError

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "dcgan"

pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded numbers are not beside this checkout")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """The published names."""
    return [Path(shutil.copy(GOLDEN / f"rgb_net{n}.ckpt", tmp_path / f"net{n}_epoch_24.pth")) for n in "DG"]


def test_the_published_pictures(tmp_path: Path, files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "dcgan", *map(str, files), "--licence", "BSD", "--out", str(tmp_path / "run")]) == 0
    assert f"asterism generate {tmp_path / 'run'} --count 16 --sheet FILE.png" in capsys.readouterr().out
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert model.config.latent_dim == 16 and model.config.conv_dim == model.config.discriminator_conv_dim == 6
    assert (model.picture.height, model.picture.channels, model.missing, model.space.names) == (64, 3, (), ())
    golden = load_file(GOLDEN / "rgb_step.safetensors")
    with torch.no_grad():
        x_fake = generate(model.recipe, golden["z"].flatten(1), golden["z"][:, :0, 0, 0])
    torch.testing.assert_close(x_fake, golden["x_fake_eval"], rtol=0, atol=1e-4)
    assert main(["generate", str(tmp_path / "run"), "--count", "2", "--sheet", str(tmp_path / "sheet.png")]) == 0


def test_the_files_go_out_as_they_came(tmp_path: Path, files: list[Path]) -> None:
    model = load_model(import_published("dcgan", files, out=tmp_path / "run"))
    written = export_published(model, tmp_path / "out")
    assert [path.name for path in written] == ["netG_epoch_0.pth", "netD_epoch_0.pth"]
    for mine, theirs, tolerance in zip(written, reversed(files), (0.0, 1e-3), strict=True):  # D is kept in float16.
        weights, published = read_state_dict(mine), read_state_dict(theirs)
        assert list(weights) == list(published)
        for key, t in published.items():
            torch.testing.assert_close(weights[key], t, rtol=tolerance, atol=tolerance / 100)


def test_files_without_counts_and_a_generator_alone(tmp_path: Path, files: list[Path]) -> None:
    """As PyTorch 0.3 wrote them."""
    weights = {key: t for key, t in read_state_dict(files[1]).items() if "tracked" not in key}
    torch.save(weights, tmp_path / "netG.pth")
    model = load_model(import_published("dcgan", [tmp_path / "netG.pth"], out=tmp_path / "run"))
    assert model.missing == ("discriminator",)


def test_other_files_are_refused(tmp_path: Path, files: list[Path]) -> None:
    for given, arguments, words in (
        (files[:1], {}, "there is no generator among the files"),
        ([files[1]], {"size": (32, 32)}, "makes pictures of 64x64, not 32x32"),
        ([files[1]], {"keep": ["fan"]}, "recipe dcgan has no extra network 'fan' to keep; it has none"),
    ):
        with pytest.raises(ModelError, match=words):
            import_published("dcgan", given, out=tmp_path / "run", **arguments)
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="is not a file of DCGAN, which begins with main.0.weight"):
        import_published("dcgan", [tmp_path / "other.pth"], out=tmp_path / "run")
