"""StarGAN-VC's checkpoints come in key by key, give the published conversion, and go out again as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asterism.inference.published.importing import import_published
from asterism.inference.published.layouts import export_published
from asterism.inference.translator import Translator
from asterism.labels import LabelSpace
from asterism.recipes.model import load_model
from asterism.storage.model_file import ModelError

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "stargan_vc"

pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded StarGAN-VC numbers are not beside this checkout")


@pytest.mark.parametrize("case", ["wgan", "lsgan_src"])
def test_imported_models_give_the_published_conversion(case: str, tmp_path: Path) -> None:
    """As features [F, T] of any number of frames; of a told source its speaker is stated."""
    step = load_file(GOLDEN / f"{case}_step.safetensors")
    files = [GOLDEN / f"{case}_0.{short}.ckpt" for short in ("dis", "gen")]
    model = load_model(import_published("stargan_vc", files, out=tmp_path / "run"))
    assert (model.picture.depth, model.picture.height, model.info["step"]) == (32, step["infer.x"].shape[1], 0)
    translator = Translator(model, "cpu", "float32")
    names = model.space.names
    made = translator.translate(step["infer.x"][0].numpy(), names[-1], labels=names[0], fit="full")
    torch.testing.assert_close(torch.from_numpy(made), step["infer.y"][0], rtol=0, atol=1e-4)
    for path, published in zip(export_published(model, tmp_path / "out"), reversed(files), strict=True):
        mine, theirs = (torch.load(file, weights_only=True)["model_state_dict"] for file in (path, published))
        assert list(mine) == list(theirs)
        exact = 0 if "gen" in path.name else 2**-11  # A model file keeps the discriminator in float16.
        for key, tensor in mine.items():
            torch.testing.assert_close(tensor, theirs[key], rtol=exact, atol=1e-6 if exact else 0)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    generator, discriminator = (GOLDEN / f"wgan_0.{short}.ckpt" for short in ("gen", "dis"))
    (tmp_path / "again").mkdir()
    torch.save({"model_state_dict": {"conv.weight": torch.zeros(1)}}, tmp_path / "other.pt")
    for files, options, message in (
        ([discriminator], {}, "there is no generator among the files"),
        ([generator, GOLDEN / "lsgan_src_0.gen.ckpt"], {}, "are both a generator"),
        ([tmp_path / "other.pt"], {}, "is no StarGAN-VC file"),
        ([generator], {"space": LabelSpace.from_text("voices:one_of:a,b")}, "knows 3 speakers, and these are 2"),
        ([generator], {"size": (64, 128)}, "takes features of 80 rows, not 64"),
    ):
        with pytest.raises(ModelError, match=message):
            import_published("stargan_vc", files, out=tmp_path / "no", **options)
