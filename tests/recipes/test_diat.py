"""DIAT: every term against its literal formula in float64, whose pictures are which, and what it refuses."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from asterism.config import ConfigError, DataConfig
from asterism.data.dataset import open_data
from asterism.data.listing import DataError
from asterism.data.loader import Loader
from asterism.inference.translator import Translator
from asterism.labels import LabelError, LabelGroup, LabelSpace
from asterism.recipes.model import Model, load_model, save_model
from tests.helpers.recipes import COUNT, SPACES, batch_of, tables, tiny


def built(**settings):
    recipe = tiny("diat", SPACES["table"], attribute="glasses", classifier_width=4, **settings).double()
    return recipe, batch_of(recipe)


def test_terms_are_the_literal_formulas() -> None:
    recipe, batch = built(mask_share=0.1)
    config, made = recipe.config, tables(recipe, batch)
    has = batch.labels[:, 2, None, None, None] > 0
    assert 0 < has.sum() < COUNT
    x_src, x_real = torch.where(has, batch.x_other, batch.x), torch.where(has, batch.x, batch.x_other)
    inner = recipe.generator.mask.main(x_src).sigmoid()
    kernel = torch.tensor([[torch.exp(torch.tensor(-(i * i + j * j) / 2.0)) for j in range(-2, 3)] for i in range(-2, 3)])
    smoothed = F.conv2d(F.pad(inner, (2, 2, 2, 2), mode="replicate"), (kernel / kernel.sum()).double()[None, None])
    m = F.interpolate(smoothed, scale_factor=4, mode="bilinear", align_corners=False)
    y = m * recipe.generator.transform(x_src, x_src[:, :0, 0, 0]) + (1 - m) * x_src
    score = lambda x: recipe.discriminator(x)  # noqa: E731
    between = (batch.alpha * x_real + (1 - batch.alpha) * y).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(score(between).mean(1).sum(), between)
    features = zip(recipe.classifier.stages(y), recipe.classifier.stages(x_src), strict=True)
    kept = sum(((f - g) ** 2).flatten(1).mean(1) for f, g in features) / 4
    expected = {
        "discriminator": {
            "real": (1, -score(x_real).mean(1)),
            "fake": (1, score(y).mean(1)),
            "penalty": (10, (gradient.flatten(1).norm(dim=1) - 1) ** 2),
        },
        "generator": {
            "fake": (1, -score(y).mean(1)),
            "identity": (10, kept),
            "smooth": (10, ((recipe.denoiser(y) - y) ** 2).flatten(1).mean(1)),
            "mask": (1, (m.mean((1, 2, 3)) - 0.1).clamp(min=0)),
        },
    }
    for update, terms in expected.items():
        assert made[update].keys() == terms.keys()
        for name, (weight, value) in terms.items():
            assert made[update][name][0] == weight == getattr(config, f"{name}_weight", 1), name
            torch.testing.assert_close(made[update][name][1], value, rtol=1e-6, atol=1e-9, msg=name)
    assert made["prepare"].keys() == {"denoise", "class"}


def test_the_first_version_has_no_mask() -> None:
    recipe, batch = built(mask=False)
    assert "mask" not in tables(recipe, batch)["generator"] and recipe.generator.mask is None


def test_a_picture_is_left_alone_where_the_code_does_not_name_the_attribute() -> None:
    recipe, batch = built()
    code = torch.eye(3).double()[[0, 2, 1, 2, 2, 0]]
    y = recipe.translate(batch.x, code)
    asked = code[:, 2] > 0
    assert torch.equal(y[~asked], batch.x[~asked]) and torch.equal(y[asked], recipe.generator(batch.x)[0][asked])
    assert (y != batch.x).flatten(1).any(1).equal(asked)


def test_a_trained_classifier_rests_with_its_running_statistics() -> None:
    recipe, _ = built()
    recipe.train()
    recipe.enter("prepare")
    assert recipe.classifier.training
    recipe.enter("translate")
    assert not recipe.classifier.training and recipe.generator.training


def faces(root: Path, column: str = "Smiling") -> DataConfig:
    rows = []
    for i in range(20):
        Image.new("RGB", (32, 32), (i, 0, 0)).save(root / f"{i}.png")
        rows.append(f"{i}.png,train,{i % 2},{'' if i == 19 else int(i % 5 == 0)}")
    (root / "manifest.csv").write_text("\n".join([f"file,split,Young,{column}", *rows]))
    return DataConfig(sources=(str(root),), size=(32, 32), workers=0)


def test_the_other_picture_has_the_other_value_of_the_attribute(tmp_path: Path) -> None:
    data = open_data(faces(tmp_path))
    recipe = tiny("diat", data.space, attribute="Smiling")
    loader = Loader(
        data.splits["train"], data.picture, faces(tmp_path), batch_size=4, seed=0, streams=recipe.streams, on_broken=print
    )
    assert len(loader.sets[0]) == 19, "without the picture whose value is unknown"
    for ((whole, _),) in itertools.islice(loader.iterate(0), 6):
        assert torch.equal(whole.labels_other[:, 1], 1 - whole.labels[:, 1])
    one = open_data(DataConfig(sources=(str(tmp_path),), size=(32, 32))).splits["train"][0]
    with pytest.raises(DataError, match="both with and without Smiling"):
        one.take([0, 5, 10]).of_one_domain("Smiling")


def test_it_gives_its_attribute_and_nothing_else(tmp_path: Path) -> None:
    recipe, _ = built()
    recipe.float().eval()
    translator = Translator(Model(recipe, "diat", recipe.space, recipe.picture, recipe.config, {}), "cpu")
    assert translator.labels == ("glasses",)
    assert translator.parse("glasses")
    with pytest.raises(LabelError, match="gives pictures glasses and cannot take it from them; it translates to glasses"):
        translator.parse("glasses=no")
    with pytest.raises(LabelError, match="no network that translates to fair; it translates to glasses"):
        translator.parse("fair")


def test_a_number_is_no_attribute() -> None:
    space = LabelSpace([LabelGroup("a", ("x",), "binary"), LabelGroup("a", ("AU12",), "number", (), 0, 5)])
    with pytest.raises(ConfigError, match="attribute AU12.*no number"):
        tiny("diat", space, attribute="AU12")


def vgg_file(path: Path) -> Path:
    torch.manual_seed(2)
    state = {}
    for number, (inputs, outputs) in {0: (3, 4), 2: (4, 4), 5: (4, 6), 7: (6, 6)}.items():
        state[f"features.{number}.weight"] = torch.randn(outputs, inputs, 3, 3)
        state[f"features.{number}.bias"] = torch.randn(outputs)
    torch.save(state | {"classifier.0.weight": torch.ones(2)}, path)
    return path


def test_a_network_in_a_file_keeps_the_person_and_stays_out_of_the_model(tmp_path: Path) -> None:
    recipe = tiny("diat", SPACES["table"], feature_network=str(vgg_file(tmp_path / "vgg.pth")))
    recipe.begin(new=True)
    assert "classifier" not in recipe.networks and not [key for key in recipe.state_dict() if key.startswith("vgg")]
    state = torch.load(tmp_path / "vgg.pth", weights_only=True)
    x = torch.randn(2, 3, 32, 32)
    h = x
    maps = []
    for number in (0, 2, 5, 7):
        if number == 5:
            h = F.max_pool2d(h, 2)
        h = F.relu(F.conv2d(h, state[f"features.{number}.weight"], state[f"features.{number}.bias"], padding=1))
        if number in (2, 7):
            maps.append(h)
    found = recipe.features(x)
    assert len(found) == 2 and all(torch.equal(a, b) for a, b in zip(found, maps, strict=True))
    assert torch.isfinite(tables(recipe, batch_of(recipe))["generator"]["identity"][1]).all()
    save_model(tmp_path / "m.safetensors", recipe, "diat", recipe.state_dict(), info={})
    (tmp_path / "vgg.pth").unlink()
    assert load_model(tmp_path / "m.safetensors").recipe.config == recipe.config, "use needs no such file"
    with pytest.raises(ConfigError, match=r"recipe.feature_network .*vgg.pth: .*No such file"):
        recipe.begin(new=False)
    torch.save({"head.weight": torch.ones(2)}, tmp_path / "vgg.pth")
    with pytest.raises(ConfigError, match="no features.0.weight"):
        recipe.begin(new=False)
