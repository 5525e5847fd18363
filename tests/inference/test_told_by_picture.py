"""A picture that another one is to be like: the model reads its labels, which are the target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import asterism
from asterism.cli import main
from asterism.inference.told_by_picture import labels_in
from asterism.inference.translator import Translator
from asterism.labels import LabelError
from asterism.storage.model_file import DEMO, ModelError
from tests.helpers.translators import translator

DRAWINGS = DEMO.with_name("drawings")


@pytest.fixture(scope="module")
def model() -> Translator:
    return asterism.load("demo", device="cpu", precision="float32")


def test_a_picture_gets_the_labels_of_another(model: Translator, tmp_path: Path) -> None:
    reference, source = DRAWINGS / "brown_eyeglasses_smiling.jpg", DRAWINGS / "red.jpg"
    read = labels_in(model, reference)
    assert read["Brown_Hair"] and read["Eyeglasses"] and not read["Mustache"]
    like = np.asarray(model.translate(source, like=reference))
    np.testing.assert_array_equal(like, np.asarray(model.translate(source, to=read)))
    command = ["translate", "demo", str(source), "--like", str(reference), "--out", str(tmp_path), "--precision", "float32"]
    assert main([*command, "--device", "cpu"]) == 0
    with Image.open(tmp_path / "red__like-brown_eyeglasses_smiling.png") as written:
        np.testing.assert_array_equal(np.asarray(written), like)


def test_what_cannot_be_alike_is_one_sentence(model: Translator) -> None:
    source = DRAWINGS / "red.jpg"
    with pytest.raises(LabelError, match="give a target, to, or a picture to be like; the model knows Black_Hair"):
        model.translate(source)
    with pytest.raises(ModelError, match="like goes without a target: that picture's labels are taken"):
        model.translate(source, to="Blond_Hair", like=source)
    with pytest.raises(ModelError, match="stargan_v2 takes the style of a reference for a domain: say which, such as"):
        translator("stargan_v2").translate(source, like=source)
    with pytest.raises(ModelError, match="stargan has no class head to predict"):
        without_judge = translator("stargan")
        object.__setattr__(without_judge.model, "missing", ("discriminator",))
        without_judge.translate(source, like=source)
