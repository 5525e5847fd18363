"""The translator: any picture in, the same kind out, and labels that nobody names stay as they are.

Most tests use `negative`, a model whose pictures can be foretold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import asterism
from asterism.config import ConfigError
from asterism.data.pictures import PictureError, PictureFormat, write
from asterism.labels import LabelError, LabelSpace
from asterism.machine import Machine
from asterism.recipes.model import save_model
from asterism.recipes.stargan import Config, StarGAN
from asterism.storage.model_file import ModelError
from tests.helpers.negative import FACES, MOODS, asked, inverted, negative


def face(*logits: float) -> Tensor:
    """Return a float picture in which the model reads these logits."""
    x = torch.zeros(3, 16, 16)
    x[:, 0, : len(logits)] = torch.tensor(logits)
    return x


# -- labels ------------------------------------------------------------------------------------------------------------


def test_labels_not_named_keep_what_the_class_head_sees() -> None:
    translator = negative()
    pictures = [face(0.9, 0.1, 0.5, -0.5), face(-0.9, -0.2, -0.5, 0.5), face(-0.3, -0.2, 0.5, 0.5)]
    translator.translate(pictures, "Male=no")
    # Of the two hair colours the likelier one holds, even if neither is likely.
    assert asked(translator) == [[1, 0, 0, 0], [0, 1, 0, 1], [0, 1, 0, 1]]
    translator.translate(pictures, {"Black_Hair": True})
    assert asked(translator) == [[1, 0, 1, 0], [1, 0, 0, 1], [1, 0, 1, 1]]


def test_stated_labels_win_over_predicted_ones() -> None:
    translator = negative()
    pictures = [face(0.9, 0.1, 0.5, 0.5)] * 3
    translator.translate(pictures, "Young=no", labels={"Male": False})
    assert asked(translator) == [[1, 0, 0, 0]] * 3
    translator.translate(pictures, "Young=no", labels=["Blond_Hair", {"Black_Hair": -1, "Male": 0}, None])
    assert asked(translator) == [[0, 1, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0]]
    translator.translate(pictures, "Young=no", labels="Black_Hair=no,Blond_Hair=no")  # Red, say.
    assert asked(translator) == [[0, 0, 1, 0]] * 3


def test_the_class_head_rests_where_nothing_is_unknown() -> None:
    translator = negative(FACES, MOODS)
    translator.translate(face(), "happy")
    translator.translate(face(), "Blond_Hair,Male,Young=no")
    translator.translate(face(), "Blond_Hair,Male", labels="Young")
    assert translator.recipe.classified == 0
    assert asked(translator) == [[0, 1, 1, 1, 0, 0]]


def test_two_datasets_are_two_passes_in_the_order_named() -> None:
    translator = negative(FACES, MOODS)
    x = face(-0.5, 0.5, 0.5, 0.5)
    translator.translate(x, "sad,Black_Hair")
    (_, moods), (between, faces) = translator.recipe.asked
    assert moods.tolist() == [[0, 0, 0, 0, 0, 1] + [0, 1]]
    assert faces.tolist() == [[1, 0, 1, 1, 0, 0] + [1, 0]], "Male and Young are those of the source, not of the first result"
    torch.testing.assert_close(between[0], (-1.5 * x).clamp(-1, 1), msg="the second pass goes on from the first result")


def test_without_a_class_head_the_missing_labels_are_named() -> None:
    translator = negative(missing=("discriminator",))
    with pytest.raises(LabelError, match="source's Male, Young: name them"):
        translator.translate(face(), "Blond_Hair")
    with pytest.raises(LabelError, match="source's Young: name"):
        translator.translate(face(), "Blond_Hair", labels={"Male": True})
    translator.translate(face(), "Blond_Hair", labels={"Male": True, "Young": False})
    assert asked(translator) == [[0, 1, 1, 0]] and translator.recipe.classified == 0


@pytest.mark.parametrize(
    ("to", "options", "words"),
    [
        ("Blonde", {}, "Blond_Hair"),
        (["Male", "Young"], {}, "one after another"),
        ("Male", {"labels": {"Beard": True}}, "Beard"),
        ("Male", {"labels": {"Young": "perhaps"}}, "yes or no"),
        ("Male", {"labels": "Black_Hair,Blond_Hair"}, "exclude each other"),
        ("Male", {"labels": [{"Young": True}, None]}, "2 entries for 1 pictures"),
    ],
)
def test_wrong_words_are_explained(to: Any, options: dict, words: str) -> None:
    with pytest.raises(LabelError, match=words):
        negative().translate(face(), to, **options)


def test_styles_are_for_recipes_that_have_them() -> None:
    for option in ({"style": 7}, {"like": "husky.jpg"}):
        with pytest.raises(ModelError, match="negative has no styles"):
            negative().translate(face(), "Male", **option)


# -- kinds of pictures -------------------------------------------------------------------------------------------------


PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def test_paths_and_pil_images_give_pil_images(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    for image in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(PIXELS)):
        result = negative().translate(image, "Male")
        assert isinstance(result, Image.Image) and result.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(result), inverted(PIXELS))


def test_files_are_converted_to_the_models_channels() -> None:
    grey = Image.fromarray(PIXELS[:, :, 0])
    assert negative().translate(grey, "Male").mode == "RGB"
    assert negative(channels=1).translate(Image.fromarray(PIXELS), "Male").mode == "L"
    glass = Image.new("RGBA", (16, 16), (9, 9, 9, 0))
    made = negative().translate(glass, "Male").getpixel((3, 3))
    assert made == (0, 0, 0, 0), "transparent is white, and white turns black, as transparent as before"


def test_uint8_arrays_and_tensors_keep_their_form() -> None:
    translator = negative()
    for stored in (PIXELS, np.stack([PIXELS, 255 - PIXELS])):
        result = translator.translate(stored, "Male")
        assert isinstance(result, np.ndarray) and result.dtype == np.uint8
        np.testing.assert_array_equal(result, inverted(stored))
        as_tensor = translator.translate(torch.from_numpy(stored), "Male")
        assert as_tensor.dtype == torch.uint8 and torch.equal(as_tensor, torch.from_numpy(result))
    assert negative(channels=1).translate(PIXELS[:, :, 0], "Male").shape == (16, 16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_float_tensors_and_arrays_keep_their_form(dtype: torch.dtype) -> None:
    x = (torch.rand(2, 3, 16, 16) * 2 - 1).to(dtype).requires_grad_()
    wanted = (-1.5 * x.detach().float()).clamp(-1, 1).to(dtype)
    for given, result in ((x, wanted), (x[0], wanted[0])):
        assert torch.equal(negative().translate(given, "Male"), result)
        array = negative().translate(given.detach().numpy(), "Male")
        assert isinstance(array, np.ndarray) and torch.equal(torch.from_numpy(array), result)


def test_lists_may_mix_kinds_and_sizes_and_batches_do_not_show() -> None:
    pictures = [PIXELS, Image.fromarray(PIXELS), face(0.5), np.zeros((40, 20, 3), np.uint8), np.stack([PIXELS] * 2)]
    results = negative().translate(pictures, "Male", batch_size=2)
    assert [type(r) for r in results] == [np.ndarray, Image.Image, Tensor, np.ndarray, np.ndarray]
    assert [np.asarray(r).shape for r in results] == [(16, 16, 3), (16, 16, 3), (3, 16, 16), (40, 20, 3), (2, 16, 16, 3)]
    for one, among in zip(pictures, results, strict=True):
        np.testing.assert_array_equal(np.asarray(negative().translate(one, "Male")), np.asarray(among))
    assert negative().translate([], "Male") == []


def test_16_bit_values_are_not_narrowed(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16, 1)
    write(tmp_path / "grey.png", grey)
    result = negative(channels=1, depth=16).translate(tmp_path / "grey.png", "Male")
    assert result.mode == "I;16"
    wanted = (np.clip(-1.5 * (grey[:, :, 0] / 32767.5 - 1), -1, 1) + 1) * 32767.5
    assert np.abs(np.asarray(result).astype(float) - wanted).max() < 1.0 and len(np.unique(result)) > 150
    colour = np.repeat(grey, 3, axis=2)
    write(tmp_path / "colour.tif", colour)
    for image in (colour, tmp_path / "colour.tif"):
        result = negative(depth=16).translate(image, "Male")
        assert isinstance(result, np.ndarray) and result.dtype == np.uint16 and result.shape == (16, 16, 3)
    assert negative().translate(colour, "Male").dtype == np.uint16, "an 8-bit model gives back what came"


def test_many_channels_come_back_as_arrays(tmp_path: Path) -> None:
    bands = np.random.default_rng(1).integers(0, 256, (20, 30, 5), dtype=np.uint8)
    write(tmp_path / "bands.npy", bands)
    result = negative(channels=5).translate(tmp_path / "bands.npy", "Male")
    assert isinstance(result, np.ndarray) and result.shape == bands.shape


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((16, 16, 4), np.uint8), r"\[H, W, 3\] for this model; this one is \[16, 16, 4\]"),
        (np.zeros((16, 16, 3)), r"\[3, H, W\] for this model; this one is \[16, 16, 3\]"),
        (torch.full((3, 16, 16), 200.0), "scale it, or give uint8"),
        (torch.full((3, 16, 16), torch.nan), r"lie in \[-1, 1\]"),
        (np.zeros((16, 16, 3), np.int64), "ndarray of int64"),
        (7, "cannot take int"),
        ("nowhere.png", "nowhere.png: there is no such file"),
        (".", "is a folder"),
    ],
)
def test_what_is_no_picture_is_explained(image: Any, words: str) -> None:
    with pytest.raises(PictureError, match=words):
        negative().translate(image, "Male")


# -- sizes -------------------------------------------------------------------------------------------------------------


def smooth(height: int, width: int) -> Tensor:
    """Return a float picture [3, height, width] that survives resizing: a gradient in a different direction per channel."""
    rows, columns = torch.linspace(-0.6, 0.6, height)[:, None], torch.linspace(-0.6, 0.6, width)[None, :]
    return torch.stack([rows.expand(height, width), columns.expand(height, width), (rows + columns) / 2])


@pytest.mark.parametrize("size", [(64, 64), (64, 48), (40, 90), (17, 33), (8, 8), (1, 50)])
def test_letterboxed_pictures_come_back_whole_at_their_size(size: tuple[int, int]) -> None:
    translator, x = negative(size=(32, 48)), smooth(*size)
    result = translator.translate(x, "Male")
    assert translator.recipe.asked[0][0].shape == (1, 3, 32, 48)
    assert result.shape == x.shape
    assert (result + 1.5 * x).abs().max() < 0.12


def test_cropped_pictures_change_where_the_model_saw_them() -> None:
    translator = negative(size=(32, 32), crop=40)
    x = smooth(60, 80)
    result = translator.translate(x, "Male", fit="crop")
    inside = torch.zeros(60, 80, dtype=torch.bool)
    inside[10:50, 20:60] = True
    assert torch.equal(result[:, ~inside], x[:, ~inside])
    assert (result + 1.5 * x)[:, inside].abs().max() < 0.12


def test_pictures_of_the_models_size_meet_no_resampling() -> None:
    x = torch.rand(3, 16, 16) * 2 - 1
    for fit in ("letterbox", "crop"):
        translator = negative(crop=12)
        translator.translate(x, "Male", fit=fit)
        assert torch.equal(translator.recipe.asked[0][0][0], x)


def test_other_words_for_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="letterbox, crop"):
        negative().translate(face(), "Male", fit="stretch")


# -- a whole model -----------------------------------------------------------------------------------------------------


def test_a_saved_model_loads_and_translates(tmp_path: Path) -> None:
    space, picture = LabelSpace([FACES, MOODS]), PictureFormat(3, 32, 48)
    torch.manual_seed(0)
    recipe = StarGAN(Config(conv_dim=8, num_blocks=1, discriminator_conv_dim=8, discriminator_layers=3), space, picture)
    save_model(tmp_path / "model.safetensors", recipe, "stargan", recipe.state_dict(), info={})
    model = asterism.load(tmp_path, device="cpu", precision="float64")
    assert isinstance(model, asterism.Translator) and model.labels == space.names
    x = (torch.rand(3, 3, 32, 48) * 2 - 1).double()
    results = {to: model.translate(x, to) for to in ("happy", "sad", "Male")}
    code = torch.tensor([[0, 0, 0, 0, 1, 0, 0, 1]]).float().expand(3, -1)
    with torch.no_grad():
        torch.testing.assert_close(results["happy"], recipe.double().generator(x, code))
    assert (results["happy"] - results["sad"]).abs().max() > 1e-4
    x = x.float()
    for precision, near in (("float32", 1e-4), ("bfloat16", 0.1)):  # Eight such models were off by 3e-6 and 0.03.
        rounded = asterism.load(tmp_path, device="cpu", precision=precision).translate(x, "happy")
        assert rounded.dtype == torch.float32 and 0 < (rounded - results["happy"]).abs().max() < near


@pytest.mark.parametrize("fast", [True, False])
def test_bfloat16_is_chosen_where_the_hardware_multiplies_it(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asterism.machine._multiplies_bfloat16", lambda device: fast)
    chosen = Machine.choose("cpu")
    assert chosen.dtype == (torch.bfloat16 if fast else torch.float32) and chosen.full_dtype == torch.float32
    assert f"this cpu {'multiplies' if fast else 'does not multiply'} bfloat16" in chosen.reason


def test_precision_and_device_are_checked_and_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Machine.choose("cpu", "float32").reason == "cpu, float32 (asked for)"
    assert Machine.choose("cpu", "float64").full_dtype == torch.float64
    with pytest.raises(ConfigError, match="here: auto"):
        Machine.choose("cuda" if not torch.cuda.is_available() else "tpu")
    with pytest.raises(ConfigError, match="auto, bfloat16, float32, float64"):
        Machine.choose("cpu", "float16")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(ConfigError, match="mps does not compute in float64; give device cpu"):
        Machine.choose("mps", "float64")
