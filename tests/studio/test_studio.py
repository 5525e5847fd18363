"""The studio without a browser: what the controls ask for, what comes of it, and what the command refuses."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from asterism.cli import main
from asterism.config import ConfigError
from asterism.data.pictures import PictureError, encode, read
from asterism.inference.translator import Translator
from asterism.labels import LabelSpace
from asterism.recipes.model import save_model
from tests.helpers.negative import negative
from tests.helpers.pictures import coded, noise, opened
from tests.helpers.recipes import tiny
from tests.helpers.translators import GROUPS, translator
from tests.helpers.voices import loudness, save_voices, tone

pytest.importorskip("gradio", reason="the studio needs the extra: asterism[studio]")

import gradio as gr
from gradio.data_classes import ImageData

from asterism.runs.folder import Run
from asterism.studio import build
from asterism.studio.controls import AS_IT_IS, make_controls, picture_field, words
from asterism.studio.models import StudioModel, apart, load_models
from asterism.studio.page import _targets, refusals
from asterism.studio.voice_tab import translating


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the app keeps its files."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    (tmp_path / "gradio").mkdir()
    return tmp_path


def model(of: Translator | None = None) -> StudioModel:
    return StudioModel("m", of or translator(), Run("m", {}, (), {}, {}, (), {}))


def controls(groups: str, recipe: str = "stargan") -> Any:
    with gr.Blocks():
        return make_controls(model(translator(recipe, groups)))


def given(made: Any, **said: Any) -> dict[Any, Any]:
    """The values of the controls as they stand at first, but for those that are named by a label or an argument."""
    values = {component: component.value for component in made.components}
    for component, labels in [*made.sets, *made.switches, *((slider, [label]) for slider, label in made.numbers)]:
        values[component] = next((said[label] for label in labels if label in said), component.value)
    return values | {component: said[name] for name, component in made.looks.items() if name in said}


def close(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and int(np.abs(one.astype(int) - other.astype(int)).max()) <= 1


# -- controls ----------------------------------------------------------------------------------------------------------


def test_controls_follow_the_label_space() -> None:
    made = controls("faces:binary:Black_Hair,Blond_Hair,Glasses,Young;moods:one_of:happy,sad")
    assert [radio.label for radio, _ in made.sets] == ["Hair", "moods"] and made.switches[0][1] == ["Glasses", "Young"]
    own = {"Black_Hair": True, "Blond_Hair": False, "Glasses": False, "Young": True, "happy": True, "sad": False}
    both = ["Glasses", "Young"]
    assert made.target(given(made, Glasses=both), own) == {"Glasses": True}, "a box as it was asks for nothing"
    assert made.target(given(made, Black_Hair="Blond_Hair", Glasses=["Young"]), own) == {"Blond_Hair": True}
    assert made.target(given(made, happy="sad", Glasses=[]), own) == {"sad": True, "Young": False}
    assert made.target(given(made, Glasses=["Young"]), own) == {"Black_Hair": True, "Glasses": False, "Young": True}
    assert made.every_target(own) == [
        {"Black_Hair": True},
        {"Blond_Hair": True},
        {"happy": True},
        {"sad": True},
        {"Glasses": True},
        {"Young": False},
    ]
    several = controls("a:one_of:x,y;b:one_of:u,v")
    assert [radio.value for radio, _ in several.sets] == [AS_IT_IS, AS_IT_IS]
    with pytest.raises(ConfigError, match="choose"):
        several.target(given(several), {})


def test_numbers_have_sliders() -> None:
    made = controls("faces:binary:Glasses;faces:number:AU06,AU12")
    own = {"Glasses": False, "AU06": 0.2, "AU12": 0.75}
    assert made.target(given(made, AU06=0.2, AU12=0.3), own) == {"AU12": 0.3}, "a slider as it was asks for nothing"
    assert made.target(given(made, AU06=0.5), {}) == {"Glasses": False, "AU06": 0.5, "AU12": 0}, "nothing was read"
    assert made.every_target(own) == [{"Glasses": True}, {"AU06": 1}, {"AU12": 0}]
    assert words({"AU06": 0.5, "Black_Hair": True, "Glasses": False}) == "AU06 0.5, Black Hair, no Glasses"
    assert [said for _, said in _targets(made.model)] == ["Glasses", "Glasses=no", "AU06=1", "AU06=0", "AU12=1", "AU12=0"]


def test_the_labels_of_another_picture_can_be_asked_for() -> None:
    made = controls("faces:binary:Black_Hair,Blond_Hair,Glasses,Young;faces:number:AU06")
    other = {"Black_Hair": False, "Blond_Hair": True, "Glasses": True, "Young": False, "AU06": 0.5}
    values = dict(zip(made.asking, made.as_read(other), strict=True))
    assert list(values.values()) == ["Blond_Hair", ["Glasses"], 0.5]
    own = {"Black_Hair": True, "Blond_Hair": False, "Glasses": True, "Young": True, "AU06": 0.5}
    assert made.target(given(made) | values, own) == {"Blond_Hair": True, "Young": False}


def test_only_domains_are_offered_where_styles_belong_to_them() -> None:
    made = controls("faces:binary:Glasses,Black_Hair,Blond_Hair", "stargan_v2")
    assert [labels for _, labels in made.sets] == [["Black_Hair", "Blond_Hair"]] and not made.switches
    assert made.target(given(made), {}) == {"Black_Hair": True}


def test_styles_are_those_of_the_translator(tmp_path: Path) -> None:
    made, picture, reference = controls("data:one_of:cat,dog", "stargan_v2"), noise(), noise(32, 32, 7)
    dogs = made.model.translator
    (tmp_path / "like.png").write_bytes(coded(reference))
    like = {"kind": "reference picture", "like": str(tmp_path / "like.png")}
    cases = (
        ({"seed": 7}, dogs.style(seed=7)),
        ({"seed": 7, "truncation": 0.5}, dogs.style(seed=7, truncation=0.5)),
        ({"seed": 7, "strength": 0.5, "source": "cat"}, dogs.style(seed=7, strength=0.5, source="cat")),
        ({"kind": "mean of the domain"}, None),
        (like, dogs.style(like=reference)),
        ({**like, "weight": 0.25, "seed2": 9}, dogs.between(Image.fromarray(reference), 9, 0.25)),
    )
    for said, style in cases:
        (result,) = made.model.translate([picture], {"dog": True}, style=made.style(given(made, **said)))
        assert close(result, dogs.translate(picture, "dog", style=style)), said
    with pytest.raises(ConfigError, match="reference picture"):
        made.style(given(made, kind="reference picture"))


def test_the_strength_of_a_change_is_chosen() -> None:
    made = controls("faces:binary:Glasses,Smiling", "aster")
    assert made.how(given(made, strength=1.25)) == {"strength": 1.25}
    assert made.how(given(made)) == {"strength": 1} and "strength" not in controls(GROUPS, "stargan").looks


@pytest.mark.parametrize(
    ("recipe", "groups"), [("stargan", GROUPS), ("stargan", "f:number:AU06,AU12"), ("stargan_v2", "d:one_of:a,b")]
)
def test_everything_that_the_controls_offer_can_be_done(recipe: str, groups: str, tmp_path: Path) -> None:
    """For labels that exclude each other, two datasets, and styles."""
    made = controls(groups, recipe)
    (tmp_path / "me.png").write_bytes(coded(noise()))
    own = made.model.labels_of(str(tmp_path / "me.png")) if made.model.reads_labels else {}
    assert set(own) == (set(made.model.translator.labels) if recipe == "stargan" else set())
    for target in [made.target(given(made), own), *made.every_target(own)]:
        how = {"style": made.style(given(made)), "labels": own or None}
        (result,) = made.model.translate([noise()], target, **how)
        assert close(result, made.model.translator.translate(noise(), target, **how))


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_batch_keeps_every_result_and_names_what_it_leaves_out(folder: Path) -> None:
    one, told = model(), []
    pictures = {"a/me.png": noise(seed=1), "b/Me.png": noise(40, 24, seed=2), "c/you.jpg": None}
    for name, array in pictures.items():
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(coded(array) if array is not None else b"no picture")
    paths = [str(folder / name) for name in pictures]
    file, samples, left_out = one.batch(paths, ["Glasses", "Glasses=no"], ".png", progress=told.append)
    assert [name for name, _ in left_out] == ["you.jpg"] and "not a readable picture" in left_out[0][1] and told == [3]
    archive = zipfile.ZipFile(file)
    names = {"me__Glasses.png", "me__no-Glasses.png", "Me-2__Glasses.png", "Me-2__no-Glasses.png"}
    assert set(archive.namelist()) == names and len(samples) == 4
    result = opened(archive.read("Me-2__no-Glasses.png"))
    assert close(result, one.translator.translate(pictures["b/Me.png"], "Glasses=no"))
    with pytest.raises(PictureError, match="no picture could be used; you.jpg"):
        one.batch(paths[2:], ["Glasses"], ".png")


def test_results_hold_the_models_depth_unless_a_smaller_format_is_asked_for(folder: Path) -> None:
    """12-bit values in 16-bit files: all of them are kept; 8-bit files are made for looking at, over the value range."""
    one = model(negative(channels=3, depth=16, high=4095))
    (folder / "me.tif").write_bytes(encode(np.full((16, 16, 3), 3000, np.uint16), ".tif"))
    (folder / "shallow.png").write_bytes(coded(noise()))
    assert one.open(str(folder / "me.tif")).max() == 3000
    with pytest.raises(PictureError, match="8 bits"):
        one.open(str(folder / "shallow.png"))
    expected = one.translator.translate(np.full((16, 16, 3), 3000, np.uint16), "Male")
    for suffix, value in ((".tif", expected[0, 0, 0]), (".png", round(expected[0, 0, 0] / 4095 * 255))):
        file, _, _ = one.batch([str(folder / "me.tif")], ["Male"], suffix)
        (name,) = zipfile.ZipFile(file).namelist()
        (folder / name).write_bytes(zipfile.ZipFile(file).read(name))
        assert read(folder / name).max() == value, suffix
    saved = one.saved(expected, "me", {"Male": True})
    assert saved.name == "me__Male.tif" and np.array_equal(read(saved), expected)


def test_pictures_that_pillow_cannot_open_pass_the_page(folder: Path) -> None:
    """Five channels; and what is no picture, so that the model's own words say so."""
    one, field = model(negative(channels=5)), picture_field(label="Picture")
    bands = np.arange(16 * 16 * 5, dtype=np.uint8).reshape(16, 16, 5)
    for name, content in (("bands.tif", encode(bands, ".tif")), ("me.png", b"<svg/>")):
        (folder / name).write_bytes(content)
        assert field.preprocess(ImageData(path=str(folder / name))) == str(folder / name)
    assert np.array_equal(one.open(str(folder / "bands.tif")), bands) and field.preprocess(None) is None
    with pytest.raises(PictureError, match="it is not a readable picture"):
        one.open(str(folder / "me.png"))


def test_the_change_is_what_the_model_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what resampling to the model's size blurs: where the model returns its input, nothing has changed."""
    one, picture = model(negative()), noise(40, 24)
    monkeypatch.setattr(one.translator.recipe, "translate", lambda x, told, **_: x)
    for fit in ("letterbox", "crop"):
        (same,) = one.translate([picture], "Male", fit=fit)
        change = one.change(picture, same, fit)
        assert change.shape == (24, 40) and np.abs(change).max() < 1 / 255 < np.abs(same / 255 - picture / 255).max()
    grey = np.full((16, 16, 3), 100, np.uint8)
    assert np.allclose(one.change(grey, grey + 51, "letterbox"), 0.2, atol=1e-6)


def test_names_never_meet() -> None:
    assert apart(["a", "a", "a-2", "A", "b"]) == ["a", "a-2", "a-2-2", "A-3", "b"]


# -- models and page ---------------------------------------------------------------------------------------------------


def save(path: Path, recipe: str = "stargan", groups: str = GROUPS, **info: Any) -> Path:
    made = tiny(recipe, LabelSpace.from_text(groups))
    save_model(path, made, recipe, made.state_dict(), info={"step": 1, **info})
    return path


def test_models_of_one_name_are_told_apart(tmp_path: Path) -> None:
    paths = [save(tmp_path / name) for name in ("a/faces/model.safetensors", "b/faces/model.safetensors", "other.safetensors")]
    made = load_models([paths[0].parent, paths[1], paths[2]], "cpu", "float32")
    assert [one.name for one in made] == ["faces", "faces-2", "other.safetensors"]
    assert made[2].run.model["recipe"] == "stargan"


def test_what_makes_no_pictures_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judge = save(tmp_path / "judge" / "model.safetensors", "classifier")
    assert main(["studio", str(judge)]) == 1
    assert "makes no pictures: the studio has nothing to show" in capsys.readouterr().err


def test_a_models_own_words_load_nothing(tmp_path: Path) -> None:
    """Names and licence in a model file are anybody's; on the page they are text."""
    groups = "<b>faces</b>:binary:<img src=//evil.example>,y"
    path = save(tmp_path / "model.safetensors", groups=groups, licence="![x](http://evil.example/x.png)")
    app = build([path], "cpu", "float32")
    shown = [block.value or "" for block in app.blocks.values() if isinstance(block, gr.Markdown)]
    card = next(text for text in shown if "Licence" in text)
    assert app.analytics_enabled is False
    assert "evil.example" in card and "<" not in card and "![" not in card


def test_refusals_are_said_on_the_page() -> None:
    with pytest.raises(gr.Error, match="The &lt;picture&gt; is cut short"), refusals():
        raise PictureError("the <picture> is cut short")


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--host", "0.0.0.0"],
            "asterism: 0.0.0.0 can be reached from other machines, so a login is needed: --login NAME:PASSWORD",
        ),
        (["--login", "secret"], "asterism: the login lacks its name or its password; expected --login NAME:PASSWORD"),
        (["--login", "secret:"], "asterism: the login lacks its name or its password; expected --login NAME:PASSWORD"),
        (["--host", "127.0.0.1"], "asterism: there is no model 'nowhere': give a run folder"),
    ],
)
def test_what_cannot_be_served_is_refused_in_a_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ASTERISM_LOGIN", raising=False)
    assert main(["studio", "nowhere", *words]) == 1
    told = capsys.readouterr().err
    assert told.startswith(said) and len(told.strip().splitlines()) == 1 and "secret" not in told


# -- voices ------------------------------------------------------------------------------------------------------------


def test_a_recording_is_translated_and_the_clips_of_an_evaluation_are_played(folder: Path) -> None:
    """The tab gives what `Voices` gives, as a file of the source's rate and length; only models of voices have it."""
    run = save_voices(folder / "run")
    clip, kept = tone(220, 0.8, 22_050), run / "evaluation"
    kept.mkdir()
    Image.new("L", (64, 80)).save(kept / "recording1.png")
    soundfile.write(kept / "recording1-source.wav", clip, 22_050)
    sound = {"name": "source", "file": "evaluation/recording1-source.wav"}
    case = {
        "title": "recordings",
        "file": "evaluation/recording1.png",
        "columns": ["source"],
        "caption": "a",
        "sounds": [sound],
    }
    record = {"split": "test", "step": 1, "rows": [], "cases": [case]}
    (run / "scores.json").write_text(json.dumps({"format": 2, "protocols": {"voice": record}}))
    page = build([run], "cpu", "float32")
    tabs = [block.label for block in page.blocks.values() if isinstance(block, gr.Tab)]
    players = {block.label: block for block in page.blocks.values() if isinstance(block, gr.Audio)}
    assert tabs == ["Voice", "Model"] and [*players] == ["Recording", "Source", "Result", "source"]
    (speaker,) = (block for block in page.blocks.values() if isinstance(block, gr.Radio))
    assert [value for _, value in speaker.choices] == ["anna", "bob"]
    (of_voices,) = load_models([run], "cpu", "float32")
    voices = of_voices.voices
    assert voices is not None
    voices.vocode = loudness
    soundfile.write(folder / "me.flac", np.stack([clip, clip], 1), 22_050)
    source, result, drawn, made, said = translating(of_voices)(str(folder / "me.flac"), "bob")
    samples, rate = soundfile.read(result, dtype="float32")
    assert (Path(result).name, rate, source) == ("me__bob.wav", 22_050, str(folder / "me.flac"))
    np.testing.assert_allclose(samples, voices.translate(soundfile.read(source)[0], rate, "bob"), atol=2**-14)
    assert drawn.size == made.size and np.asarray(drawn).std() > 1 and "2 channels, mixed down to one" in said
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    for path, reason in ((None, "Add a recording first"), (str(folder / "silent.wav"), "It is silent")):
        with pytest.raises(gr.Error, match=reason):
            translating(of_voices)(path, "bob")
