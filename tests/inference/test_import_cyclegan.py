"""Published CycleGAN checkpoints come in key by key, give the published pictures, and go out again as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asterism.cli import main
from asterism.data.pictures import PictureFormat
from asterism.engine.finetune import adopt
from asterism.export.graphs import graphs_of
from asterism.inference.published.containers import read_state_dict
from asterism.inference.published.cyclegan import NAMES
from asterism.inference.published.importing import import_published
from asterism.inference.published.layouts import export_published
from asterism.inference.translator import Translator, load
from asterism.labels import LabelError, LabelSpace
from asterism.recipes.cyclegan import Config, CycleGAN
from asterism.recipes.model import load_model, save_model
from asterism.storage.model_file import ModelError

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "cyclegan"
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded CycleGAN numbers are not in the repository")
SPACE = LabelSpace.from_text("pets:one_of:cat,dog")
SIZE = (32, 32)
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A set of published files, as our own export writes it."""
    torch.manual_seed(0)
    config = Config(conv_dim=4, num_blocks=2, discriminator_conv_dim=6, discriminator_layers=2)
    recipe = CycleGAN(config, SPACE, PictureFormat(3, *SIZE))
    path = tmp_path / "run" / "model.safetensors"
    save_model(path, recipe, "cyclegan", recipe.state_dict(), info={"step": 200})
    written = export_published(load_model(path), tmp_path / "published")
    return {path.stem.removeprefix("200_net_"): path for path in written}


def bring(out: Path, *files: Path, size: tuple[int, int] | None = SIZE, space: LabelSpace | None = SPACE) -> Path:
    return import_published("cyclegan", files, space=space, size=size, out=out)


def edited(source: Path, path: Path, changes: dict[str, torch.Tensor | None]) -> Path:
    """Write a copy of a file with keys replaced or, where None, left out."""
    weights = read_state_dict(source) | changes
    torch.save({key: t for key, t in weights.items() if t is not None}, path)
    return path


@needs_golden
@pytest.mark.parametrize("old", ["", "old"])
def test_imported_models_give_the_published_pictures(tmp_path: Path, old: str) -> None:
    """Files of 2018 hold running statistics of the norms, made up here: they change nothing."""
    step = load_file(GOLDEN / "cyc32_step.safetensors")
    names = {"": ("G_A", "G_B", "D_A", "D_B"), "old": ("G_A", "D_A")}[old]
    files = [GOLDEN / f"cyc32{old}_net_{name}.pth" for name in names]
    if old:
        assert all(any(key.endswith(STATISTICS) for key in read_state_dict(file)) for file in files)
    translator = load(bring(tmp_path / "run", *files), device="cpu", precision="float32")
    torch.testing.assert_close(translator.translate(step["in.real_A"], "dog"), step["out.fake_B"], rtol=0, atol=1e-4)
    if not old:
        torch.testing.assert_close(translator.translate(step["in.real_B"], "cat"), step["out.fake_A"], rtol=0, atol=1e-4)
    with torch.no_grad():
        scores = translator.recipe.discriminator_b(step["in.real_B"]).flatten()
    torch.testing.assert_close(scores, step["D_A.real_B"].flatten(), rtol=0, atol=5e-3)  # Kept in float16.


def test_files_go_out_as_they_came_in(tmp_path: Path, files: dict[str, Path]) -> None:
    assert files.keys() == NAMES.keys()
    model = load_model(bring(tmp_path / "again", *files.values()))
    assert model.config.conv_dim == 4 and model.config.num_blocks == 2 and model.missing == ()
    assert (model.config.discriminator_conv_dim, model.config.discriminator_layers) == (6, 2)
    assert model.info["step"] == 200 and model.config.identity_weight == 5
    for path in export_published(model, tmp_path / "out"):
        mine, theirs = read_state_dict(path), read_state_dict(files[path.stem.removeprefix("200_net_")])
        assert list(mine) == list(theirs) and all(torch.equal(mine[key], theirs[key]) for key in theirs)


def test_the_name_tells_the_direction(tmp_path: Path, files: dict[str, Path]) -> None:
    swapped = {"G_A": tmp_path / "latest_net_G_B.pth", "G_B": tmp_path / "latest_net_G_A.pth"}
    for name, path in swapped.items():
        path.write_bytes(files[name].read_bytes())
    x = torch.rand(1, 3, *SIZE) * 2 - 1
    straight = load(bring(tmp_path / "straight", files["G_A"], files["G_B"]), "cpu", "float32")
    turned = load(bring(tmp_path / "turned", *swapped.values()), "cpu", "float32")
    assert torch.equal(straight.translate(x, "dog"), turned.translate(x, "cat"))
    assert not torch.equal(straight.translate(x, "dog"), straight.translate(x, "cat"))


def test_a_single_direction_says_what_it_lacks(
    tmp_path: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """As the authors released them: `latest_net_G.pth` translates from the first domain named to the second."""
    (tmp_path / "latest_net_G.pth").write_bytes(files["G_A"].read_bytes())
    words = ["import", "cyclegan", str(tmp_path / "latest_net_G.pth"), "--domains", "horse,zebra", "--image-size", "32"]
    assert main([*words, "--out", str(tmp_path / "run" / "of")]) == 0
    said = capsys.readouterr().out
    assert "no file holds the network that translates to horse; --to takes only zebra" in said and "--to zebra" in said
    translator = load(tmp_path / "run" / "of", "cpu", "float32")
    x = torch.rand(2, 3, *SIZE) * 2 - 1
    both = load(bring(tmp_path / "both", files["G_A"], files["G_B"]), "cpu", "float32")
    assert translator.labels == ("zebra",)
    assert torch.equal(translator.translate(x, "zebra"), both.translate(x, "dog"))
    with pytest.raises(LabelError, match="has no network that translates to horse; it translates to zebra"):
        translator.translate(x, "horse")
    assert main(["evaluate", str(tmp_path / "run" / "of")]) == 1
    assert "came without data" in capsys.readouterr().err
    (graph,) = graphs_of(translator.model)
    held = {id(p) for p in graph.module.parameters()}
    assert len(held) == len(list(both.recipe.generator_b.parameters())), "the graph carries networks that are not there"
    (path,) = export_published(translator.model, tmp_path / "out")
    assert path.name == "0_net_G_A.pth"


def test_a_new_pair_of_domains_starts_from_the_direction_that_it_shares(tmp_path: Path, files: dict[str, Path]) -> None:
    """The networks of a domain go with its name, into whichever place it has."""
    model = load_model(bring(tmp_path / "again", *files.values()))
    recipe = CycleGAN(model.config, LabelSpace.from_text("pets:one_of:dog,wolf"), PictureFormat(3, *SIZE))
    fresh = {key: t.clone() for key, t in recipe.state_dict().items()}
    assert adopt(recipe, model, "cyclegan") == ["new labels with randomly initialised weights: wolf"]
    given, own = model.recipe.state_dict(), recipe.state_dict()
    for key in own:  # dog is domain b of the model and domain a of the recipe.
        theirs = key.replace("_a.", "_b.")
        assert torch.equal(own[key], given[theirs] if "_a." in key else fresh[key]), key


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.4.bias": None}, "lacks model.4.bias"),
        (
            {"model.10.conv_block.6.weight": torch.zeros(16, 16, 3, 3)},
            "was trained with dropout, as model.10.conv_block.6.weight",
        ),
        (
            {"model.2.weight": torch.ones(4), "model.2.running_mean": torch.ones(4)},
            "holds model.2.weight, model.2.running_mean",
        ),
        ({"model.1.weight": None}, "lacks the kernel model.1.weight: not a generator with residual blocks"),
        ({"model.1.weight": torch.zeros(4, 1, 7, 7)}, "makes pictures of 3 channels from 1"),
    ],
)
def test_other_generators_are_refused_by_name(
    tmp_path: Path, files: dict[str, Path], changes: dict[str, torch.Tensor | None], words: str
) -> None:
    with pytest.raises(ModelError, match=words.replace(".", r"\.")):
        bring(tmp_path / "out", edited(files["G_A"], tmp_path / "latest_net_G_A.pth", changes))
    assert not (tmp_path / "out").exists()


def test_a_wrong_set_of_files_is_refused(tmp_path: Path, files: dict[str, Path]) -> None:
    other, nameless = tmp_path / "latest_net_G_A.pth", tmp_path / "zebra.pth"
    for copy in (other, nameless):
        copy.write_bytes(files["G_A"].read_bytes())
    for given, words in (
        ((files["D_A"], files["D_B"]), "there is no generator among the files"),
        ((files["G_A"], other), "are both a G_A: give one of them"),
        ((nameless,), "has a name that does not identify its network"),
    ):
        with pytest.raises(ModelError, match=words):
            bring(tmp_path / "out", *given)
    with pytest.raises(ModelError, match="translates between two domains: name A and B in that order, not a, b, c"):
        bring(tmp_path / "out", other, space=LabelSpace.from_text("p:one_of:a,b,c"))


def test_domains_and_size_have_the_published_values_where_none_are_given(tmp_path: Path, files: dict[str, Path]) -> None:
    model = load_model(bring(tmp_path / "run2", files["G_B"], size=None, space=None))
    assert Translator(model).labels == ("A",) and (model.picture.height, model.picture.width) == (256, 256)
