"""GANimation's checkpoints come in key by key, give the published pictures, and go out again as they were."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asterism.data.pictures import PictureFormat
from asterism.inference.published.containers import read_state_dict
from asterism.inference.published.importing import import_published
from asterism.inference.published.layouts import export_published
from asterism.labels import LabelSpace
from asterism.recipes.ganimation import Config, GANimation
from asterism.recipes.model import load_model, save_model
from asterism.storage.model_file import ModelError

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "ganimation"
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded GANimation numbers are not in the repository")
FACES = LabelSpace.from_text("faces:number:AU06,AU12,AU45")


def bring(out: Path, *files: Path, size: tuple[int, int] | None = None, space: LabelSpace | None = None) -> Path:
    return import_published("ganimation", files, space=space, size=size, out=out)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Published files of three numbers, as our own export writes them: G, then D."""
    torch.manual_seed(0)
    config = Config(conv_dim=4, num_blocks=1, discriminator_conv_dim=6, discriminator_layers=3)
    recipe = GANimation(config, FACES, PictureFormat(3, 32, 32))
    path = tmp_path / "run" / "model.safetensors"
    save_model(path, recipe, "ganimation", recipe.state_dict(), info={"step": 30})
    return export_published(load_model(path), tmp_path / "published")


@needs_golden
@pytest.mark.parametrize("prefix", ["", "torch03_"])
def test_imported_models_give_the_published_pictures(prefix: str, tmp_path: Path) -> None:
    """Of PyTorch 0.3 too, whose files hold statistics that must not be used; numbers and size are the published ones."""
    step = load_file(GOLDEN / "aus17_step.safetensors")
    recorded = [GOLDEN / "aus17" / name for name in (f"{prefix}net_epoch_30_id_G.pth", "net_epoch_30_id_D.pth")]
    model = load_model(bring(tmp_path / "run", *recorded))
    assert model.space.names[:2] == ("AU01", "AU02") and model.space.names[-1] == "AU45" and len(model.space.names) == 17
    assert (model.picture.height, model.config.conv_dim, model.config.num_blocks) == (64, 8, 2)
    model.recipe.eval()
    with torch.no_grad():
        y = model.recipe.translate(step["x_real"], step["cond_desired"])
        torch.testing.assert_close(y, step["x_fake"], rtol=0, atol=1e-4)
        read = model.recipe.classify(step["x_real"])
        torch.testing.assert_close(read, step["d_real_cond"], rtol=0, atol=5e-3)  # The discriminator is kept in float16.
    mine = read_state_dict(export_published(model, tmp_path / "out")[0])
    published = read_state_dict(GOLDEN / "aus17" / "net_epoch_30_id_G.pth")
    assert list(mine) == list(published) and all(torch.equal(mine[key], t) for key, t in published.items())


def test_files_go_out_and_come_in_again(files: list[Path], tmp_path: Path) -> None:
    assert [file.name for file in files] == ["net_epoch_30_id_G.pth", "net_epoch_30_id_D.pth"]
    model = load_model(bring(tmp_path / "back", *reversed(files), space=FACES))
    assert (model.config.discriminator_conv_dim, model.config.discriminator_layers, model.picture.width) == (6, 3, 32)
    first = load_model(tmp_path / "run" / "model.safetensors").recipe.state_dict()
    assert all(torch.equal(first[key], tensor) for key, tensor in model.recipe.state_dict().items())
    alone = load_model(bring(tmp_path / "alone", files[0], space=FACES))
    assert alone.missing and alone.picture.height == 128


def test_what_does_not_fit_is_refused(files: list[Path], tmp_path: Path) -> None:
    again = Path(shutil.copy(files[0], tmp_path / "again.pth"))
    for given, options, message in (
        (files, {}, "takes 3 numbers, and these are 17: AU01.*name all that it was trained on"),
        (files, {"space": FACES, "size": (64, 64)}, "was trained at 32x32, not 64x64"),
        ([files[0], again], {"space": FACES}, "are both a generator"),
        (files[1:], {"space": FACES}, "there is no generator among the files"),
    ):
        with pytest.raises(ModelError, match=message):
            bring(tmp_path / "no", *given, **options)
