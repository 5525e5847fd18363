"""STGAN's and AttGAN's published checkpoints come in, TensorFlow's without TensorFlow, and give the published pictures."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asterism import load
from asterism.cli import main
from asterism.inference.published.importing import import_published
from asterism.inference.published.layouts import export_published
from asterism.inference.published.tensorflow import read_checkpoint
from asterism.labels import LabelError, LabelSpace
from asterism.recipes.model import load_model
from asterism.recipes.render import translate, whole_target
from asterism.storage.model_file import ModelError

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
CHECKPOINT = "Epoch_(199)_(947of947).ckpt"
STGAN = GOLDEN / "stgan" / f"official5_{CHECKPOINT}.index"
ATTGAN = GOLDEN / "attgan" / f"official6_{CHECKPOINT}.index"
WEIGHTS, FULL = GOLDEN / "attgan" / "celeba_weights.199.pth", GOLDEN / "attgan" / "celeba_full.0.pth"
FIVE = LabelSpace.from_text("Bald,Bangs,Male,Pale_Skin,Young", "celeba")
SIX = LabelSpace.from_text("a,b,c,d,e,f")

pytestmark = pytest.mark.skipif(not STGAN.exists(), reason="the recorded numbers are not beside this checkout")


@pytest.mark.parametrize(
    ("name", "stem", "file", "space"), [("stgan", "official5", STGAN, FIVE), ("attgan", "official6", ATTGAN, SIX)]
)
def test_checkpoints_of_tensorflow_give_the_published_pictures(name, stem, file, space, tmp_path: Path) -> None:
    tensors, stored = read_checkpoint(file), load_file(GOLDEN / name / f"{stem}_weights.safetensors")
    assert all(torch.equal(tensors[key], t) for key, t in stored.items())
    files = [file, file.with_name(file.stem + ".data-00000-of-00001")]
    model = load_model(import_published(name, files, space=space, out=tmp_path / "run"))
    golden = load_file(GOLDEN / name / f"{stem}_step.safetensors")
    target = whole_target(space, golden["att_b"], torch.zeros(3, dtype=torch.long))
    with torch.no_grad():
        made = translate(model.recipe, golden["x_real"], model.recipe.condition(target, golden["att_a"]))
        read = model.recipe.classify(golden["x_real"])
    torch.testing.assert_close(made, golden["eval.x_fake"], rtol=0, atol=1e-3)  # In float32, with variances near zero.
    torch.testing.assert_close(read, golden["d_real_att"], rtol=0, atol=2e-2)  # The discriminator is kept in float16.
    assert model.config.penalty_gradient == "published"


def test_a_checkpoint_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    index, data = (Path(shutil.copy(p, tmp_path / f"a.{p.name.rpartition('.')[2]}")) for p in (STGAN, STGAN))
    with pytest.raises(ModelError, match="there is no file .*a.data-00000-of-00001; a checkpoint is NAME.index"):
        read_checkpoint(index)
    content = STGAN.with_name(STGAN.stem + ".data-00000-of-00001").read_bytes()
    (tmp_path / "a.data-00000-of-00001").write_bytes(content[:-9])
    with pytest.raises(ModelError, match="is no whole checkpoint of TensorFlow .* is not whole"):
        read_checkpoint(index)
    whole = STGAN.read_bytes()
    for broken in (b"", whole[:100], whole[:-8] + bytes(8), whole[40:], bytes(200) + whole[-48:]):
        index.write_bytes(broken)
        with pytest.raises(ModelError, match="is no whole checkpoint of TensorFlow"):
            read_checkpoint(index)


def test_attgans_file_comes_in_gives_the_published_pictures_and_goes_out_as_it_came(tmp_path: Path, capsys) -> None:
    arguments = ["--labels", ",".join(FIVE.names), "--out", str(tmp_path / "run")]
    assert main(["import", "attgan", str(FULL), *arguments]) == 0
    path = tmp_path / "run" / "model.safetensors"
    model = load_model(path)
    assert (model.config.constants, model.config.conv_dim, model.config.num_skips, model.config.num_injections) == (
        "pytorch",
        3,
        1,
        1,
    )
    golden = load_file(GOLDEN / "attgan" / "celeba_step.safetensors")
    target = whole_target(FIVE, golden["att_b"], torch.zeros(4, dtype=torch.long))
    with torch.no_grad():
        made = translate(model.recipe, golden["x_real"], model.recipe.condition(target))
    torch.testing.assert_close(made, golden["eval.x_fake"], rtol=0, atol=1e-4)
    (written,) = export_published(model, tmp_path / "out")
    theirs, mine = (torch.load(file, weights_only=True) for file in (FULL, written))
    assert list(mine) == ["G", "D"]
    for letter, tolerance in (("G", 0.0), ("D", 1e-3)):
        assert list(mine[letter]) == list(theirs[letter])
        for key, t in theirs[letter].items():
            torch.testing.assert_close(mine[letter][key], t, rtol=tolerance, atol=tolerance / 100)


def test_a_generator_alone_is_told_the_labels_of_the_pictures_and_slides_from_them(tmp_path: Path) -> None:
    import_published("attgan", [WEIGHTS], space=FIVE, size=(64, 64), out=tmp_path / "run")
    model = load(tmp_path / "run")
    x, rest = torch.rand(3, 64, 64) * 2 - 1, {"Bald": False, "Bangs": False, "Pale_Skin": False, "Young": True}
    full = model.translate(
        x, to="Male", labels=rest
    )  # At full strength the own value of what the target names is not asked for.
    with pytest.raises(LabelError, match="cannot predict the source's Male"):
        model.translate(x, to="Male", labels=rest, strength=0.5)
    own = rest | {"Male": False}
    steps = [model.translate(x, to="Male", labels=own, strength=s) for s in (0, 0.5, 1, 1.5)]
    same = model.translate(x, to="Male=no", labels=rest)
    torch.testing.assert_close(steps[0], same)
    torch.testing.assert_close(steps[2], full)
    distances = [float((step - same).abs().mean()) for step in steps]
    assert distances == sorted(distances) and distances[1] > 0


def test_other_files_are_refused_with_what_to_do(tmp_path: Path) -> None:
    held = torch.load(WEIGHTS, weights_only=True)
    torch.save(held | {"args": argparse.Namespace(img_size=64)}, tmp_path / "args.pth")
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    for name, files, given, words in (
        (
            "stgan",
            [GOLDEN / "stgan" / "port5_G_20000.pth.tar"],
            {"space": FIVE},
            "PyTorch port, .* another network than the paper's",
        ),
        ("stgan", [ATTGAN], {"space": SIX}, "no selective transfer units: import it as attgan"),
        ("attgan", [STGAN], {"space": FIVE}, "has selective transfer units: import it as stgan"),
        ("attgan", [WEIGHTS], {"space": FIVE}, "does not tell the size of the pictures: give it, --image-size 128"),
        ("attgan", [WEIGHTS], {"size": (64, 64)}, "is told 5 labels; its file does not name them"),
        ("attgan", [WEIGHTS], {"space": SIX, "size": (64, 64)}, "is told 5 labels; 6 were given"),
        ("stgan", [STGAN], {"space": FIVE, "size": (128, 128)}, "was not built for that size; its last maps have 4 pixels"),
        ("attgan", [WEIGHTS, FULL], {"space": FIVE}, "an AttGAN is one .pth file"),
        ("attgan", [tmp_path / "other.pth"], {"space": FIVE}, "holds no generator of AttGAN"),
        ("attgan", [tmp_path / "args.pth"], {"space": FIVE}, "It was not opened, .*torch.save\\({'G'"),
    ):
        with pytest.raises(ModelError, match=words):
            import_published(name, files, out=tmp_path / "run", **given)
    model = load_model(import_published("attgan", [ATTGAN], space=SIX, out=tmp_path / "six"))
    with pytest.raises(ModelError, match="other slopes and epsilons than this model"):
        export_published(model, tmp_path / "out")
