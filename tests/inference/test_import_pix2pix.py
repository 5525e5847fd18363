"""Published pix2pix checkpoints come in key by key, give the published pictures, and go out again as they were."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asterism import load
from asterism.cli import main
from asterism.data.pictures import PictureFormat
from asterism.inference.published.containers import read_state_dict
from asterism.inference.published.importing import import_published
from asterism.inference.published.layouts import export_published
from asterism.labels import LabelError, LabelSpace
from asterism.recipes.model import load_model, save_model
from asterism.recipes.pix2pix import Config, Pix2Pix
from asterism.storage.model_file import ModelError

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "pix2pix"
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded pix2pix numbers are not in the repository")
SPACE = LabelSpace.from_text("pictures:one_of:labels,photo")


def written(folder: Path, **settings) -> list[Path]:
    """Return published files, G and D, as our own export writes them."""
    torch.manual_seed(0)
    recipe = Pix2Pix(Config(conv_dim=4, discriminator_conv_dim=6, **settings), SPACE, PictureFormat(3, 64, 64))
    save_model(folder / "model.safetensors", recipe, "pix2pix", recipe.state_dict(), info={"step": 200})
    return export_published(load_model(folder / "model.safetensors"), folder / "published")


def edited(source: Path, path: Path, changes: dict[str, torch.Tensor | None]) -> Path:
    """Write a copy of a file with keys replaced or, where None, left out."""
    weights = read_state_dict(source) | changes
    torch.save({key: t for key, t in weights.items() if t is not None}, path)
    return path


@needs_golden
def test_released_weights_give_the_published_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """G alone, as released: dropout is off without a seed, and norms take each picture's own statistics."""
    step, prefix = load_file(GOLDEN / "p2p32_step.safetensors"), "after.G."
    state = {key.removeprefix(prefix): t for key, t in step.items() if key.startswith(prefix)}
    torch.save(state, tmp_path / "latest_net_G.pth")
    words = ["import", "pix2pix", str(tmp_path / "latest_net_G.pth"), "--domains", "labels,photo"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "not among the files: discriminator; translation does not need it" in said and "--to photo" in said
    translator = load(tmp_path / "run", device="cpu", precision="float32")
    assert translator.labels == ("photo",) and translator.model.config.num_downs == 5
    y = translator.translate(torch.cat([step["in.real_A"], step["in.real_B"]]), "photo")
    torch.testing.assert_close(y[:1], step["test.train_fake_B_first"], rtol=0, atol=1e-4)
    with pytest.raises(LabelError, match="no network that translates to labels; it translates to photo"):
        translator.translate(y, "labels")


@needs_golden
def test_recorded_files_go_out_as_they_came(tmp_path: Path) -> None:
    files = [Path(shutil.copy(GOLDEN / f"p2p32_net_{n}.pth", tmp_path / f"7_net_{n}.pth")) for n in "GD"]
    model = load_model(import_published("pix2pix", files, out=tmp_path / "run"))
    assert (model.info["step"], model.missing, model.picture.height) == (7, (), 32)
    again = export_published(model, tmp_path / "out")
    assert [path.name for path in again] == ["7_net_G.pth", "7_net_D.pth"]
    for mine, theirs, tolerance in zip(again, files, (0.0, 1e-3), strict=True):  # D is kept in float16.
        weights, published = read_state_dict(mine), read_state_dict(theirs)
        assert list(weights) == list(published)
        for key, t in published.items():
            torch.testing.assert_close(weights[key], t, rtol=tolerance, atol=tolerance / 100)


def test_files_of_unequal_channels_come_in_as_two_kinds(tmp_path: Path) -> None:
    torch.manual_seed(0)
    both = PictureFormat(3, 64, 64, source=PictureFormat(1, 64, 64))
    recipe = Pix2Pix(Config(conv_dim=4, discriminator_conv_dim=6, running_statistics=False), SPACE, both).eval()
    save_model(tmp_path / "model.safetensors", recipe, "pix2pix", recipe.state_dict(), info={"step": 200})
    files = export_published(load_model(tmp_path / "model.safetensors"), tmp_path / "published")
    imported = load_model(import_published("pix2pix", files, out=tmp_path / "run"))
    assert imported.picture == both
    x = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(imported.recipe.translate(x, torch.ones(2)), recipe.translate(x, torch.ones(2)))


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_depth_and_kind_of_networks_are_read_off(tmp_path: Path, layers: int) -> None:
    """The U-Net's depth, and the discriminator of pixels or patches; files of PyTorch 0.3 count no batches."""
    generator, judge = written(tmp_path, discriminator_layers=layers)
    old = edited(generator, tmp_path / "old_net_G.pth", {k: None for k in read_state_dict(generator) if "tracked" in k})
    model = load_model(import_published("pix2pix", [old, judge], space=SPACE, out=tmp_path / "run"))
    assert (model.config.num_downs, model.config.conv_dim, model.picture.height) == (6, 4, 64)
    assert (model.config.discriminator_layers, model.config.discriminator_conv_dim) == (layers, 6)
    for mine, theirs in zip(export_published(model, tmp_path / "out"), (generator, judge), strict=True):
        weights = read_state_dict(mine)
        assert all(torch.equal(weights[key], t) for key, t in read_state_dict(theirs).items())


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    generator, judge = written(tmp_path)
    bottom = "model.model.1" + ".model.3" * 4 + ".model.3.weight"
    cases: list[tuple[list[Path], str]] = [
        ([judge], "there is no generator among the files"),
        ([generator, edited(generator, tmp_path / "again.pth", {})], "are both a generator"),
        ([edited(generator, tmp_path / "a.pth", {bottom: None})], f"lacks {bottom}"),
        ([edited(generator, tmp_path / "b.pth", {"model.model.3.weight": torch.zeros(8, 1, 4, 4)})], "model.model.3.bias is"),
        ([edited(judge, tmp_path / "c.pth", {"model.0.weight": None})], "is no file of pix2pix"),
        ([generator, edited(judge, tmp_path / "d.pth", {"model.3.weight": None})], "lacks model.3.weight"),
    ]
    for files, words in cases:
        with pytest.raises(ModelError, match=words.replace(".", r"\.")):
            import_published("pix2pix", files, space=SPACE, out=tmp_path / "out")
        assert not (tmp_path / "out").exists()
    with pytest.raises(ModelError, match="name the two, sources first, not a, b, c"):
        import_published("pix2pix", [generator], space=LabelSpace.from_text("p:one_of:a,b,c"), out=tmp_path / "out")
