"""The model file rebuilds a model with nothing else at hand, or says why not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from asterism.config import to_dict
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.model import load_model, save_model
from asterism.recipes.stargan import Config, StarGAN
from asterism.storage.model_file import ModelError, find_model
from asterism.terminal import in_words
from tests.helpers.model_files import rewrite

SPACE = LabelSpace(
    [
        LabelGroup("faces", ("Black_Hair", "Blond_Hair", "Male"), "binary", (("Black_Hair", "Blond_Hair"),)),
        LabelGroup("moods", ("happy", "sad"), "one_of"),
    ]
)
PICTURE = PictureFormat(channels=1, height=16, width=32, low=100.0, high=900.0, depth=16, crop=24)
CONFIG = Config(conv_dim=4, num_blocks=1, discriminator_conv_dim=4, discriminator_layers=3, class_weight=2.5)


def make() -> StarGAN:
    torch.manual_seed(0)
    return StarGAN(CONFIG, SPACE, PICTURE)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    recipe = make()
    save_model(tmp_path / "model.safetensors", recipe, "stargan", recipe.state_dict(), info={"step": 7, "licence": "CC0"})
    return tmp_path / "model.safetensors"


def test_a_model_comes_back_from_its_file_alone(saved: Path) -> None:
    recipe = make()
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    model = load_model(saved)
    assert torch.equal(torch.random.get_rng_state(), before), "loading disturbed the caller's random numbers"
    assert (model.name, model.space, model.picture, model.config, model.missing) == ("stargan", SPACE, PICTURE, CONFIG, ())
    assert model.info["step"] == 7 and model.info["licence"] == "CC0" and model.info["version"]
    for key, weight in recipe.generator.state_dict().items():
        assert torch.equal(model.recipe.generator.state_dict()[key], weight)
    for key, weight in recipe.discriminator.state_dict().items():
        loaded = model.recipe.discriminator.state_dict()[key]
        assert loaded.dtype == torch.float32
        torch.testing.assert_close(loaded, weight, rtol=1e-3, atol=1e-6)
    assert not model.recipe.training and not any(p.requires_grad for p in model.recipe.parameters())


def test_only_what_makes_pictures_takes_full_precision(saved: Path) -> None:
    for key, tensor in load_file(saved).items():
        assert tensor.dtype == (torch.float32 if key.startswith("generator.") else torch.float16), key


def test_the_given_weights_are_saved_not_the_recipes_own(tmp_path: Path) -> None:
    averages = {key: torch.full_like(t, 0.25) for key, t in make().state_dict().items()}
    save_model(tmp_path / "m.safetensors", make(), "stargan", averages, info={})
    assert all((t == 0.25).all() for t in load_model(tmp_path / "m.safetensors").recipe.state_dict().values())


def test_a_generator_may_come_alone(tmp_path: Path) -> None:
    recipe = make()
    weights = {key: t for key, t in recipe.state_dict().items() if key.startswith("generator.")}
    save_model(tmp_path / "m.safetensors", recipe, "stargan", weights, info={})
    assert load_model(tmp_path / "m.safetensors").missing == ("discriminator",)


def test_incomplete_weights_are_not_saved(tmp_path: Path) -> None:
    recipe = make()
    for prefix, word in (
        ("generator.main.0.", "generator.main.0.weight"),
        ("generator.", "generator"),
        ("discriminator.main", "main"),
    ):
        weights = {key: t for key, t in recipe.state_dict().items() if not key.startswith(prefix)}
        with pytest.raises(ModelError, match=word):
            save_model(tmp_path / "m.safetensors", recipe, "stargan", weights, info={})
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_older_file_and_nothing_else(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    recipe = make()
    with pytest.raises(OSError, match="No space left") as told:
        save_model(saved, recipe, "stargan", recipe.state_dict(), info={"step": 8})
    assert str(in_words(told.value)).startswith(f"{saved}: No space left on device; free some space")
    assert saved.read_bytes() == before and list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 99}, "format 99.*upgrade"),
        ({"recipe": "fixed_star"}, "fixed_star"),
        ({"config": to_dict(CONFIG) | {"conv_dim": 8}}, r"generator\..* is \[.*; expected \["),
        ({"config": {"wings": 2}}, "wings"),
        ({"networks": ["generator"]}, "discriminator"),
        ({"labels": [{"dataset": "d", "labels": ["A"], "kind": "binary", "exclusive": []}]}, r"weight is \[.*; expected \["),
    ],
)
def test_a_file_that_does_not_fit_is_refused(saved: Path, changes: dict[str, object], words: str) -> None:
    rewrite(saved, **changes)
    with pytest.raises(ModelError, match=words) as error:
        load_model(saved)
    assert str(saved) in str(error.value)


def test_damaged_and_foreign_files_are_refused(saved: Path) -> None:
    content = saved.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"<html>not found</html>"):
        saved.write_bytes(damaged)
        with pytest.raises(ModelError, match="damaged"):
            load_model(saved)
    save_file({"weight": torch.zeros(1)}, saved)
    with pytest.raises(ModelError, match="asterism import"):
        load_model(saved)


def test_a_model_is_found_by_file_and_by_run(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_model(saved) == saved and find_model(str(saved.parent)) == saved
    monkeypatch.chdir(tmp_path.parent)
    assert find_model(tmp_path.name).samefile(saved)


def test_a_model_that_is_not_there_is_explained(tmp_path: Path) -> None:
    (tmp_path / "young").mkdir()
    (tmp_path / "young" / "config.json").write_text("{}")
    (tmp_path / "photos").mkdir()
    (tmp_path / "200000-G.ckpt").write_bytes(b"")
    for name, words in (
        ("young", "first checkpoint"),
        ("photos", "no run"),
        ("200000-G.ckpt", "asterism import"),
        ("nothing", "owner/name"),
        ("lost.safetensors", "there is no model"),
    ):
        with pytest.raises(ModelError, match=words):
            find_model(tmp_path / name)


def test_a_hub_name_is_asked_for_only_when_nothing_is_here(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(name: str, file: str) -> str:
        asked.append((name, file))
        if name == "someone/lost":
            raise OSError("404\nmore lines")
        return str(saved)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.chdir(saved.parent.parent)
    local = f"{saved.parent.name}/model"
    (saved.parent / "model").mkdir()
    (saved.parent / "model" / "model.safetensors").write_bytes(saved.read_bytes())
    find_model(local)
    assert asked == []
    assert find_model("someone/faces") == saved and asked == [("someone/faces", "model.safetensors")]
    with pytest.raises(ModelError, match="no folder 'someone/lost' is here.*404$"):
        find_model("someone/lost")
    asked.clear()
    with pytest.raises(ModelError, match="there is no model"):
        find_model(f"{saved.parent.name}/modle")  # A slip in a local name.
    assert asked == []
