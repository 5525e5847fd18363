"""RelGAN's published files come in, Keras' as plain arrays, give the published pictures, and go out as the port's."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asterism.data.pictures import PictureFormat
from asterism.inference.published.hdf5 import read_arrays
from asterism.inference.published.importing import import_published
from asterism.inference.published.layouts import export_published, remarks
from asterism.inference.translator import load
from asterism.labels import LabelSpace
from asterism.recipes.model import load_model, save_model
from asterism.recipes.relgan import Config, RelGAN
from asterism.storage.model_file import ModelError

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "relgan"
PORT, KERAS = GOLDEN / "celeba5_weights.1999.pth", (GOLDEN / "keras5_generator519.h5", GOLDEN / "keras5_discriminator.h5")
SPACE = LabelSpace.from_text("A,B,C,D,E")
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded RelGAN numbers are not in the repository")


def bring(out: Path, *files: Path, space: LabelSpace | None = SPACE, size: tuple[int, int] | None = (64, 64)) -> Path:
    return import_published("relgan", files, space=space, size=size, out=out)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of the port, as our own export writes it."""
    torch.manual_seed(0)
    config = Config(conv_dim=2, num_blocks=1, discriminator_widths=(4, 5), interpolation_channels=3, port=True)
    recipe = RelGAN(config, SPACE, PictureFormat(3, 64, 64))
    path = tmp_path / "run" / "model.safetensors"
    save_model(path, recipe, "relgan", recipe.state_dict(), info={"step": 1999})
    (written,) = export_published(load_model(path), tmp_path / "published")
    assert written.name == "weights.1999.pth"
    return written


@needs_golden
def test_the_ports_file_gives_its_pictures_and_goes_out_as_it_was(tmp_path: Path):
    golden, path = load_file(GOLDEN / "celeba5_step.safetensors"), bring(tmp_path / "run", PORT)
    model = load_model(path)
    assert (model.config.port, model.config.discriminator_widths) == (True, (8, 16, 24, 32, 40))
    assert model.missing == ("classifier",) and "state a picture's labels" in remarks(model)[0]
    translator = load(path, "cpu", "float32")
    names = SPACE.names
    for n in range(3):
        own, wanted = ({name: bool(v) for name, v in zip(names, golden[key][n], strict=True)} for key in ("att_a", "att_b"))
        y = translator.translate(golden["img_a"][n], wanted, labels=own)
        torch.testing.assert_close(y, golden["eval.x_fake"][n], rtol=0, atol=1e-4)
    (again,) = export_published(model, tmp_path / "out")
    mine, theirs = (torch.load(p, weights_only=True) for p in (again, PORT))
    for letter, tolerance in (("G", 0.0), ("D", 1e-3)):  # D is kept in float16.
        assert list(mine[letter]) == list(theirs[letter])
        for key, tensor in theirs[letter].items():
            torch.testing.assert_close(mine[letter][key], tensor, rtol=tolerance, atol=tolerance / 100)


@needs_golden
def test_keras_own_files_are_read_as_arrays_and_give_their_pictures(tmp_path: Path):
    golden, held = load_file(GOLDEN / "keras5_step.safetensors"), load_file(GOLDEN / "keras5_weights.safetensors")
    for path, letter in zip(KERAS, "GD", strict=True):
        arrays = {"/".join(key.split(":")[0].split("/")[-2:]): t for key, t in read_arrays(path).items()}
        assert arrays.keys() == {key[2:] for key in held if key.startswith(f"{letter}.")}
        assert all(torch.equal(t, held[f"{letter}.{key}"]) for key, t in arrays.items())
    path = bring(tmp_path / "run", *KERAS, size=(128, 128))
    model = load_model(path)
    assert (model.config.port, model.config.batch_statistics, model.config.num_blocks) == (False, False, 6)
    assert model.config.discriminator_widths == (4, 6, 8, 10, 12, 16) and model.info["licence"] == "CC BY-NC 4.0"
    x = golden["img_a_small"].repeat_interleave(4, 2).repeat_interleave(4, 3)
    with torch.no_grad():
        torch.testing.assert_close(model.recipe.translate(x, golden["v_ab"]), golden["x_fake"], rtol=0, atol=1e-4)
        h = model.recipe.discriminator.features(x)
        scores = model.recipe.discriminator.match(h, model.recipe.discriminator.features(golden["x_fake"]), golden["v_ab"])
    torch.testing.assert_close(scores, golden["d_match.fake"].flatten(1), rtol=0, atol=5e-3)  # Kept in float16.
    assert load_model(bring(tmp_path / "alone", KERAS[0], size=None)).picture.height == 256


@needs_golden
def test_damaged_keras_files_are_refused_whatever_is_wrong_with_them(tmp_path: Path):
    """Cut off, or with any byte of the structure turned over: an error or the same kind of arrays, never a hang."""
    whole = KERAS[1].read_bytes()
    path = tmp_path / "broken.h5"
    for content in (b"", whole[:7], b"x" * 100, whole[:500], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"broken\.h5 is (not an HDF5 file|damaged, or not as Keras writes it)"):
            read_arrays(path)
    rng = torch.Generator().manual_seed(0)
    for place in torch.randint(9, 6000, (150,), generator=rng).tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            assert all(isinstance(t, torch.Tensor) for t in read_arrays(path).values())
        except ModelError as error:
            assert "broken.h5" in str(error)
    tree = whole.index(b"TREE")
    circle = bytearray(whole)
    circle[tree + 32 : tree + 40] = struct.pack("<Q", tree)
    path.write_bytes(circle)
    with pytest.raises(ModelError, match="belongs to two objects"):
        read_arrays(path)


def test_a_file_that_the_port_trained_has_its_sign_turned(tmp_path: Path, file: Path):
    """Its optimiser's weight decay shows it: the port trained with source minus target."""
    held = torch.load(file, weights_only=True)
    trained = tmp_path / "weights.5.pth"
    torch.save(held | {"optimG": {"state": {}, "param_groups": [{"weight_decay": 1.25e-10}]}}, trained)
    straight, turned = load_model(bring(tmp_path / "a", file)).recipe, load_model(bring(tmp_path / "b", trained)).recipe
    x, v = torch.rand(2, 3, 64, 64) * 2 - 1, torch.tensor([[1.0, -1, 0, 0, 0.5], [0, 0, 1, 0, 0]])
    with torch.no_grad():
        torch.testing.assert_close(turned.translate(x, v), straight.translate(x, -v))
        assert not torch.allclose(turned.translate(x, v), straight.translate(x, v), atol=1e-4)
        h = straight.discriminator.features(x)
        torch.testing.assert_close(turned.discriminator.match(h, h, v), straight.discriminator.match(h, h, -v))


def test_other_files_are_refused_by_name(tmp_path: Path, file: Path):
    plain = tmp_path / "plain.pth"
    torch.save({"conv1.weight": torch.ones(1)}, plain)
    torch.save({"G": {"a.weight": torch.ones(1)}}, tmp_path / "other.pth")
    shutil.copy(file, tmp_path / "copy.pth")
    for given, words in (
        ([plain], "plain.pth is no file of RelGAN's port, which holds G, D, optimG and optimD; this one has conv1.weight"),
        ([tmp_path / "other.pth"], "conv_out.0.weight is missing or not a kernel"),
        ([file, tmp_path / "copy.pth"], "both hold a generator"),
    ):
        with pytest.raises(ModelError, match=words.replace(".", r"\.")):
            bring(tmp_path / "out", *given)
    with pytest.raises(ModelError, match="reads 5 labels; 2 were given: A, B"):
        bring(tmp_path / "out", file, space=LabelSpace.from_text("A,B"))
    with pytest.raises(ModelError, match="do not name their labels"):
        bring(tmp_path / "out", file, space=None)
