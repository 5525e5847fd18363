"""The GAN zoo's ProGAN files come in where they hold tensors alone, and go out again as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asterism.cli import main
from asterism.inference.published.importing import import_published
from asterism.inference.published.layouts import export_published
from asterism.labels import LabelSpace
from asterism.recipes.model import load_model
from asterism.storage.model_file import ModelError
from tests.helpers.progan import GOLDEN, read_zoo

pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded numbers are not beside this checkout")


@pytest.fixture
def held() -> dict[str, dict[str, torch.Tensor]]:
    return {name: dict(weights) for name, weights in read_zoo(GOLDEN / "s2_16px.ckpt").items() if name != "config"}


def saved(held: dict[str, dict[str, torch.Tensor]], path: Path) -> Path:
    torch.save(held, path)
    return path


def test_the_file_goes_out_as_it_came(held, tmp_path: Path) -> None:
    file = saved(held, tmp_path / "faces_s2_i96000.pt")
    assert main(["import", "progan", str(file), "--out", str(tmp_path / "run")]) == 0
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert (model.config.latent_dim, model.config.widths) == (12, (8, 8, 6)) and model.picture.height == 16
    (written,) = export_published(model, tmp_path / "out")
    assert written.name == "asterism_s2_i0.pt"
    mine = torch.load(written, weights_only=True)
    assert set(mine) == {"netG", "netD", "avgG"}
    for network, source, tolerance in (("avgG", "avgG", 0.0), ("netG", "avgG", 0.0), ("netD", "netD", 1e-3)):  # D in float16.
        assert set(mine[network]) == set(held[source])
        for key, t in held[source].items():
            torch.testing.assert_close(mine[network][key], t, rtol=tolerance, atol=tolerance / 100)
    assert main(["generate", str(tmp_path / "run"), "--count", "2", "--sheet", str(tmp_path / "sheet.png")]) == 0


def test_old_names_and_a_generator_alone_are_read(held, tmp_path: Path) -> None:
    old = {"netG": {key.replace(".module.", "."): t for key, t in held["netG"].items()}}
    path = import_published("progan", [saved(old, tmp_path / "old.pt")], out=tmp_path / "run")
    assert torch.equal(load_model(path).recipe.generator.first.weight, held["netG"]["groupScale0.0.module.weight"])


def test_a_conditional_file_needs_its_labels(held, tmp_path: Path) -> None:
    held["netD"] |= {f"decisionLayer.module.{key}": torch.ones(3, *size) for key, size in (("weight", (8,)), ("bias", ()))}
    file = saved(held, tmp_path / "told.pt")
    with pytest.raises(ModelError, match="classifies 2 labels; none are given: name them, in the order of training"):
        import_published("progan", [file], out=tmp_path / "none")
    space = LabelSpace.from_text("pets:one_of:cat,dog")
    model = load_model(import_published("progan", [file], space=space, out=tmp_path / "run"))
    assert model.config.conditional and model.config.latent_dim == 10 and model.recipe.abilities.told == "code"


def test_other_files_are_refused(held, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"was not opened, because that may run code.*torch.save\({k: held\[k\] for k in"):
        import_published("progan", [GOLDEN / "s2_16px.ckpt"], out=tmp_path / "run")
    file = saved(held, tmp_path / "good.pt")
    with pytest.raises(ModelError, match="makes pictures of 16x16, not 64x64"):
        import_published("progan", [file], out=tmp_path / "run", size=(64, 64))
    with pytest.raises(ModelError, match="in one file, such as .*: give one, not 2"):
        import_published("progan", [file, GOLDEN / "s2_16px.ckpt"], out=tmp_path / "run")
    with pytest.raises(ModelError, match="has no generator of ProGAN"):
        import_published("progan", [saved({"netD": held["netD"]}, tmp_path / "d.pt")], out=tmp_path / "run")
    del held["avgG"]["scaleLayers.1.0.module.weight"]
    with pytest.raises(ModelError, match=r"lacks blocks.1.0.weight"):
        import_published("progan", [saved(held, tmp_path / "short.pt")], out=tmp_path / "run")
    model = load_model(import_published("progan", [file], out=tmp_path / "whole"))
    model.recipe.enter("16 px, fading")
    with pytest.raises(ModelError, match="this model is of the phase '16 px, fading': train it to '16 px', then export it"):
        export_published(model, tmp_path / "out")
