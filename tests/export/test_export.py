"""Exported files: they do what the translator does, at any size that they promise, and say how to be used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import asterism
from asterism.cli import main
from asterism.config import ConfigError
from asterism.data.batch import Batch
from asterism.export import archive, job, parity
from asterism.export.graphs import graphs_of, traced
from asterism.export.samples import find_samples, make_pictures
from asterism.recipes import RECIPES
from asterism.recipes.model import Model, load_model, save_model
from asterism.storage.model_file import ModelError
from tests.helpers.recipes import SIZE, SPACES, some_space, tiny

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra export is not installed")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model file of every recipe, over two datasets where it takes them, untrained."""
    root = tmp_path_factory.mktemp("models")
    for name in RECIPES:
        recipe = tiny(name, some_space(name, "joint"))
        # Where batch norms have seen nothing yet, weights so small make pictures of one grey; but not of residual networks,
        # nor where rates are equalised.
        if recipe.coupled and name not in ("wgan_gp", "progan"):
            with torch.no_grad():
                for parameter in (p for network in recipe.averaged for p in recipe.networks[network].parameters()):
                    parameter.mul_((3 if recipe.abilities.translates else 8) if parameter.ndim == 4 else 1)
        save_model(root / name / "model.safetensors", recipe, name, recipe.state_dict(), info={"licence": "CC0-1.0", "step": 3})
    return {name: root / name / "model.safetensors" for name in RECIPES}


class Exports(dict[str, job.Exported]):
    """Every recipe's model as ONNX in float32, made when it is first asked for: all of them take minutes."""

    def __init__(self, models: dict[str, Path], root: Path) -> None:
        super().__init__()
        self.models, self.root = models, root

    def __missing__(self, name: str) -> job.Exported:
        self[name] = job.export(self.models[name], out=self.root / name / "faces.onnx")
        return self[name]


@pytest.fixture(scope="module")
def exported(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, job.Exported]:
    """The exports, as they are needed."""
    return Exports(models, tmp_path_factory.mktemp("exported"))


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def facts(opened: onnxruntime.InferenceSession) -> dict:
    return {key: json.loads(text) for key, text in opened.get_modelmeta().custom_metadata_map.items()}


GENERATING = ("dcgan", "infogan", "lapgan", "progan", "wgan", "wgan_gp")
"""Recipes that translate nothing."""


@pytest.mark.parametrize("name", sorted(RECIPES.keys() - set(GENERATING)))
def test_an_onnx_file_translates_as_the_translator_does(
    name: str, models: dict[str, Path], exported: dict[str, job.Exported]
) -> None:
    assert max(d.largest for d in exported[name].differences.values()) < 1e-4
    opened = session(exported[name].files["translator"])
    told, model = facts(opened), load_model(models[name])
    assert told["recipe"] == name and told["licence"] == "CC0-1.0" and told["labels"] == model.space.to_json()
    assert told["picture"]["height"] == model.picture.height and told["normalization"]["tensor"] == [-1, 1]

    # Another batch and, where they are free, other sides than those that were traced.
    x = make_pictures(3, model.picture, seed=5)
    if model.recipe.abilities.side_multiple:
        axis = 3 if model.recipe.abilities.fixed_height else 2
        x = torch.cat([x, x], axis).narrow(axis, 0, SIZE + 16)
    if model.recipe.abilities.style:
        how, own = "style", torch.randn(3, len(told["mean_styles"][0]), generator=torch.Generator().manual_seed(0))
        arguments: dict = {"told": torch.tensor([0, 1, 1]), "s": own}
    elif model.recipe.abilities.told == "change":
        asked = torch.eye(model.space.num_labels)[:3]
        how, own = "change", model.recipe.condition(Batch(labels=asked, known=asked, dataset=torch.zeros(3).long()))
        arguments = {"told": own}
    elif model.recipe.abilities.told == "difference":
        how, own = "difference", torch.eye(model.space.num_labels)[:3] / 2
        arguments = {"told": own}
    elif model.recipe.abilities.told == "domain":
        how, own = "domain", torch.tensor([0, 1, 1])
        arguments = {"told": own}
    else:
        how, own = "code", torch.eye(model.space.code_size)[:3]
        own[:, len(model.space.names)] = 1  # The first dataset's mask bit.
        arguments = {"told": own}
        assert told["code"] == ["dark", "fair", "glasses", "red", "green", "blue", "mask:faces", "mask:discs"]
    with torch.no_grad():
        expected = model.recipe.translate(x, **arguments).clamp(-1, 1)
    given = {"image": x, how: own, "domain": arguments["told"]}  # Beside a style that is noise the domain is told.
    (y,) = opened.run(None, {put.name: given[put.name].numpy() for put in opened.get_inputs()})
    np.testing.assert_allclose(y, expected, atol=1e-4)
    assert float(expected.std()) > 0.01, "a flat result would not tell a difference"


def test_an_older_opset_is_written_and_translates_alike(models: dict[str, Path], tmp_path: Path) -> None:
    import onnx

    done = job.export(models["stargan"], out=tmp_path / "old.onnx", opset=18)
    held = {entry.domain: entry.version for entry in onnx.load(done.files["translator"]).opset_import}
    assert held[""] == 18 and max(d.largest for d in done.differences.values()) < 1e-4
    with pytest.raises(ModelError, match="pt2 has none: leave out --opset"):
        job.export(models["stargan"], "pt2", out=tmp_path / "x.pt2", opset=18)


@pytest.mark.parametrize("name", GENERATING)
def test_an_onnx_file_generates_as_the_model_does(
    name: str, models: dict[str, Path], exported: dict[str, job.Exported]
) -> None:
    assert exported[name].files.keys() == {"generator"} and exported[name].differences["generator"].largest < 1e-4
    assert exported[name].origin == "the pictures of 24 latents"
    opened, model = session(exported[name].files["generator"]), asterism.load(models[name], "cpu", "float32")
    told = facts(opened)
    assert told["graph"] == "generator" and list(told["inputs"]) == ["latent"] and "code" not in told
    length = model.recipe.abilities.latent
    assert [code["name"] for code in told.get("codes", [])] == [code.name for code in model.recipe.abilities.codes]
    z = torch.cat([torch.randn(1, length, generator=torch.Generator().manual_seed(seed)) for seed in (3, 5, 8)])
    (y,) = opened.run(None, {"latent": z.numpy()})
    assert y.shape == (3, 3, SIZE, SIZE) and y.std() > 0.001
    for made, picture in zip(y, model.generate(seeds=(3, 5, 8)), strict=True):  # A seed's picture, through the file alone.
        np.testing.assert_allclose((made + 1) * 127.5, np.asarray(picture).transpose(2, 0, 1), atol=0.51)


def test_what_has_no_convolutions_is_not_made_int8(models: dict[str, Path], shapes_dir: Path, tmp_path: Path) -> None:
    """And no pictures are taken that nothing would be done with."""
    with pytest.raises(ModelError, match="this model has none .transposed ones do not count.: take --precision float16"):
        job.export(models["dcgan"], precision="int8", out=tmp_path / "faces.onnx")
    with pytest.raises(ModelError, match="takes no pictures, so none can be compared or calibrated on: leave out --data"):
        job.export(models["dcgan"], data=[str(shapes_dir)], out=tmp_path / "faces.onnx")
    assert not list(tmp_path.iterdir())
    half = job.export(models["dcgan"], format="pt2", precision="float16", out=tmp_path / "faces.pt2")
    assert half.differences["generator"].largest <= 2e-2
    z = torch.zeros(5, 4)
    assert torch.export.load(tmp_path / "faces.pt2").module()(z).shape == (5, 3, SIZE, SIZE)


def test_the_graphs_beside_it_give_labels_and_styles(models: dict[str, Path], exported: dict[str, job.Exported]) -> None:
    a, b = (exported[name].files["translator"].parent for name in ("stargan", "stargan_v2"))
    assert sorted(path.name for path in a.iterdir()) == ["faces.classifier.onnx", "faces.onnx"]
    assert sorted(path.name for path in b.iterdir()) == ["faces.mapping.onnx", "faces.onnx", "faces.style_encoder.onnx"]

    x = make_pictures(2, load_model(models["stargan"]).picture)
    (logits,) = session(a / "faces.classifier.onnx").run(None, {"image": x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(logits, load_model(models["stargan"]).recipe.classify(x), atol=1e-5)

    # A seed's style by way of the mapping network, and a reference's, through files alone.
    translator = asterism.load(models["stargan_v2"], "cpu", "float32")
    opened = session(b / "faces.onnx")
    domain = np.array([facts(opened)["domains"].index("green")])
    latent = torch.randn(1, translator.recipe.abilities.latent, generator=torch.Generator().manual_seed(7)).numpy()
    (drawn,) = session(b / "faces.mapping.onnx").run(None, {"latent": latent, "domain": domain})
    (read,) = session(b / "faces.style_encoder.onnx").run(None, {"image": x[1:].numpy(), "domain": domain})
    mean = np.array([facts(opened)["mean_styles"][domain[0]]], np.float32)
    for style, expected in (
        (drawn, translator.translate(x[:1], "green", style=7)),
        (read, translator.translate(x[:1], "green", like=x[1])),
        (mean, translator.translate(x[:1], "green")),
    ):
        (y,) = opened.run(None, {"image": x[:1].numpy(), "style": style})
        np.testing.assert_allclose(y, expected, atol=1e-4)


def test_masks_of_the_caller_are_inputs(tmp_path: Path) -> None:
    recipe = tiny("stargan_v2", SPACES["folders"], high_pass=1.0, masks="given")
    save_model(tmp_path / "model.safetensors", recipe, "stargan_v2", recipe.state_dict(), info={})
    exported = job.export(tmp_path / "model.safetensors", out=tmp_path / "faces.onnx")
    opened = session(exported.files["translator"])
    assert [given.name for given in opened.get_inputs()] == ["image", "style", "mask_face", "mask_core"]
    assert facts(opened)["side_multiple"] is None
    x = make_pictures(1, recipe.picture).numpy()
    style, full, none = np.zeros((1, 4), np.float32), np.ones_like(x[:, :1]), np.zeros_like(x[:, :1])
    results = [opened.run(None, {"image": x, "style": style, "mask_face": m, "mask_core": m})[0] for m in (full, none)]
    assert np.abs(results[0] - results[1]).max() > 0.01


def test_float16_halves_the_file_and_int8_computes_in_integers(
    models: dict[str, Path], shapes_dir: Path, tmp_path: Path
) -> None:
    half = job.export(models["fixed_point"], precision="float16", out=tmp_path / "half.onnx")
    assert max(d.largest for d in half.differences.values()) <= 2e-2
    whole = sum(p.numel() * 4 for p in load_model(models["fixed_point"]).recipe.generator.parameters())
    assert half.files["translator"].stat().st_size < 0.5 * whole + 20_000  # The graph and its facts, beside the weights.
    said: list[str] = []
    with pytest.raises(ConfigError, match="int8 needs pictures for calibration, and there are none: name some .* with --data"):
        job.export(models["fixed_point"], precision="int8", out=tmp_path / "small.onnx")
    small = job.export(
        models["fixed_point"], precision="int8", data=[str(shapes_dir)], out=tmp_path / "small.onnx", tell=said.append
    )
    assert small.psnr is not None and small.psnr >= 30
    assert any("dB PSNR against float32" in line and "in float32 stay" in line for line in said)
    assert small.agreement is not None and any("a classifier agrees on" in line for line in said)
    opened = session(tmp_path / "small.onnx")
    assert facts(opened)["precision"] == "int8" and [i.type for i in opened.get_inputs()] == ["tensor(float)"] * 2
    import onnx

    weights = {t.name: t.data_type for t in onnx.load(tmp_path / "small.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in weights.values()


def test_the_runs_own_classifier_says_what_int8_changes(models: dict[str, Path], tmp_path: Path) -> None:
    model = load_model(models["stargan_v2"])
    assert job._judge(model, tmp_path) is None  # It has no class head.
    judge = tiny("classifier", model.space)
    save_model(tmp_path / "classifier" / "c0ffee" / "model.safetensors", judge, "classifier", judge.state_dict(), info={})
    found = job._judge(model, tmp_path)
    assert found is not None and set(found.networks) == {"classifier"}


def test_a_torch_export_archive_needs_only_torch(models: dict[str, Path], tmp_path: Path) -> None:
    job.export(models["stargan"], "pt2", out=tmp_path / "faces.pt2")
    held = {archive.FACTS: ""}
    program = torch.export.load(tmp_path / "faces.pt2", extra_files=held).module()
    told = {key: json.loads(text) for key, text in json.loads(held[archive.FACTS]).items()}
    translator = asterism.load(models["stargan"], "cpu", "float32")
    x = make_pictures(3, translator.model.picture)
    code = torch.zeros(3, len(told["code"]))
    code[:, [told["code"].index("blue"), told["code"].index("mask:discs")]] = 1
    torch.testing.assert_close(program(x, code), translator.translate(x, "blue"), atol=1e-5, rtol=0)


def test_a_difference_is_found_and_nothing_is_written(
    models: dict[str, Path], exported: dict[str, job.Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose pictures are off by 0.003, which no eye would see."""
    kind = job.FORMATS["onnx"]

    def opened(path: Path, threads: int) -> job.Run:
        run = kind.open(path, threads)
        return lambda inputs: run(inputs) + 3e-3

    def write(graph: job.Graph, path: Path, facts: object) -> None:  # What was written before, to save the time.
        shutil.copy(exported["stargan"].files[graph.name], path)

    monkeypatch.setitem(job.FORMATS, "onnx", job.Format(kind.suffix, write, opened, kind.modules))
    with pytest.raises(ModelError, match="the exported translator differs from the translator by up to 0.003; at most 0.0001"):
        job.export(models["stargan"], out=tmp_path / "out" / "faces.onnx")
    assert not list((tmp_path / "out").iterdir())
    with pytest.raises(ModelError, match=r"int8 translator is 2\d\.\d dB from float32; at least 30 dB"):
        parity.Difference.of(torch.full((1, 3, 8, 8), 0.15), torch.zeros(1, 3, 8, 8)).check("translator", "int8")


def test_what_does_not_go_is_said_before_work_begins(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.onnx").write_text("made by hand")
    for words, said in (
        (["--format", "pt2", "--precision", "int8"], "int8 is for onnx only; pt2 takes float32 or float16"),
        (["--format", "onnx", "--out", str(tmp_path / "mine.onnx")], "mine.onnx would be replaced: give another --out, or say"),
        (["--format", "onnx", "--out", str(tmp_path), "--overwrite"], "is a folder; --out names the file"),
        (["--format", "onnx", "--out", str(tmp_path / "x.onnx"), "--data", str(tmp_path)], "holds no pictures"),
    ):
        assert main(["export", str(models["stargan"]), *words]) == 1
        assert said in capsys.readouterr().err
    assert (tmp_path / "mine.onnx").read_text() == "made by hand"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert main(["export", str(models["stargan"]), "--format", "aoti", "--out", str(tmp_path / "a.pt2")]) == 1
    assert "needs a C++ compiler, and g++ or clang++ is not here: install" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert main(["export", str(models["stargan"]), "--format", "onnx", "--out", str(tmp_path / "b.onnx")]) == 1
    assert 'needs onnxruntime: pip install "asterism[export]"' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler is here")
def test_a_compiled_package_translates(models: dict[str, Path], tmp_path: Path) -> None:
    exported = job.export(models["stargan"], "aoti", out=tmp_path / "faces.pt2")
    assert max(d.largest for d in exported.differences.values()) < 1e-4
    package = torch._inductor.aoti_load_package(str(tmp_path / "faces.pt2"))
    translator = asterism.load(models["stargan"], "cpu", "float32")
    x = make_pictures(3, translator.model.picture)
    code = torch.zeros(3, translator.model.space.code_size)
    code[:, [5, 7]] = 1
    torch.testing.assert_close(package(x, code), translator.translate(x, "blue"), atol=1e-4, rtol=0)


def test_pictures_come_from_the_run_the_user_or_are_made(shapes_dir: Path, models: dict[str, Path], tmp_path: Path) -> None:
    picture = load_model(models["stargan"]).picture
    made = find_samples(None, picture)
    assert "synthetic pictures" in made.origin and made.compared.shape[1:] == (3, SIZE, SIZE)
    assert made.compared.abs().max() <= 1 and not torch.equal(made.compared[0], made.compared[1])
    given = find_samples(None, picture, [str(shapes_dir)])
    assert str(shapes_dir) in given.origin
    apart = (given.compared[:, None] - given.calibration[None]).abs().flatten(2).amax(2)
    assert float(apart.min()) > 0, "what is compared must not have calibrated"
    (tmp_path / "config.json").write_text(
        json.dumps(
            {"name": "stargan", "preset": None, "recipe": {}, "data": {"sources": [str(shapes_dir)], "size": SIZE}, "train": {}}
        )
    )
    held = find_samples(tmp_path, picture)
    assert "pictures of" in held.origin and "made" not in held.origin


def test_high_pass_skips_leave_the_batch_free() -> None:
    recipe = tiny("stargan_v2", SPACES["folders"], high_pass=1.0).eval()
    graph = graphs_of(Model(recipe, "stargan_v2", recipe.space, recipe.picture, recipe.config, {}))[0]
    x, s = make_pictures(3, recipe.picture), torch.ones(3, 4)
    with torch.no_grad():
        torch.testing.assert_close(traced(graph).module()(x, s), graph.module(x, s))


def test_graphs_take_a_batch_of_any_size_and_sides_as_promised(models: dict[str, Path]) -> None:
    sides = {name: graphs_of(load_model(path))[0].side_multiple for name, path in models.items()}
    assert sides["stargan"] == sides["fixed_point"] == 4 and sides["stargan_v2"] == 2  # 32 px: one halving.
