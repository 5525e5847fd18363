"""Published checkpoints come in key by key, give the published pictures, and go out again as they were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asterism.data.pictures import PictureFormat
from asterism.engine.finetune import adopt
from asterism.inference.published.containers import read_state_dict
from asterism.inference.published.importing import import_published
from asterism.inference.published.layouts import export_published
from asterism.inference.published.stargan import write
from asterism.inference.translator import Translator, load
from asterism.labels import LabelError, LabelSpace
from asterism.networks.sizes import SizeError
from asterism.recipes.model import Model, load_model
from asterism.recipes.settings import Settings
from asterism.recipes.stargan import Config, StarGAN
from asterism.storage.model_file import ModelError

GOLDEN = Path(__file__).parents[1] / "golden" / "stargan"
SPACES = {"celeba": "a,b,c,d,e", "joint": "celeba:binary:a,b,c,d,e;rafd:one_of:k,l,m,n,o,p,q,r"}
SIZE = (64, 64)


def bring(out: Path, name: str = "celeba", files: str = "GD", labels: str | None = None, size: tuple[int, int] = SIZE) -> Path:
    paths = [GOLDEN / f"{name}-{letter}.ckpt" for letter in files]
    space = LabelSpace.from_text(labels or SPACES[name])
    return import_published("stargan", paths, space=space, size=size, out=out)


def edited(path: Path, source: str, changes: dict[str, torch.Tensor | None]) -> Path:
    """Write a copy of a golden file with keys replaced or, where None, left out."""
    weights = read_state_dict(GOLDEN / source) | changes
    torch.save({key: t for key, t in weights.items() if t is not None}, path)
    return path


def translate_golden(translator: Translator, step: dict[str, torch.Tensor]) -> torch.Tensor:
    """Translate each golden picture to all the labels of its golden target."""
    names = translator.labels[:5]
    targets = [dict(zip(names, row.bool().tolist(), strict=True)) for row in step["label_trg"]]
    return torch.cat([translator.translate(x[None], to) for x, to in zip(step["x_real"], targets, strict=True)])


@pytest.mark.parametrize("name", ["celeba", "joint"])
@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-6), ("float32", 1e-4), ("bfloat16", 0.1)])
def test_imported_models_give_the_published_pictures(tmp_path: Path, name: str, precision: str, tolerance: float) -> None:
    """Pictures are in [-1, 1]; rounding to float32 costs 4e-6, as measured, to bfloat16 0.03."""
    step = load_file(GOLDEN / f"{name}-step.safetensors")
    bring(tmp_path / "run", name, "DG")
    translator = load(tmp_path / "run", device="cpu", precision=precision)
    x_fake = translate_golden(translator, step)
    assert x_fake.dtype == step["x_real"].dtype == torch.float32
    torch.testing.assert_close(x_fake, step["x_fake"], rtol=0, atol=tolerance)
    assert (step["x_fake"] - step["x_real"]).abs().mean() > 3 * tolerance, "the golden pictures would not tell a difference"


def test_the_class_head_comes_along(tmp_path: Path) -> None:
    step = load_file(GOLDEN / "joint-step.safetensors")
    model = load_model(bring(tmp_path / "run", "joint"))
    with torch.no_grad():
        logits = model.recipe.double().classify(step["x_real"].double())
    torch.testing.assert_close(logits, step["d_real_cls"].double(), rtol=1e-2, atol=2e-3)  # It is kept in float16.


def test_the_run_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "200000-G.ckpt").write_bytes((GOLDEN / "celeba-G.ckpt").read_bytes())
    space = LabelSpace.from_text("a,b,c,d,e")
    path = import_published(
        "stargan", [tmp_path / "200000-G.ckpt"], space=space, size=SIZE, out=tmp_path / "run", licence="MIT"
    )
    model = load_model(path)
    assert model.info["created_from"] == ["200000-G.ckpt"] and model.info["step"] == 200000 and model.info["licence"] == "MIT"
    assert (model.config.conv_dim, model.config.num_blocks) == (8, 2)
    settings = Settings.from_json(json.loads((tmp_path / "run" / "config.json").read_text()))
    assert settings.name == "stargan" and settings.recipe == model.config and settings.data.size == SIZE


def test_the_word_for_the_recipe_decides_where_files_cannot_tell(tmp_path: Path) -> None:
    """A StarGAN file and a Fixed-Point GAN file have the same keys and shapes; only what G's output is added to differs."""
    files, space = [GOLDEN / "celeba-G.ckpt", GOLDEN / "celeba-D.ckpt"], LabelSpace.from_text("a,b,c,d,e")
    bring(tmp_path / "stargan")
    import_published("fixed_point", files, space=space, size=SIZE, out=tmp_path / "fixed")
    model = load_model(tmp_path / "fixed" / "model.safetensors")
    assert model.name == "fixed_point" and json.loads((tmp_path / "fixed" / "config.json").read_text())["name"] == "fixed_point"
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    every = dict.fromkeys("abcde", True)
    change = torch.atanh(load(tmp_path / "stargan", "cpu", "float64").translate(x.double(), every))
    fixed = load(tmp_path / "fixed", "cpu", "float64").translate(x.double(), every)
    torch.testing.assert_close(fixed, torch.tanh(x + change), rtol=0, atol=1e-9)
    with pytest.raises(ModelError, match="recipe stargan; this run trains fixed_point"):
        adopt(model.recipe, load_model(tmp_path / "stargan" / "model.safetensors"), "fixed_point")


def test_a_run_says_which_columns_of_a_table_its_labels_are(tmp_path: Path) -> None:
    """So that evaluation takes five of CelebA's forty; the folders of a one_of group are no columns."""
    bring(tmp_path / "run", "joint")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data"]["labels"] == "a,b,c,d,e"


def test_without_the_class_head_every_label_must_be_said(tmp_path: Path) -> None:
    translator = load(bring(tmp_path / "run", "celeba", "G"), device="cpu")
    assert translator.model.missing == ("discriminator",)
    x = torch.zeros(3, 64, 64)
    with pytest.raises(LabelError, match="cannot predict the source's c, d, e: name them"):
        translator.translate(x, "a,b=no")
    in_target = translator.translate(x, {"a": True, "b": False, "c": True, "d": False, "e": False})
    stated = translator.translate(x, "a", labels={"a": False, "b": False, "c": True, "d": False, "e": False})
    assert torch.equal(in_target, stated)


@pytest.mark.parametrize(
    ("source", "changes", "words"),
    [
        ("celeba-G.ckpt", {"main.4.bias": None}, "lacks main.4.bias"),
        ("celeba-G.ckpt", {"main.10.main.4.weight": None}, "lacks main.10.main.4.weight"),
        ("celeba-G.ckpt", {"extra.weight": torch.zeros(1)}, "holds extra.weight"),
        ("celeba-G.ckpt", {"ghost.running_mean": torch.zeros(1)}, "holds ghost.running_mean"),
        ("celeba-G.ckpt", {"main.4.weight": torch.zeros(9)}, r"main.4.weight is \[9\]; expected \[16\]"),
        ("celeba-G.ckpt", {"main.17.weight": None}, "main.17.weight is missing"),
        ("celeba-D.ckpt", {"conv1.weight": None}, "lacks conv1.weight"),
        ("celeba-D.ckpt", {"conv2.weight": None}, "conv2.weight is missing"),
        ("celeba-D.ckpt", {"main.8.bias": None}, "lacks main.8.bias"),
    ],
)
def test_every_other_key_or_shape_is_refused_by_name(tmp_path: Path, source: str, changes: dict, words: str) -> None:
    bad = edited(tmp_path / "bad.ckpt", source, changes)
    other = GOLDEN / ("celeba-D.ckpt" if "G" in source else "celeba-G.ckpt")
    with pytest.raises(ModelError, match=words) as error:
        import_published("stargan", [bad, other], space=LabelSpace.from_text("a,b,c,d,e"), size=SIZE, out=tmp_path / "run")
    assert "bad.ckpt" in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"labels": "a,b,c,d"}, "code of 5 values; the labels given make 4"),
        ({"labels": "x:binary:a,b,c;y:one_of:d,e"}, r"make 7 \(5 labels and 2 mask bits\)"),
        ({"size": (128, 128)}, "trained at 64x64"),
        ({"size": (64, 96)}, "trained at 64x64"),
        ({"files": "D"}, "no generator"),
        ({"name": "joint", "labels": "z:binary:a,b,c,d,e,f;y:one_of:g,h,i,j,k,l,m"}, None),
    ],
)
def test_labels_and_size_must_be_those_of_training(tmp_path: Path, arguments: dict, words: str | None) -> None:
    if words is None:  # Only the counts can be checked.
        assert bring(tmp_path / "run", **arguments).is_file()
        return
    with pytest.raises(ModelError, match=words):
        bring(tmp_path / "run", **arguments)


def test_a_size_that_the_generator_cannot_take_is_named(tmp_path: Path) -> None:
    with pytest.raises(SizeError, match="66x66"):
        bring(tmp_path / "run", files="G", size=(66, 66))


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "sprung",)

    space = LabelSpace.from_text("a")
    torch.save({"main.0.weight": Trap()}, tmp_path / "trap.ckpt")
    torch.save({"generator": {"w": torch.zeros(1)}, "mapping_network": {}}, tmp_path / "nets.ckpt")
    torch.save({"w": torch.zeros(1)}, tmp_path / "w.ckpt")
    (tmp_path / "page.ckpt").write_text("<html>")
    (tmp_path / "half.ckpt").write_bytes((GOLDEN / "celeba-G.ckpt").read_bytes()[:5000])
    (tmp_path / "empty.ckpt").write_bytes(b"")
    for name, words in (
        ("trap.ckpt", "may run code"),
        ("nets.ckpt", "a dict of generator, mapping_network"),
        ("w.ckpt", "no StarGAN file"),
        ("page.ckpt", "page.ckpt"),
        ("half.ckpt", "half.ckpt"),
        ("empty.ckpt", "empty.ckpt"),
        ("gone.ckpt", "no file"),
    ):
        with pytest.raises(ModelError, match=words):
            import_published("stargan", [tmp_path / name], space=space, size=SIZE, out=tmp_path / "run")
    assert not (tmp_path / "sprung").exists() and not (tmp_path / "run").exists()


def test_only_known_layouts_and_new_folders_are_taken(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="stargan"):
        import_published("stargun", [], space=LabelSpace.from_text("a"), size=SIZE, out=tmp_path / "run")
    with pytest.raises(ModelError, match="both a generator"):
        import_published(
            "stargan",
            [GOLDEN / "celeba-G.ckpt", GOLDEN / "joint-G.ckpt"],
            space=LabelSpace.from_text("a"),
            size=SIZE,
            out=tmp_path / "run",
        )
    bring(tmp_path / "run")
    with pytest.raises(ModelError, match="not empty"):
        bring(tmp_path / "run")


@pytest.mark.parametrize("name", ["celeba", "joint"])
def test_what_came_in_goes_out_as_it_was(tmp_path: Path, name: str) -> None:
    model = load_model(bring(tmp_path / "run", name))
    written = export_published(model, tmp_path / "out")
    assert [path.name for path in written] == ["0-G.ckpt", "0-D.ckpt"]
    for path, letter in zip(written, "GD", strict=True):
        ours = torch.load(path, weights_only=True)
        published = torch.load(GOLDEN / f"{name}-{letter}.ckpt", weights_only=True)
        assert list(ours) == list(published), "keys, in the published order"
        for key, tensor in published.items():
            assert ours[key].shape == tensor.shape and ours[key].dtype == tensor.dtype
            if key.endswith(("running_mean", "running_var", "num_batches_tracked")):
                assert (ours[key] == (1 if key.endswith("var") else 0)).all()
            else:
                torch.testing.assert_close(
                    ours[key], tensor, rtol=0 if letter == "G" else 1e-3, atol=0 if letter == "G" else 1e-6
                )
    with pytest.raises(ModelError, match="0-G.ckpt, .*0-D.ckpt would be replaced"):
        export_published(model, tmp_path / "out")


def test_a_generator_alone_goes_out_alone(tmp_path: Path) -> None:
    written = export_published(load_model(bring(tmp_path / "run", files="G")), tmp_path / "out")
    assert [path.name for path in written] == ["0-G.ckpt"]


def test_the_full_size_networks_have_the_published_shapes() -> None:
    """CelebA's five labels with RaFD's eight at 256 px, the largest published arrangement (103 and 14 tensors)."""
    space = LabelSpace.from_text("celeba:binary:a,b,c,d,e;rafd:one_of:k,l,m,n,o,p,q,r")
    picture = PictureFormat(3, 256, 256)
    with torch.device("meta"):
        recipe = StarGAN(Config(), space, picture)
    files = write(Model(recipe.to_empty(device="cpu"), "stargan", space, picture, Config(), {"step": 200000}))
    generator, discriminator = files["200000-G.ckpt"], files["200000-D.ckpt"]
    assert (len(generator), len(discriminator)) == (103, 14)
    assert list(generator["main.0.weight"].shape) == [64, 18, 7, 7]
    assert list(generator["main.15.weight"].shape) == [256, 128, 4, 4] and list(generator["main.21.weight"].shape) == [
        3,
        64,
        7,
        7,
    ]
    assert list(discriminator["conv2.weight"].shape) == [13, 2048, 4, 4]
