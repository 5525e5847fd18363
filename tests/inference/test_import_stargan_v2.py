"""StarGAN v2's published checkpoints: in by their shapes alone, strictly, and out again key by key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import asterism
from asterism.cli import main
from asterism.engine.finetune import adopt
from asterism.inference.published.importing import import_published
from asterism.inference.published.layouts import export_published, remarks
from asterism.labels import LabelSpace
from asterism.networks.fan import FAN
from asterism.recipes.model import load_model
from asterism.storage.model_file import ModelError
from tests.helpers.masks import build, fill

SHARED = Path(__file__).parents[3] / "shared"
CONFIGURATIONS = ("stargan_v2_celeba_hq_256", "stargan_v2_afhq_256")
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="the published keys and numbers are not in the repository")


def published(high_pass: float = 1.0, prefix: str = "", **config: float) -> dict[str, dict[str, torch.Tensor]]:
    """A nets file of three domains at 32 px, as the published code writes it, with random weights."""
    recipe = build(high_pass=high_pass, **config)
    nets = {name: dict(network.state_dict()) for name, network in recipe.networks.items()}
    if high_pass:
        generator = nets["generator"]
        for i, block in enumerate(recipe.generator.decode):
            if block.conv1.in_channels != block.conv1.out_channels:
                generator[f"decode.{i}.conv1x1.weight"] = torch.randn(block.conv1.out_channels, block.conv1.in_channels, 1, 1)
        kernel = torch.full((3, 3), -1.0)
        kernel[1, 1] = 8.0
        generator["hpf.filter"] = kernel / high_pass
        nets["fan"] = {k: t.clone() for k, t in fill(FAN()).state_dict().items()}
    return {name: {prefix + key: t for key, t in state.items()} for name, state in nets.items()}


def save(path: Path, nets: dict, *without: str) -> Path:
    torch.save({name: state for name, state in nets.items() if name not in without}, path)
    return path


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return list(ours) == list(theirs) and all(torch.equal(ours[k], theirs[k]) for k in ours)


def scaled(name: str, file: str) -> dict[str, dict[str, torch.Tensor]]:
    """The published file's keys in order, with a sixteenth of every width and random weights."""
    rng, nets = torch.Generator().manual_seed(0), {}
    for key, shape in json.loads((SHARED / "spec" / "state_dicts.json").read_text())[name][file].items():
        network, key = key.split("/")
        narrow = [d // 16 if d >= 64 and network != "fan" else d for d in shape]
        nets.setdefault(network, {})[key] = torch.randn(narrow, generator=rng) if narrow else torch.tensor(7)
    if "hpf.filter" in nets["generator"]:
        nets["generator"]["hpf.filter"] = -torch.ones(3, 3)
        nets["generator"]["hpf.filter"][1, 1] = 8.0
    return nets


@needs_shared
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_what_came_in_goes_out_key_by_key_in_the_published_order(name: str, tmp_path: Path) -> None:
    files = {file: scaled(name, file) for file in ("100000_nets_ema.ckpt", "100000_nets.ckpt")}
    paths = [save(tmp_path / file, nets) for file, nets in files.items()]
    faces = "celeba" in name
    out = import_published("stargan_v2", paths, out=tmp_path / "run", keep=["fan"] if faces else [])
    model = load_model(out)
    assert model.picture.height == 256 and model.config.high_pass == (1.0 if faces else 0.0) and model.config.style_dim == 4
    assert model.space.names == (("domain_0", "domain_1") if faces else ("domain_0", "domain_1", "domain_2"))
    assert model.info["licence"] == "CC BY-NC 4.0" and model.info["step"] == 100000 and not model.missing
    written = {path.name: torch.load(path, weights_only=True) for path in export_published(model, tmp_path / "out")}
    assert set(written) == set(files)
    for file, nets in files.items():
        assert list(written[file]) == list(nets)
        for network, theirs in nets.items():
            ours = written[file][network]
            assert list(ours) == list(theirs), (file, network)
            for key, tensor in theirs.items():
                assert ours[key].shape == tensor.shape and ours[key].dtype == tensor.dtype, key
                unused = faces and network == "generator" and key.startswith("decode") and "conv1x1" in key
                averaged = files["100000_nets_ema.ckpt"].get(network, {}).get(key, tensor)
                if not unused:  # Written as zeros; D is kept in float16; nets holds the averages.
                    near = 2e-3 if network == "discriminator" else 0
                    torch.testing.assert_close(ours[key], averaged, rtol=near, atol=near)


@needs_shared
@pytest.mark.parametrize("name", ["afhq", "celeba_hq"])
def test_imported_weights_give_the_published_pictures(name: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    golden = load_file(SHARED / "golden" / "stargan_v2" / f"{name}_000010_step.safetensors")
    file = SHARED / "golden" / "stargan_v2" / f"{name}_000010_nets.ckpt"
    import_published("stargan_v2", [file], out=tmp_path / "run")
    golden = {key: t.double() if t.is_floating_point() else t for key, t in golden.items()}
    masks = (lambda x: (golden["mask_face"], golden["mask_core"])) if "mask_face" in golden else None
    model = asterism.load(tmp_path / "run", "cpu", "float64", masks=masks)
    with torch.no_grad():
        s = model.recipe.read_style(golden["x_ref"], golden["y_trg"])
        # Theirs were computed in float32, which costs 3e-6 of the largest value (as in tests/recipes).
        torch.testing.assert_close(s, golden["style_reference"], rtol=0, atol=1e-5 * float(s.abs().max()))
        x_fake = model.recipe.translate(golden["x_real"], golden["y_trg"], s=s)
    torch.testing.assert_close(x_fake, golden["x_fake_reference"], rtol=0, atol=1e-5 * float(x_fake.abs().max()))


@pytest.mark.parametrize("high_pass", [0.0, 1.0, 2.0])
def test_architecture_size_and_domains_are_read_off_the_shapes(high_pass: float, tmp_path: Path) -> None:
    nets = published(high_pass, prefix="module.")
    path = save(tmp_path / "000300_nets_ema.ckpt", nets, "discriminator")
    model = load_model(
        import_published("stargan_v2", [path], space=LabelSpace.from_text("pets:one_of:cat,dog,fox"), out=tmp_path / "run")
    )
    config = model.config
    assert (model.picture.height, model.picture.channels, config.high_pass) == (32, 3, high_pass)
    assert (config.style_dim, config.latent_dim, config.mapping_width, config.max_width) == (4, 4, 8, 8)
    assert model.space.names == ("cat", "dog", "fox") and model.missing == ("discriminator",) and model.info["step"] == 300
    theirs = {k.removeprefix("module."): t for k, t in nets["generator"].items()}
    ours = model.recipe.generator.state_dict()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)
    assert set(theirs) - set(ours) == (
        {k for k in theirs if "decode" in k and "1x1" in k} | {"hpf.filter"} if high_pass else set()
    )
    settings = json.loads((tmp_path / "run" / "config.json").read_text())
    assert settings["recipe"]["high_pass"] == high_pass and settings["data"]["size"] == [32, 32]


def test_the_filter_may_be_absent_and_must_be_one(tmp_path: Path) -> None:
    nets = published(1.0)
    del nets["generator"]["hpf.filter"]
    path = save(tmp_path / "a.ckpt", nets, "discriminator")
    assert load_model(import_published("stargan_v2", [path], out=tmp_path / "a")).config.high_pass == 1.0
    nets["generator"]["hpf.filter"] = torch.ones(3, 3)
    with pytest.raises(ModelError, match="hpf.filter is not a high-pass filter"):
        import_published("stargan_v2", [save(tmp_path / "b.ckpt", nets)], out=tmp_path / "b")


def test_the_landmark_network_comes_along_when_asked(tmp_path: Path) -> None:
    nets = published(1.0)
    path = save(tmp_path / "nets_ema.ckpt", nets, "discriminator")
    without = load_model(import_published("stargan_v2", [path], out=tmp_path / "without"))
    assert without.config.masks == "ones" and "fan" not in without.recipe.networks
    (remark,) = remarks(without)
    assert "--keep fan" in remark
    model = load_model(import_published("stargan_v2", [path], out=tmp_path / "with", keep=["fan"]))
    assert not remarks(model)
    assert model.config.masks == "face" and same(dict(model.recipe.fan.state_dict()), nets["fan"])
    (written,) = export_published(model, tmp_path / "out")
    assert same(torch.load(written, weights_only=True)["fan"], nets["fan"])
    with pytest.raises(ModelError, match="holds no landmark network"):
        import_published("stargan_v2", [save(tmp_path / "n.ckpt", nets, "fan")], out=tmp_path / "n", keep=["fan"])
    nets["fan"]["l0.bias"] = torch.zeros(68)
    with pytest.raises(ModelError, match=r"fan: it does not hold the landmark network: l0.bias"):
        import_published("stargan_v2", [save(tmp_path / "m.ckpt", nets)], out=tmp_path / "m", keep=["fan"])
    assert import_published("stargan_v2", [tmp_path / "m.ckpt"], out=tmp_path / "m"), "not asked for, not looked at"


@pytest.mark.parametrize(
    ("network", "key", "tensor", "words"),
    [
        ("generator", "encode.0.norm1.bias", None, "lacks encode.0.norm1.bias"),
        ("generator", "decode.1.extra", torch.zeros(1), "holds decode.1.extra, which the network does not have"),
        ("generator", "to_rgb.2.bias", torch.zeros(4), r"to_rgb.2.bias is \[4\]; expected \[3\]"),
        ("generator", "encode.0.conv1.weight", None, "2 encoder blocks do not belong to 32x32"),
        ("mapping_network", "unshared.2.6.bias", None, "lacks unshared.2.6.bias"),
        ("mapping_network", "shared.0.weight", None, "shared.0.weight is missing"),
        ("style_encoder", "unshared.3.weight", torch.zeros(4, 8), "disagree on the number of domains"),
        ("discriminator", "main.0.bias", None, "lacks main.0.bias"),
        ("tail", "x", torch.zeros(1), "is not a nets or nets_ema file of StarGAN v2"),
    ],
)
def test_every_other_mismatch_is_refused_by_name(
    network: str, key: str, tensor: torch.Tensor | None, words: str, tmp_path: Path
) -> None:
    nets = published(0.0)
    state = nets.setdefault(network, {})
    state.pop(key, None)
    if tensor is not None:
        state[key] = tensor
    with pytest.raises(ModelError, match=words) as error:
        import_published("stargan_v2", [save(tmp_path / "bad.ckpt", nets)], out=tmp_path / "run")
    assert "bad.ckpt" in str(error.value) and not (tmp_path / "run").exists()


def test_files_and_words_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    nets = published(0.0)
    ema, full = save(tmp_path / "1_nets_ema.ckpt", nets, "discriminator"), save(tmp_path / "1_nets.ckpt", nets)
    flat = tmp_path / "flat.ckpt"
    torch.save(nets["generator"], flat)
    optims = tmp_path / "optims.ckpt"
    torch.save({"generator": {"state": {}, "param_groups": []}}, optims)
    for files, given, words in (
        ([ema], {"space": LabelSpace.from_text("pets:one_of:cat,dog")}, "trained on 3 domains; name as many"),
        ([ema], {"space": LabelSpace.from_text("cat,dog,fox")}, "trained on 3 domains; name as many"),
        ([ema], {"size": (64, 64)}, "trained at 32x32, not 64x64"),
        ([full, save(tmp_path / "2_nets.ckpt", nets)], {}, "one of each"),
        ([ema, save(tmp_path / "2_nets_ema.ckpt", nets, "discriminator")], {}, "hold the same networks"),
        ([flat], {}, "not a dict of state dicts"),
        ([optims], {}, "not a dict of state dicts"),
        ([ema], {"keep": ["fan"]}, "holds no landmark network"),
    ):
        with pytest.raises(ModelError, match=words):
            import_published("stargan_v2", files, out=tmp_path / "run", **given)
    with pytest.raises(ModelError, match="a dict of generator, mapping_network"):
        import_published("stargan", [ema], space=LabelSpace.from_text("a"), size=(32, 32), out=tmp_path / "run")
    with pytest.raises(ModelError, match="contain neither labels nor size"):
        import_published("stargan", [flat], out=tmp_path / "run")


def test_from_the_command_line_to_a_picture_and_to_training(
    tmp_path: Path, shapes_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Import, translate, and go on training from the imported weights, with and without their discriminator."""
    path = save(tmp_path / "7_nets_ema.ckpt", published(0.0), "discriminator")
    run = tmp_path / "run"
    assert main(["import", "stargan_v2", str(path), "--domains", "blue,green,red", "--out", str(run)]) == 0
    said = capsys.readouterr().out
    assert "not among the files: discriminator; translation does not need it" in said and "CC BY-NC 4.0" in said
    picture = next((shapes_dir / "red").iterdir())
    words = [
        "translate",
        str(run),
        str(picture),
        "--to",
        "blue",
        "--style",
        "3",
        "--out",
        str(tmp_path / "out"),
        "--device",
        "cpu",
    ]
    assert main(words) == 0 and len(list((tmp_path / "out").iterdir())) == 1
    model = load_model(run / "model.safetensors")
    keys = [
        f"--recipe.{k}={getattr(model.config, k)}"
        for k in ("capacity", "max_width", "mapping_width", "style_dim", "latent_dim")
    ]
    keys = [word for key in keys for word in key.split("=")]
    keys += ["--data.size", "32", "--train.steps", "1", "--train.batch_size", "8", "--data.workers", "0"]
    words = ["train", "stargan_v2", "--data", str(shapes_dir), "--init", str(run), "--out", str(tmp_path / "more"), *keys]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "not in the model file, initialised randomly: discriminator" in said.out + said.err
    trained = load_model(tmp_path / "more" / "model.safetensors")
    assert trained.info["licence"] == "CC BY-NC 4.0", "weights made from such weights stay under their licence"
    fresh = build(high_pass=0.0)
    notes = adopt(
        fresh,
        load_model(import_published("stargan_v2", [save(tmp_path / "n.ckpt", published(0.0))], out=tmp_path / "n")),
        "stargan_v2",
    )
    assert not any("discriminator" in note for note in notes)
