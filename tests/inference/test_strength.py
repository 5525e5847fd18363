"""Strength: of a target and of each of its labels, in every recipe that is told one, and refused by every other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from asterism.config import ConfigError
from asterism.inference.folder import translate_folder
from asterism.inference.grid import draw_grid
from asterism.inference.interpolation import interpolate_files
from asterism.inference.target_words import read_target
from asterism.inference.translator import Translator
from asterism.labels import LabelError, LabelGroup, LabelSpace
from asterism.recipes import RECIPES
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError
from tests.helpers.recipes import SIZE, some_space, tiny
from tests.helpers.translators import translator

SPACE = LabelSpace.from_text("faces:binary:Black_Hair,Blond_Hair,Glasses;moods:one_of:happy,sad")
X = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
OWN = {"Black_Hair": True, "Glasses": False, "happy": True}


def every(name: str) -> Translator:
    recipe = tiny(name, some_space(name, "table")).eval().requires_grad_(False)
    return Translator(Model(recipe, name, recipe.space, recipe.picture, recipe.config, {}), "cpu", "float32")


TRANSLATORS = {name: made for name in sorted(RECIPES) if (made := every(name)).recipe.abilities.translates}
TOLD = [name for name, made in TRANSLATORS.items() if made.recipe.abilities.by_strength]


def told(model: Translator, to: str | dict, **how) -> list[list[float]]:
    """Return what the generator's passes are told, and leave the model as it was."""
    seen: list[list[float]] = []
    hook = model.recipe.generator.register_forward_pre_hook(lambda _, given: seen.append(given[1][0].tolist()))
    model.translate(X, to, labels=OWN, **how)
    hook.remove()
    return seen


def test_a_target_reads_strengths_beside_values():
    (edit,) = read_target(SPACE, "Glasses=0.5,Blond_Hair=1")
    assert (edit.values, edit.strengths, edit.name) == ({2: True, 1: True}, {2: 0.5}, "Glasses=0.5+Blond_Hair")
    assert read_target(SPACE, {"Glasses": 0.5})[0].strengths == {2: 0.5}
    assert [read_target(SPACE, f"Glasses={word}")[0].values for word in ("0", "no", "1")] == [{2: False}, {2: False}, {2: True}]
    numbers = LabelSpace([LabelGroup("a", ("Male",), "binary"), LabelGroup("a", ("AU12",), "number", low=0, high=2)])
    assert read_target(numbers, "AU12=0.5,Male=0.5")[0].strengths == {0: 0.5}, "a number is given its value"
    for words in ("Male=much", "Male=nan"):
        with pytest.raises(LabelError, match="expected yes or no"):
            read_target(numbers, words)


def test_each_label_of_relgan_has_its_own_strength():
    model = translator("relgan")
    assert told(model, "Glasses=0.5,Blond_Hair") == [[-1, 1, 0.5, 0, 0]]
    with pytest.warns(UserWarning, match="beyond 0 to 1"):
        assert told(model, "Glasses,Blond_Hair=0.25", strength=2.0) == [[-0.5, 0.5, 2, 0, 0]]
    with pytest.warns(UserWarning, match="beyond 0 to 1"):
        passes = told(model, "Glasses,sad=-0.5")
    assert passes == [[0, 0, 1, 0, 0], [0, 0, 0, 0.5, -0.5]], "a pass for each dataset"
    assert told(model, "Glasses=no") == [[0, 0, 0, 0, 0]], "it has none"


def test_labels_of_aster_with_different_strengths_are_passes():
    model = translator("aster")
    whole, half = model.translate(X, "Glasses"), model.translate(X, "Glasses=0.5")
    inside = whole.abs() < 1
    torch.testing.assert_close((half - X)[inside], ((whole - X) / 2)[inside], rtol=1e-4, atol=1e-5)
    in_turn = model.translate(half, "Blond_Hair,happy")
    torch.testing.assert_close(model.translate(X, "Glasses=0.5,Blond_Hair,happy"), in_turn, rtol=0, atol=1e-6)


def test_recipes_that_are_told_a_strength_make_of_0_the_same_of_every_target():
    assert {"aster", "relgan"} <= set(TOLD)
    for name in TOLD:
        model, own = TRANSLATORS[name], {"dark": True, "glasses": False}
        first, *others = (model.translate(X, to, labels=own, strength=0) for to in ("fair", "glasses", "dark"))
        assert all(torch.equal(first, other) for other in others), name
        assert not torch.equal(first, model.translate(X, "fair,glasses", labels=own))


@pytest.mark.parametrize("name", sorted(TRANSLATORS))
def test_every_recipe_takes_the_same_words_or_says_in_a_sentence_what_it_cannot(name):
    model = TRANSLATORS[name]
    can, target, side = model.recipe.abilities, model.labels[-1], model.model.picture.height
    x = torch.rand(3, side, side) * 2 - 1
    picture = Image.new("RGB", (side, side), "red")
    model.translate(x, target)
    if can.by_strength:
        model.translate(x, target, strength=0.5)
        model.translate(x, {target: 0.5})
        with pytest.warns(UserWarning, match="strength 1.5 is beyond 0 to 1, which was learnt"):
            model.translate(x, target, strength=1.5)
        with pytest.warns(UserWarning, match=r"strength -0.5 is beyond 0 to 1"):
            model.translate(x, {target: -0.5})
    else:
        if can.reads_style:
            model.translate(x, target, strength=0.5)
        else:
            with pytest.raises(ModelError, match=f"recipe {name} has .*strength"):
                model.translate(x, target, strength=0.5)
        with pytest.raises(LabelError, match=f"{target}=0.5: recipe {name} is told whether a label holds, and no strength"):
            model.translate(x, {target: 0.5})
        with pytest.raises(ModelError, match="no strength: leave out the strengths"):
            model.check_strengths([0.5])
    for word, given, able in (("style", 3, can.style), ("like", picture, can.reads_style)):
        if able:
            model.translate(x, target, **{word: given})
        else:
            with pytest.raises(ModelError, match=f"recipe {name} has .*{word}"):
                model.translate(x, target, **{word: given})


def test_a_grid_has_a_column_for_each_strength_and_an_interpolation_a_frame(tmp_path: Path):
    model = translator("aster")
    Image.new("RGB", (SIZE, SIZE), (200, 120, 40)).save(tmp_path / "me.png")
    out = tmp_path / "grid.png"
    said = draw_grid(model, [tmp_path / "me.png"], out, to=["Glasses"], strengths=[0, 0.5, 1.5], side=32)
    assert "strength 1.5 is beyond 0 to 1" in str(said)
    drawn = Image.open(out).convert("RGB")
    width = drawn.width // 4
    cells = [drawn.crop((i * width, drawn.height - width, (i + 1) * width, drawn.height)) for i in range(4)]
    assert cells[0].tobytes() == cells[1].tobytes() != cells[2].tobytes() != cells[3].tobytes()
    frames = interpolate_files(
        model, [tmp_path / "me.png"], "Glasses", [], tmp_path / "way", kind="gif", strengths=[0, 0.25, 0.5, 0.75, 1]
    )
    assert [path.name for path in frames.written] == ["me__Glasses-strengths.gif"]
    with Image.open(frames.written[0]) as gif:
        assert gif.n_frames == 5
    for refuse in (draw_grid, interpolate_files):
        given = {"to": ["Glasses"]} if refuse is draw_grid else {"to": "Glasses", "looks": []}
        with pytest.raises(ModelError, match="recipe stargan is told what to change and no strength"):
            refuse(translator("stargan"), [tmp_path / "me.png"], out=tmp_path / "no.png", strengths=[0.5], **given)
    with pytest.raises(ConfigError, match="two or more styles"):
        interpolate_files(model, [tmp_path / "me.png"], "Glasses", [], tmp_path / "none")


def test_a_folder_is_translated_by_a_strength_with_a_warning_beyond_what_was_learnt(tmp_path: Path):
    model = translator("aster")
    Image.new("RGB", (SIZE, SIZE), (200, 120, 40)).save(tmp_path / "me.png")
    said = translate_folder(model, [tmp_path / "me.png"], ["Glasses=0.5"], tmp_path / "out")
    assert [path.name for path in said.written] == ["me__Glasses=0.5.png"] and "beyond" not in str(said)
    said = translate_folder(model, [tmp_path / "me.png"], ["Glasses=-0.5"], tmp_path / "out")
    assert "strength -0.5 is beyond 0 to 1, which was learnt: look at the result" in str(said)


def test_a_difference_needs_the_labels_that_it_changes_and_no_others():
    model = translator("relgan")
    lacking = Translator(Model(model.recipe, "relgan", SPACE, model.model.picture, model.model.config, {}, ("classifier",)))
    lacking.translate(X, "Glasses", labels="Glasses=no")
    with pytest.raises(LabelError, match=r"cannot predict the source's Glasses: give the source's .*such as Glasses=no"):
        lacking.translate(X, "Glasses", labels="Black_Hair")
    with pytest.raises(LabelError, match="cannot predict the source's Black_Hair, Blond_Hair"):
        lacking.translate(X, "Blond_Hair")
