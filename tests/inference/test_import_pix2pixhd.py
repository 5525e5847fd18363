"""Published pix2pixHD checkpoints come in key by key, give the published pictures, and go out again as they were."""

from __future__ import annotations

import pickle
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
from asterism.inference.published.layouts import export_published, remarks
from asterism.labels import LabelSpace
from asterism.recipes.model import load_model, save_model
from asterism.recipes.pix2pixhd import Config, Pix2PixHD
from asterism.storage.model_file import ModelError

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "pix2pixhd"
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded pix2pixHD numbers are not in the repository")
SPACE = LabelSpace.from_text("pictures:one_of:labels,photo")
SIZE = (32, 64)
TINY = {"conv_dim": 4, "num_downs": 1, "num_blocks": 1, "discriminator_conv_dim": 5, "discriminator_layers": 1}
TINY |= {"enhancer_blocks": 2, "scales": 3, "global_steps": 10, "encoder_conv_dim": 3, "encoder_downs": 2}


def written(folder: Path, phase: str = "all", **settings) -> list[Path]:
    """Return published files as our own export writes them."""
    torch.manual_seed(0)
    recipe = Pix2PixHD(Config(**(TINY | settings)), SPACE, PictureFormat(3, 32, 32))
    info = {"step": 200, "phase": phase}
    save_model(folder / "model.safetensors", recipe, "pix2pixhd", recipe.state_dict(), info=info)
    return export_published(load_model(folder / "model.safetensors"), folder / "published")


def edited(source: Path, path: Path, changes: dict[str, torch.Tensor | None]) -> Path:
    """Write a copy of a file with keys replaced or, where None, left out."""
    weights = read_state_dict(source) | changes
    torch.save({key: t for key, t in weights.items() if t is not None}, path)
    return path


@needs_golden
@pytest.mark.parametrize(("case", "letters", "classes"), [("hdglobal", "GDE", 5), ("hdlocal", "GD", 6)])
def test_recorded_files_give_the_recorded_pictures_and_go_out_as_they_came(tmp_path: Path, case, letters, classes) -> None:
    files = [Path(shutil.copy(GOLDEN / f"{case}_net_{n}.pth", tmp_path / f"7_net_{n}.pth")) for n in letters]
    path = import_published("pix2pixhd", files, space=SPACE, size=SIZE, out=tmp_path / "run")
    model, golden = load_model(path), load_file(GOLDEN / f"{case}_step.safetensors")
    assert (model.info["step"], model.missing, model.recipe.abilities.targets) == (7, (), ("photo",))
    assert (model.picture.taken.classes, model.picture.taken.channels) == (classes, 2)
    x = torch.cat([golden["in.label"], golden["in.inst"].float()], 1)
    with torch.no_grad():
        features = model.recipe.encode(x, golden["in.image"]) if "E" in letters else None
        y = model.recipe.render(x, features)
    torch.testing.assert_close(y, golden["out.fake_image"], rtol=0, atol=1e-4)
    said = remarks(model)
    assert f"label maps of {classes} classes" in said[0] and ("no centres yet" in said[-1]) == ("E" in letters)
    for mine, theirs in zip(export_published(model, tmp_path / "out"), files, strict=True):
        assert mine.name == theirs.name
        weights, published = read_state_dict(mine), read_state_dict(theirs)
        assert list(weights) == list(published)
        for key, t in published.items():
            tolerance = 1e-3 if "_D" in mine.name else 0.0  # D is kept in float16.
            torch.testing.assert_close(weights[key], t, rtol=tolerance, atol=tolerance / 100)


@needs_golden
def test_g_alone_translates_label_maps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["import", "pix2pixhd", str(GOLDEN / "hdlocal_net_G.pth"), "--domains", "labels,photo", "--image-size", "32x64"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "not among the files: discriminator; translation does not need it" in said and "--to photo" in said
    golden = load_file(GOLDEN / "hdlocal_step.safetensors")
    translator = load(tmp_path / "run", device="cpu", precision="float32")
    with torch.no_grad():
        x = torch.cat([golden["in.label"], golden["in.inst"].float()], 1)
        y = translator.recipe.translate(x, torch.tensor([1]))
    torch.testing.assert_close(y, golden["out.fake_image"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("settings", [{}, {"enhancers": 1}, {"enhancers": 2, "num_downs": 2}, {"features": 2}])
def test_depths_and_widths_are_read_off(tmp_path: Path, settings: dict) -> None:
    """Files of PyTorch 0.3 hold statistics of the norms; a D without feature matching has other keys."""
    files = written(tmp_path, **settings)
    assert [path.name[8:-4] for path in files] == ["G", "D"] + ["E"] * bool(settings.get("features"))
    old = edited(files[0], tmp_path / "old_net_G.pth", {"model.2.running_mean": torch.zeros(4)})
    plain = {
        f"layer{key[5]}.{max(0, 3 * int(key[12]) - 1)}.{key.split('.')[2]}": t for key, t in read_state_dict(files[1]).items()
    }
    torch.save(plain, tmp_path / "plain_net_D.pth")
    sources = [old, tmp_path / "plain_net_D.pth", *files[2:]]
    model = load_model(import_published("pix2pixhd", sources, space=SPACE, size=(32, 32), out=tmp_path / "run"))
    wanted = TINY | {"enhancers": 0, "features": 0} | settings
    read = [key for key in wanted if key not in ("global_steps", "encoder_conv_dim", "encoder_downs", "enhancer_blocks")]
    assert {key: getattr(model.config, key) for key in read} == {key: wanted[key] for key in read}
    assert model.picture.source is None
    for mine, theirs in zip(export_published(model, tmp_path / "out"), files, strict=True):
        weights = read_state_dict(mine)
        assert all(torch.equal(weights[key], t) for key, t in read_state_dict(theirs).items())


def test_a_model_of_the_first_phase_goes_out_as_a_global_generator(tmp_path: Path) -> None:
    generator, judge = written(tmp_path, phase="global", enhancers=1)
    weights = read_state_dict(generator)
    assert not any(key.startswith("model1_") for key in weights) and weights["model.12.weight"].shape == (3, 4, 7, 7)
    assert {key[:6] for key in read_state_dict(judge)} == {"scale0", "scale1"}, "the third sees full-size pictures"


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    generator, judge, encoder = written(tmp_path, features=2)
    (tmp_path / "module.pth").write_bytes(pickle.dumps(torch.nn.ReLU()))
    cases: list[tuple[list[Path], str]] = [
        ([judge], "there is no generator among the files"),
        ([generator, edited(generator, tmp_path / "again.pth", {}), encoder], "are both a generator"),
        ([generator, judge], "a generator that sees features needs its E file too"),
        (
            [edited(generator, tmp_path / "a.pth", {"model.7.conv_block.5.weight": None}), encoder],
            "lacks model.7.conv_block.5.weight",
        ),
        ([edited(generator, tmp_path / "b.pth", {"model.12.weight": None}), encoder], "lacks the kernel model.12.weight"),
        ([edited(judge, tmp_path / "c.pth", {"scale0_layer0.0.weight": None})], "is no file of pix2pixHD"),
        ([generator, tmp_path / "features_clustered_010.npy"], "is a pickled dict of centres"),
        ([tmp_path / "module.pth"], "may run code. If you trust it, load it beside the code that wrote it"),
    ]
    for files, words in cases:
        with pytest.raises(ModelError, match=words.replace(".", r"\.")):
            import_published("pix2pixhd", files, space=SPACE, size=(32, 32), out=tmp_path / "out")
        assert not (tmp_path / "out").exists()
    with pytest.raises(ModelError, match="name the two, sources first, not a, b, c"):
        import_published("pix2pixhd", [generator], space=LabelSpace.from_text("p:one_of:a,b,c"), out=tmp_path / "out")
