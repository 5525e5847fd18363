"""Configuration: one checked path for presets, JSON, Python and the command line."""

from __future__ import annotations

import pytest

from asterism.config import ConfigError, DataConfig, TrainConfig, build, split_sections, to_dict
from asterism.recipes.settings import Settings


def test_text_becomes_the_declared_type():
    data = build(DataConfig, {"size": "64x96", "flip": "no", "channels": "1", "value_range": "0,4095", "workers": "none"})
    with pytest.raises(ConfigError, match="expected 2 values, such as 0,4095"):
        build(DataConfig, {"value_range": "4095"})
    assert (data.size, data.flip, data.channels, data.value_range, data.workers) == ((64, 96), False, 1, (0.0, 4095.0), None)
    assert build(DataConfig, {"size": "64"}).size == build(DataConfig, {"size": 64}).size == (64, 64)
    for nothing in (None, {}, "x"):
        with pytest.raises(ConfigError, match=r"data\.size is"):
            build(DataConfig, {"size": nothing}, where="data.")
    assert build(DataConfig, to_dict(data)) == data


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stepz": 5}, "train.stepz is not an option: did you mean train.steps"),
        ({"steps": "many"}, "train.steps is 'many'; expected a whole number"),
        ({"steps": 2.5}, "expected a whole number"),
        ({"steps": 0}, "train.steps is 0; expected at least 1"),
        ({"ema_ramp": 2}, "expected between 0 and 1"),
        ({"precision": "float16"}, "expected one of auto, bfloat16, float32, float64"),
        ({"ema_kimg": "nan"}, "expected a number"),
        ({"epochs": "inf"}, "expected a number"),
    ],
)
def test_bad_values_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        build(TrainConfig, values, where="train.")


def test_a_key_without_its_section_is_explained():
    with pytest.raises(ConfigError, match="did you mean train.steps"):
        split_sections({"steps": 5})


def test_later_layers_win():
    settings = Settings.resolve("stargan", ["a"], "small", {"train.steps": "77", "recipe.conv_dim": 8})
    assert settings.train.steps == 77 and settings.recipe.conv_dim == 8
    assert settings.data.size == (64, 64)  # From the preset.
    assert settings.recipe.penalty_weight == 10  # The paper's.


def test_published_presets_keep_the_papers_choices():
    published = Settings.resolve("stargan", ["a"], "published")
    assert published.recipe.penalty_patches == "sum" and published.train.ema_kimg == 0 and published.train.decay_steps == 0
    celeba = Settings.resolve("stargan", ["a"], "celeba")
    assert celeba.data.crop == 178 and celeba.data.size == (128, 128) and celeba.train.batch_size == 16
    assert (celeba.recipe.critic_steps, celeba.recipe.reconstruction_weight, celeba.recipe.class_weight) == (5, 10, 1)


def test_unknown_recipes_and_presets_name_the_closest():
    with pytest.raises(ConfigError, match="did you mean stargan"):
        Settings.resolve("stargann")
    with pytest.raises(ConfigError, match="did you mean celeba"):
        Settings.resolve("stargan", preset="celebaa")


def test_only_resumable_keys_may_change():
    old = Settings.resolve("stargan", ["a"], "small").to_json()
    same = Settings.resolve("stargan", ["b"], "small", {"train.steps": 9, "train.accumulate": 4, "data.workers": 2})
    assert same.changed_since(old) == []
    other = Settings.resolve("stargan", ["a"], "small", {"train.batch_size": 8, "recipe.conv_dim": 8})
    assert other.changed_since(old) == ["recipe.conv_dim: 32 -> 8", "train.batch_size: 16 -> 8"]
