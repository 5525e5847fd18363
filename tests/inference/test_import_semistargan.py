"""SemiStarGAN's published checkpoints, of TensorFlow, come in tensor by tensor and give the published pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asterism.inference.published.importing import import_published
from asterism.inference.published.layouts import export_published
from asterism.inference.published.tensorflow import read_checkpoint
from asterism.labels import LabelSpace
from asterism.recipes.model import load_model
from asterism.recipes.render import translate
from asterism.storage.model_file import ModelError

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "semistargan"
NAME = "stargan.model-72000"
SPACE = LabelSpace.from_text("hair:one_of:black,blond,brown")

pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded numbers are not beside this checkout")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """The published names."""
    for end in ("index", "data-00000-of-00001"):
        shutil.copy(GOLDEN / f"hair3_{NAME}.{end}", tmp_path / f"{NAME}.{end}")
    return tmp_path / f"{NAME}.index"


def test_the_published_pictures(tmp_path: Path, index: Path) -> None:
    model = load_model(import_published("semistargan", [index], space=SPACE, size=(64, 64), out=tmp_path / "run"))
    config = model.config
    assert (config.conv_dim, config.num_blocks, config.discriminator_conv_dim, config.deep) == (4, 6, 4, False)
    golden = load_file(GOLDEN / "hair3_step.safetensors")
    with torch.no_grad():
        x_fake = translate(model.recipe, golden["x_unlabelled"], golden["att_target"])
    torch.testing.assert_close(x_fake, golden["fake_unlabelled"], rtol=0, atol=1e-4)
    norm = model.recipe.discriminator.classes[1][0][1]
    stored = load_file(GOLDEN / "hair3_weights.safetensors")
    torch.testing.assert_close(norm.running_var, stored["disc/cbn3/moving_variance"], rtol=1e-3, atol=1e-4)  # Kept in float16.
    with pytest.raises(ModelError, match="asterism reads and does not write"):
        export_published(model, tmp_path / "out")


def test_every_tensor_is_as_recorded(index: Path) -> None:
    held, stored = read_checkpoint(index), load_file(GOLDEN / "hair3_weights.safetensors")
    assert stored.keys() <= held.keys() and all(torch.equal(held[name], tensor) for name, tensor in stored.items())


def test_what_does_not_fit_is_refused(tmp_path: Path, index: Path) -> None:
    two = LabelSpace.from_text("hair:one_of:black,blond")
    with pytest.raises(ModelError, match="knows 3 labels; 2 were given: black, blond"):
        import_published("semistargan", [index], space=two, size=(64, 64), out=tmp_path / "run")
    with pytest.raises(ModelError, match="contain neither labels nor size"):
        import_published("semistargan", [index], out=tmp_path / "run")
    other = index.with_name("other.index")
    with pytest.raises(ModelError, match="two checkpoints; give the files of one"):
        import_published("semistargan", [index, other], space=SPACE, size=(64, 64), out=tmp_path / "run")
    index.write_bytes(index.read_bytes()[:-20])
    with pytest.raises(ModelError, match="no whole checkpoint"):
        import_published("semistargan", [index], space=SPACE, size=(64, 64), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
