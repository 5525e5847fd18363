"""DiscoGAN's checkpoints come in key by key, give the published pictures, and go out again as they were."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asterism.data.pictures import PictureFormat
from asterism.inference.published.containers import read_state_dict
from asterism.inference.published.discogan import NAMES
from asterism.inference.published.importing import import_published
from asterism.inference.published.layouts import export_published
from asterism.inference.translator import load
from asterism.labels import LabelError, LabelSpace
from asterism.recipes.discogan import Config, DiscoGAN
from asterism.recipes.model import load_model, save_model
from asterism.storage.model_file import ModelError

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "discogan"
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded DiscoGAN numbers are not in the repository")
SPACE = LabelSpace.from_text("pictures:one_of:bags,shoes")


def bring(out: Path, *files: Path, size: tuple[int, int] | None = None, space: LabelSpace | None = SPACE) -> Path:
    return import_published("discogan", files, space=space, size=size, out=out)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Published files with a bottleneck, as our own export writes them."""
    torch.manual_seed(0)
    recipe = DiscoGAN(Config(conv_dim=4, bottleneck=5, discriminator_conv_dim=6), SPACE, PictureFormat(3, 64, 64))
    path = tmp_path / "run" / "model.safetensors"
    save_model(path, recipe, "discogan", recipe.state_dict(), info={"step": 30_000})
    return {file.stem.removeprefix("model_"): file for file in export_published(load_model(path), tmp_path / "published")}


@needs_golden
def test_imported_models_give_the_published_pictures(tmp_path: Path) -> None:
    """Whose channels come as BGR; and in use, by running statistics: so the networks are compared in training mode."""
    step = load_file(GOLDEN / "disco_step.safetensors")
    recorded = {short: GOLDEN / f"disco_model_{short}-0.pth" for short in NAMES}
    model = load_model(bring(tmp_path / "run", *recorded.values()))
    assert (model.config.conv_dim, model.config.bottleneck, model.config.discriminator_conv_dim) == (4, 0, 4)
    model.recipe.train()
    a, b = (2 * step[f"in.{d}"].flip(1) - 1 for d in "AB")  # As RGB, in our range.
    with torch.no_grad():
        for x, to, name in ((a, 1, "out.AB"), (b, 0, "out.BA")):
            y = model.recipe.translate(x, torch.full((2,), to))
            torch.testing.assert_close((y.flip(1) + 1) / 2, step[name], rtol=0, atol=1e-5)
        scores = model.recipe.discriminator_a(a)[0].sigmoid()
    torch.testing.assert_close(scores, step["D.A_dis_real"].flatten(), rtol=0, atol=5e-3)  # Kept in float16.
    for mine in export_published(model, tmp_path / "out"):
        weights, published = read_state_dict(mine), read_state_dict(recorded[mine.stem[6:11]])
        assert list(weights) == list(published)
        exact = mine.stem.startswith("model_gen")
        for key, t in published.items():
            torch.testing.assert_close(weights[key], t, rtol=0 if exact else 1e-3, atol=0 if exact else 1e-5)


@needs_golden
def test_a_pickled_module_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = Path(shutil.copy(GOLDEN / "pickled_model_gen_A-0", tmp_path / "model_gen_A-0"))
    with pytest.raises(ModelError, match=r"was not opened, because that may run code\. .*state_dict\(\), 'model_gen_A-0\.pth'"):
        bring(tmp_path / "run", path)
    assert not (tmp_path / "run").exists()


def test_opening_a_file_runs_nothing_in_it(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    (tmp_path / "model_gen_A-0").write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(ModelError, match="DiscoGAN's code saves whole modules"):
        bring(tmp_path / "run", tmp_path / "model_gen_A-0")
    assert not (tmp_path / "ran").exists()


def test_names_tell_networks_and_shapes_the_rest(tmp_path: Path, files: dict[str, Path]) -> None:
    assert files.keys() == {f"{short}-3" for short in NAMES}
    model = load_model(bring(tmp_path / "again", *files.values()))
    assert (model.config.conv_dim, model.config.bottleneck, model.config.discriminator_conv_dim) == (4, 5, 6)
    assert model.missing == () and model.picture.height == 64
    one_way = load(bring(tmp_path / "one", files["gen_B-3"]), "cpu", "float32")
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    assert one_way.labels == ("shoes",)
    both = load(tmp_path / "again", "cpu", "float32")
    assert torch.equal(one_way.translate(x, "shoes"), both.translate(x, "shoes"))
    with pytest.raises(LabelError, match="no network that translates to bags"):
        one_way.translate(x, "bags")


def test_other_files_are_refused_by_name(tmp_path: Path, files: dict[str, Path]) -> None:
    nameless = Path(shutil.copy(files["gen_A-3"], tmp_path / "shoes.pth"))
    swapped = Path(shutil.copy(files["dis_A-3"], tmp_path / "model_gen_A-1.pth"))
    weights = read_state_dict(files["gen_A-3"])
    torch.save({key: t for key, t in weights.items() if key != "main.3.weight"}, tmp_path / "model_gen_A-2.pth")
    for given, words in (
        ([files["dis_A-3"]], "there is no generator among the files"),
        ([files["gen_A-3"], swapped], "are both a gen_A"),
        ([nameless], "does not say by its name which network it is"),
        ([swapped], "begins with main.0.weight; this one has conv1.weight"),
        ([tmp_path / "model_gen_A-2.pth"], "lacks main.3.weight"),
    ):
        with pytest.raises(ModelError, match=words.replace(".", r"\.")):
            bring(tmp_path / "out", *given)
    with pytest.raises(ModelError, match="takes pictures of 64x64, not 128x128"):
        bring(tmp_path / "out", files["gen_A-3"], size=(128, 128))
    with pytest.raises(ModelError, match="name A and B in that order, not a, b, c"):
        bring(tmp_path / "out", files["gen_A-3"], space=LabelSpace.from_text("p:one_of:a,b,c"))
