"""pix2pixHD in training and use: coarse to fine, discriminators of several sizes, instances, features as styles, VGG."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from asterism import load, train
from asterism.config import ConfigError
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.engine.step import phase_at
from asterism.labels import LabelGroup, LabelSpace
from asterism.networks.pix2pixhd import Centres, Discriminator, Enhancer, Generator, halve, means_of, regions
from asterism.networks.sizes import SizeError
from asterism.networks.vgg import VGG19
from asterism.recipes.pix2pixhd import VGG_WEIGHTS, Config, Pix2PixHD
from asterism.storage.model_file import ModelError
from tests.helpers.recipes import trainer_of
from tests.helpers.runs import BRIEF, assert_same_state, flat, state

SPACE = LabelSpace([LabelGroup("pictures", ("A", "B"), "one_of")])
TINY = {"conv_dim": 4, "num_downs": 1, "num_blocks": 1, "enhancer_blocks": 1, "encoder_conv_dim": 4, "encoder_downs": 1}
TINY |= {"discriminator_conv_dim": 4, "discriminator_layers": 1}
CLASSES = 3


def tiny(maps: bool = False, channels: int = 3, size: int = 32, **settings) -> Pix2PixHD:
    torch.manual_seed(0)
    source = PictureFormat(2, size, size, 0, CLASSES - 1, 16, classes=CLASSES) if maps else None
    return Pix2PixHD(Config(**(TINY | settings)), SPACE, PictureFormat(channels, size, size, source=source))


def map_of(count: int = 2, size: int = 32, seed: int = 0) -> Tensor:
    """Label maps: a ground of class 0, and three things of classes 1, 2 and 1 with ids of their own: [N, 2, H, W]."""
    rng, x = random.Random(seed), torch.zeros(count, 2, size, size)
    for n in range(count):
        for kind, identity in ((1, 1001), (2, 2007), (1, 1002)):
            top, left = rng.randrange(size - 9), rng.randrange(size - 9)
            x[n, 0, top : top + 8, left : left + 8], x[n, 1, top : top + 8, left : left + 8] = kind, identity
    return x


def batch_of(recipe: Pix2PixHD, count: int = 2) -> Batch:
    rng, picture = torch.Generator().manual_seed(1), recipe.picture
    x, x_pair = (torch.rand(count, picture.channels, picture.height, picture.width, generator=rng) * 2 - 1 for _ in range(2))
    dtype = next(recipe.parameters()).dtype
    x = map_of(count, picture.height) if picture.source else x
    return Batch(x=x.to(dtype), x_pair=x_pair.to(dtype), y=torch.zeros(count, dtype=torch.long))


# -- networks ------------------------------------------------------------------------------------------------------------


def test_the_paper_networks_are_the_published_ones_in_number_and_kind():
    """35 classes and the edges of instances: 512p, 1024p, discriminators of both, the encoder."""
    with torch.device("meta"):
        maps = PictureFormat(2, 512, 1024, 0, 34, 16, classes=35)
        recipe = Pix2PixHD(Config(features=3), SPACE, PictureFormat(3, 512, 1024, source=maps))
        local = Generator(36, 3), Enhancer(36, 3)
        numbers = {
            "G with features": (recipe.generator, 182_556_163, 56),
            "G": (local[0], 182_546_755, 56),
            "E": (recipe.encoder, 788_803, 20),
            "D of two": (recipe.discriminator, 5_603_202, 20),
            "D of three": (Discriminator(39, scales=3), 8_404_803, 30),
        }
    for name, (network, parameters, tensors) in numbers.items():
        assert (sum(p.numel() for p in network.parameters()), len(network.state_dict())) == (parameters, tensors), name
    keys = [key for network in local for key in network.state_dict() if key not in ("model.38.weight", "model.38.bias")]
    held = sum(p.numel() for network in local for p in network.parameters()) - 64 * 3 * 49 - 3
    assert (held, len(keys)) == (182_857_059, 74) and {"model.34.weight", "model1_1.4.bias", "model1_2.7.weight"} <= set(keys)
    weights = [m for m in Generator(3, 3, 32, 1, 1).modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert all(abs(float(m.weight.detach().std()) - 0.02) < 3e-3 for m in weights)
    assert any(float(m.bias.detach().abs().max()) > 1e-3 for m in weights), "biases keep PyTorch's distribution"


@pytest.mark.parametrize(("size", "found"), [((256, 256), [(35, 35)]), ((512, 1024), [(67, 131), (35, 67), (19, 35)])])
def test_discriminators_see_pictures_of_halved_sizes(size, found):
    judge, seen = Discriminator(2, 2, scales=len(found)), torch.zeros(1, 1, *size)
    with torch.no_grad():
        layers = judge(seen, seen)
        assert [tuple(of[-1].shape[2:]) for of in layers] == found and all(len(of) == 5 for of in layers)
        if len(found) > 1:
            smaller = judge(halve(seen), halve(seen), len(found) - 1)
            assert [tuple(of[-1].shape[2:]) for of in smaller] == found[1:]
            torch.testing.assert_close(smaller[0][-1], layers[1][-1])


def test_regions_are_the_instances_of_each_picture_alone():
    ids = torch.tensor([[7, 7, 3], [3, 26001, 3]]).float().expand(2, 1, 2, 3).clone()
    ids[1] = 5
    x = torch.rand(2, 4, 2, 3, dtype=torch.float64)
    places = regions(ids)
    means, counts = means_of(x, places)
    for n in range(2):
        for rank, identity in enumerate(ids[n].unique()):
            held = (ids[n, 0] == identity).flatten()
            torch.testing.assert_close(means[n, :, rank], x[n].flatten(1)[:, held].mean(1))
            assert counts[n, rank] == held.sum() and bool((places[n, held] == rank).all())
        assert not means[n, :, len(ids[n].unique()) :].any()
    large, counts = means_of(torch.full((1, 1, 33, 33), 0.3).bfloat16(), torch.zeros(1, 33 * 33, dtype=torch.long))
    assert counts[0, 0] == 33 * 33, "in bfloat16 too, which holds 1088 but not 1089"
    torch.testing.assert_close(large[0, 0, 0], torch.tensor(0.3).bfloat16().float())


# -- training ------------------------------------------------------------------------------------------------------------


def test_terms_are_the_published_formulas():
    """Sums over discriminators; of features the mean distance of every layer but the logits, 4 / (n + 1) / discriminators."""
    recipe = tiny(scales=2, discriminator_layers=2).double()
    batch = batch_of(recipe)
    x_fake = recipe.render(batch.x)
    terms = recipe.generator_terms(batch, torch.zeros(())) | recipe.discriminator_terms(batch, torch.zeros(()))
    fake, real = recipe.discriminator(batch.x, x_fake), recipe.discriminator(batch.x, batch.x_pair)
    matched = sum(
        (f - r).abs().flatten(1).mean(1) for a, b in zip(fake, real, strict=True) for f, r in zip(a[:-1], b[:-1], strict=True)
    )
    expected = {
        "adversarial": (1.0, sum((of[-1] - 1).square().flatten(1).mean(1) for of in fake)),
        "features": (10.0, 4 / 3 / 2 * matched),
        "real": (0.5, sum((of[-1] - 1).square().flatten(1).mean(1) for of in real)),
        "fake": (0.5, sum(of[-1].square().flatten(1).mean(1) for of in fake)),
    }
    assert terms.keys() == expected.keys()
    for name, (weight, value) in expected.items():
        assert terms[name][0] == weight
        torch.testing.assert_close(terms[name][1], value, rtol=1e-10, atol=1e-12)


def test_training_goes_from_coarse_to_fine():
    """The global generator on halved pictures, then the enhancer while it rests, then both; a phase begins with a new Adam."""
    recipe = tiny(enhancers=1, scales=2, global_steps=2, enhancer_steps=2, features=2)
    trainer = trainer_of(recipe, batch_size=2, ema_kimg=0)
    x = batch_of(recipe).x
    changed, sizes, counts = [], [], []
    for _ in range(6):
        before = {key: t.clone() for key, t in recipe.state_dict().items()}
        trainer.enter_phase()
        trainer.train_batch(batch_of(recipe), 2)
        trainer.step += 1
        parts = {
            key.split(".")[0] if "scale" not in key else key[:20]
            for key, t in recipe.state_dict().items()
            if not torch.equal(t, before[key])
        }
        changed.append({part for part in parts if part not in ("encoder", "centres")})
        assert {"encoder", "centres"} <= parts
        with torch.no_grad():
            sizes.append(recipe.render(x, torch.zeros(2, 2, 32, 32)).shape[2])
            assert recipe.translate(x, torch.tensor([1, 1])).shape == x.shape
        counts.append(
            {n: float(s["state"][0]["step"]) for n, s in trainer.optimizers.state_dict()["adam"].items() if s["state"]}
        )
    judges = [{"discriminator.scale0"}, {"discriminator.scale0", "discriminator.scale1"}]
    assert changed[:2] == [{"generator"} | judges[0]] * 2 and changed[2:4] == [{"enhancer"} | judges[1]] * 2
    assert changed[4:] == [{"generator", "enhancer"} | judges[1]] * 2
    assert sizes == [16, 16, 32, 32, 32, 32] and phase_at(recipe, 6).name == "all"
    assert counts[1]["generator"] == 2 and counts[2]["discriminator"] == 1, "the second phase is a run of its own"
    assert (counts[4]["generator"], counts[4]["enhancer"], counts[4]["encoder"], counts[4]["discriminator"]) == (1, 1, 1, 3)


def test_phases_follow_the_configuration():
    names = [
        [phase.name for phase in tiny(**settings).phases]
        for settings in (
            {},
            {"enhancers": 1},
            {"enhancers": 1, "global_steps": 0},
            {"enhancers": 1, "enhancer_steps": 0},
            {"enhancers": 1, "global_steps": 0, "enhancer_steps": 0},
        )
    ]
    assert names == [["all"], ["global", "enhancer", "all"], ["enhancer", "all"], ["global", "all"], ["all"]]
    assert tiny(enhancers=1, enhancer_steps=0).phases[1].resets == ("generator", "enhancer")


def test_two_enhancers_double_twice():
    recipe = tiny(enhancers=2, conv_dim=8, scales=3, global_steps=1, enhancer_steps=0)
    x = batch_of(recipe).x
    with torch.no_grad():
        assert recipe.render(x).shape == x.shape
        recipe.enter("global")
        assert recipe.render(x).shape[2:] == (8, 8) and recipe.judges() == 1


# -- features ------------------------------------------------------------------------------------------------------------


def test_an_instance_has_one_look_and_a_style_one_for_each_class():
    recipe = tiny(maps=True, features=2, centres=4).eval()
    can, x, told = recipe.abilities, map_of(), torch.tensor([1, 1])
    assert (can.latent, can.style, can.reads_style) == (CLASSES, CLASSES * 2, False)
    with torch.no_grad():
        encoded, unpooled = recipe.encode(x, batch_of(recipe).x_pair), recipe.encoder(batch_of(recipe).x_pair)
        z = torch.randn(2, CLASSES, generator=torch.Generator().manual_seed(0))
        s = recipe.draw_style(z, told)
        spread = recipe.spread(x, s)
    for n in range(2):
        for identity in x[n, 1].unique():
            held = x[n, 1] == identity
            torch.testing.assert_close(
                encoded[n][:, held], unpooled[n][:, held].mean(1, keepdim=True).expand(-1, int(held.sum()))
            )
        for kind in range(CLASSES):
            held, own = x[n, 0] == kind, s[n, 2 * kind : 2 * kind + 2]
            assert bool((spread[n][:, held] == own[:, None]).all())
            assert any(torch.equal(own, centre) for centre in recipe.centres.at[kind])
    with torch.no_grad():
        assert torch.equal(recipe.translate(x, told), recipe.translate(x, told, s=recipe.mean_style(told)))
        assert not torch.equal(recipe.translate(x, told), recipe.translate(x, told, s=s))


def test_one_instance_can_be_given_another_look():
    """As docs/pix2pixhd.md shows: features of two styles, put together by the map of instances."""
    recipe = tiny(maps=True, features=2).eval()
    x, told = map_of(1), torch.tensor([1])
    with torch.no_grad():
        looks = [recipe.spread(x, recipe.draw_style(torch.full((1, CLASSES), z), told)) for z in (-2.0, 2.0)]
        mixed = torch.where(x[:, 1:] == 1002, looks[1], looks[0])
        assert bool((mixed != looks[0]).any(1, keepdim=True).equal(x[:, 1:] == 1002))
        assert not torch.equal(recipe.render(x, mixed), recipe.render(x, looks[0]))


def test_all_centres_are_as_likely():
    centres = Centres(2, 5, 1)
    chosen = centres.choose(torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)))
    for kind in range(2):
        shares = [(chosen[:, kind] == at).float().mean().item() for at in centres.at[kind]]
        assert all(abs(share - 0.2) < 0.03 for share in shares) and sum(shares) == pytest.approx(1)


def test_centres_go_to_the_looks_of_their_class():
    """Photos of two looks: each gets centres, and none is left elsewhere, though all begin between the two."""
    recipe = tiny(features=2, centres=4, size=8, scales=1)
    looks, trainer = torch.tensor([[0.8, -0.6], [-0.7, 0.5]]), trainer_of(recipe, batch_size=2)
    recipe.encoder.forward = lambda x: looks[:, :, None, None].expand(-1, -1, *x.shape[2:])
    batch, (_, _, update) = batch_of(recipe), recipe.updates
    distances = (recipe.centres.at[0] - looks[:, None]).square().sum(2).sort(1).values
    expected = (distances * torch.tensor([1, 0.1, 0.01, 0.001])).sum(1)
    torch.testing.assert_close(recipe.centres_terms(batch, torch.zeros(()))["distance"][1], expected)
    for _ in range(150):
        trainer.apply(update, batch, 2, torch.zeros(()))
    distances = (recipe.centres.at[0, :, None] - looks).norm(dim=2)
    assert bool((distances.amin(0) < 0.1).all()), "both looks have a centre"
    assert bool((distances.amin(1) < 0.3).all()), "every centre is near a look"


# -- VGG -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in torchvision's layout, with random weights."""
    rng, weights = torch.Generator().manual_seed(0), {}
    for name, t in VGG19().named_buffers():
        deviation = (2 / t[0].numel()) ** 0.5 if t.ndim == 4 else 0.1
        weights[name.replace("_", ".")] = torch.randn(t.shape, generator=rng) * deviation
    weights["features.34.weight"], weights["classifier.6.bias"] = torch.zeros(2), torch.zeros(2)
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(weights, path)
    return path


def test_vgg_activations_are_those_of_its_layers(vgg: Path) -> None:
    """Against the network written out as torchvision's list of layers."""
    weights, layers, channels = torch.load(vgg, weights_only=True), [], 3
    for width in (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512):
        if width == "M":
            layers.append(nn.MaxPool2d(2, 2))
            continue
        convolution = nn.Conv2d(channels, width, 3, padding=1)
        convolution.load_state_dict({part: weights[f"features.{len(layers)}.{part}"] for part in ("weight", "bias")})
        layers += [convolution, nn.ReLU()]
        channels = width
    recipe = tiny(vgg=str(vgg))
    assert recipe.begin(new=True) == ()
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        found = recipe.vgg(x)
        for end, activation in zip((2, 7, 12, 21, 30), found, strict=True):
            torch.testing.assert_close(activation, nn.Sequential(*layers[:end])(x))
    assert not any("vgg" in key for key in recipe.state_dict()), "no checkpoint holds them"


def test_the_perceptual_term_is_there_where_weights_are(vgg: Path) -> None:
    recipe = tiny(vgg=str(vgg)).double()
    recipe.begin(new=False)
    batch = batch_of(recipe)
    weight, value = recipe.generator_terms(batch, torch.zeros(()))["perceptual"]
    pairs = zip(VGG_WEIGHTS, recipe.vgg(recipe.render(batch.x)), recipe.vgg(batch.x_pair), strict=True)
    expected = sum(w * (a - b).abs().flatten(1).mean(1) for w, a, b in pairs)
    assert weight == 10 and bool((expected > 0).all())
    torch.testing.assert_close(value, expected)
    trainer = trainer_of(recipe, batch_size=2)
    before = {key: t.clone() for key, t in recipe.vgg.named_buffers()}
    trainer.train_batch(batch, 2)
    assert all(torch.equal(t, before[key]) for key, t in recipe.vgg.named_buffers())
    without = tiny()
    assert "perceptual" not in without.generator_terms(batch_of(without), torch.zeros(()))
    assert "recipe.vgg FILE" in without.begin(new=True)[0] and without.begin(new=False) == ()


def test_other_files_are_no_vgg(vgg: Path, tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"does not hold VGG-19's convolutions: features\.0\.bias"):
        tiny(vgg=str(tmp_path / "other.pth")).begin(new=True)
    with pytest.raises(ConfigError, match="No such file"):
        tiny(vgg=str(tmp_path / "none.pth")).begin(new=True)
    with pytest.raises(ConfigError, match="VGG-19 sees RGB pictures; these have 1 channels"):
        tiny(vgg=str(vgg), channels=1)


# -- runs ----------------------------------------------------------------------------------------------------------------


def test_what_it_cannot_take_is_refused_with_what_it_can():
    with pytest.raises(
        SizeError, match=r"multiples of 32 and at least 64 \(recipe.num_downs 4, enhancers 1.*nearest is 96x128"
    ):
        Pix2PixHD(Config(enhancers=1), SPACE, PictureFormat(3, 90, 128))
    with pytest.raises(SizeError, match=r"at least 32 \(.*scales 5\); the nearest is 32x32"):
        tiny(size=16, scales=5)
    with pytest.raises(ConfigError, match=r"recipe.direction BtoA.*--data.pairs BtoA"):
        tiny(maps=True, direction="BtoA")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Label maps of squares, and pictures of them: class 1 is red or orange, class 2 blue, the ground white."""
    root = tmp_path_factory.mktemp("maps")
    for split, number in (("train", 12), ("val", 3), ("test", 3)):
        for kind in "AB":
            (root / split / kind).mkdir(parents=True)
        for i in range(number):
            ids = map_of(1, seed=hash_of(split, i))[0, 0].numpy().astype(np.uint8)
            colours = np.array([[250, 250, 250], [220, 30 + 120 * (i % 2), 30], [30, 60, 220]], np.uint8)
            Image.fromarray(ids).save(root / split / "A" / f"{split}{i}.png")
            Image.fromarray(colours[ids]).save(root / split / "B" / f"{split}{i}.png")
    return root


def hash_of(split: str, number: int) -> int:
    return 100 * len(split) + number


SETTINGS = BRIEF | {f"recipe.{key}": value for key, value in TINY.items()}


def test_a_run_over_all_phases_resumes_bit_for_bit(data: Path, tmp_path: Path) -> None:
    """From label maps, with features, killed in the last phase and before it."""
    settings = SETTINGS | {"recipe.enhancers": 1, "recipe.global_steps": 3, "recipe.enhancer_steps": 2, "recipe.features": 2}
    settings |= {"train.checkpoint_every": 2, "train.keep": 9}
    train("pix2pixhd", data, tmp_path / "run", overrides=settings)
    train("pix2pixhd", data, tmp_path / "parts", overrides=settings)
    for step in (4, 6, 8):
        (tmp_path / "parts" / "checkpoints" / f"step_0000000{step}.pt").unlink()
    train("pix2pixhd", data, tmp_path / "parts", overrides=settings)
    assert_same_state(state(tmp_path / "run"), state(tmp_path / "parts"))
    assert any("model1_1" in key for key in flat(state(tmp_path / "run")))
    model = load(tmp_path / "run", device="cpu", precision="float32")
    assert model.labels == ("B",) and model.recipe.phase == "all" and model.recipe.picture.taken.classes == CLASSES
    with pytest.raises(ModelError, match="styles of noise, which no picture shows"):
        model.style(like=data / "test" / "B" / "test0.png")
    once, again = (model.translate(data / "test" / "A" / "test0.png", "B", style=1) for _ in range(2))
    assert once.size == (32, 32) and once.mode == "RGB" and once == again


def test_it_learns_from_label_maps(data: Path, tmp_path: Path) -> None:
    """Classes get their colours, at places that training never saw."""
    quick = {"recipe.conv_dim": 8, "recipe.lr": 2e-3, "train.steps": 80, "train.batch_size": 4, "train.ema_kimg": 0}
    train("pix2pixhd", data, tmp_path / "run", overrides=SETTINGS | quick)
    model = load(tmp_path / "run", device="cpu", precision="float32")
    errors, plain = [], []
    for i in range(3):
        ids, wanted = data / "test" / "A" / f"test{i}.png", Image.open(data / "test" / "B" / f"test{i}.png")
        y, target = (
            torch.from_numpy(np.array(picture, np.float32)).permute(2, 0, 1) / 127.5 - 1
            for picture in (model.translate(ids, "B"), wanted)
        )
        errors.append(F.mse_loss(y, target).item())
        plain.append((target - target.mean((1, 2), keepdim=True)).square().mean().item())
    assert np.mean(errors) < 0.3 * np.mean(plain)
