"""pix2pix in training and use: dropout that is a style, one direction, the U-Net's depth, exact resume."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from asterism import load, train
from asterism.config import ConfigError, DataConfig
from asterism.data.batch import Batch
from asterism.data.dataset import open_data
from asterism.data.listing import DataError
from asterism.data.pictures import PictureFormat
from asterism.engine.step import step_generator
from asterism.evaluation import candidates
from asterism.evaluation.evaluate import partners_of
from asterism.evaluation.pictures import Pictures
from asterism.evaluation.protocols import protocol as named
from asterism.labels import LabelError, LabelGroup, LabelSpace
from asterism.machine import Machine
from asterism.networks.pix2pix import Discriminator, Generator, PictureNorm2d
from asterism.networks.sizes import SizeError
from asterism.recipes.pix2pix import Config, Pix2Pix
from asterism.storage.model_file import ModelError
from tests.helpers.discs import COLOURS, draw
from tests.helpers.runs import BRIEF, assert_same_state, state

SPACE = LabelSpace([LabelGroup("pictures", ("A", "B"), "one_of")])
TINY = {"conv_dim": 4, "discriminator_conv_dim": 4, "discriminator_layers": 1}


def tiny(size: int = 64, **settings) -> Pix2Pix:
    torch.manual_seed(0)
    return Pix2Pix(Config(**(TINY | settings)), SPACE, PictureFormat(3, size, size))


def count(network: torch.nn.Module) -> tuple[int, int]:
    """Numbers of parameters, and of tensors with learned values or running statistics but without counts of batches."""
    return sum(p.numel() for p in network.parameters()), len(network.state_dict())


def test_the_paper_networks_are_the_published_ones_in_number_and_kind():
    """unet_256 and unet_128 by the size alone; patches of 70 pixels, and single ones."""
    for side, parameters, tensors, levels in ((256, 54_413_955, 82, 3), (128, 41_828_995, 70, 2)):
        with torch.device("meta"):
            recipe = Pix2Pix(Config(), SPACE, PictureFormat(3, side, side))
        assert count(recipe.generator) == (parameters, tensors)
        assert len(recipe.generator.masks) == levels
        assert count(recipe.discriminator) == (2_768_705, 22)
    assert sum(p.numel() for p in Discriminator(6, layers=0).parameters()) == 9_024
    generator = Generator(3, 3, (64, 64), halvings=6, width=8)
    keys = generator.state_dict().keys()
    assert {"model.model.0.weight", "model.model.1.model.3.model.2.running_var", "model.model.3.bias"} <= keys
    weights = [m.weight for m in generator.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    assert len(weights) == 12 and all(abs(float(w.detach().std()) - 0.02) < 3e-3 for w in weights)


@pytest.mark.parametrize(("layers", "side"), [(0, 1), (1, 16), (3, 70), (5, 286)])
def test_a_logit_sees_a_patch_of_that_side(layers: int, side: int) -> None:
    """The pixels that one logit in the middle depends on (Section 6.1.2)."""
    judge = Discriminator(2, 2, layers).eval()
    x = torch.rand(1, 1, 512, 512, requires_grad=True)
    logits = judge(x, torch.rand(1, 1, 512, 512))
    width = round(logits.shape[1] ** 0.5)
    (gradient,) = torch.autograd.grad(logits[0, width * (width // 2) + width // 2], x)
    rows = gradient[0, 0].abs().sum(1).nonzero()[:, 0]
    assert int(rows.max() - rows.min()) + 1 == side


def test_a_style_is_the_dropout_masks():
    """A latent names a translation; the mean is no dropout; half of the activations fall out, the others count twice."""
    recipe = tiny(128).eval()
    can, told = recipe.abilities, torch.tensor([1])
    assert can.style == can.latent == 4 * 8 * (8 * 8 + 4 * 4) and not can.reads_style
    x = torch.rand(1, 3, 128, 128) * 2 - 1
    z = [torch.randn(1, can.latent, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    with torch.no_grad():
        made = [recipe.translate(x, told, s=recipe.draw_style(one, told)) for one in z]
        assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])
        assert torch.equal(recipe.translate(x, told), recipe.translate(x, told, s=recipe.mean_style(told)))
        assert not torch.equal(recipe.translate(x, told), made[0])
    s = recipe.draw_style(torch.cat(z), told)
    assert set(s.unique().tolist()) == {0.0, 2.0} and abs(float(s.mean()) - 1) < 0.05
    # Each mask acts behind the norm of its own level: kept there, the level's output is what it was, doubled.
    seen = {}
    inner = recipe.generator.model.model[1].model[3].model[3].model[3]  # Depth 4, the first with dropout.
    inner.register_forward_hook(lambda _, __, y: seen.update(out=y))
    inner.model[-1].register_forward_hook(lambda _, __, y: seen.update(norm=y))
    with torch.no_grad():
        recipe.translate(x, told, s=s[:1])
    mask = s[:1, : 4 * 8 * 64].reshape(1, 32, 8, 8)
    assert torch.equal(seen["out"][:, 32:], seen["norm"] * mask)


def test_norms_take_the_statistics_of_training_unless_batches_are_of_one():
    """A picture's mean colour is lost where each is normalised by its own; the published presets, of batches of one, do so."""
    x = torch.rand(1, 3, 64, 64)
    for settings, lost in (({}, False), (Pix2Pix.presets["published"]["recipe"], True)):
        norm = next(m for m in tiny(**settings).eval().modules() if isinstance(m, PictureNorm2d))
        shown = [norm(mean + x[:, :1].expand(-1, norm.num_features, -1, -1)) for mean in (0.0, 1.0)]
        assert torch.allclose(*shown, atol=1e-5) == lost
    assert Pix2Pix.presets["facades"]["train"]["batch_size"] == Pix2Pix.presets["published"]["train"]["batch_size"] == 1


def test_training_draws_masks_by_seed_and_step_and_dropout_can_be_left_out():
    recipe = tiny()
    whole = Batch(labels=torch.tensor([[1.0, 0], [0, 1]]))
    draws = [recipe.prepare(whole, step_generator(0, step, 0))["s"] for step in (3, 3, 4)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2]) and not torch.equal(*draws[0])
    without = tiny(dropout=False)
    assert (without.abilities.style, without.abilities.latent) == (0, 0)
    assert without.prepare(whole, step_generator(0, 0, 0))["s"].shape == (2, 0)


def test_pairs_are_put_in_the_direction_of_translation():
    a, b = torch.zeros(2, 3, 64, 64), torch.ones(2, 3, 64, 64)
    x, x_pair = torch.stack([a[0], b[1]]), torch.stack([b[0], a[1]])
    batch = Batch(x=x, x_pair=x_pair, y=torch.tensor([0, 1]))
    for direction, source, target in (("AtoB", a, b), ("BtoA", b, a)):
        recipe = tiny(direction=direction)
        assert recipe.abilities.targets == (direction[-1],)
        x_src, x_trg = recipe.pair(batch)
        assert torch.equal(x_src, source) and torch.equal(x_trg, target)


def test_adversarial_terms_are_those_of_the_choice():
    logits = torch.randn(3, 5)
    logistic, squares = tiny(), tiny(adversarial="least_squares")
    for wanted, sign in ((1, -1), (0, 1)):
        torch.testing.assert_close(logistic.score(logits, wanted), (1 + (sign * logits).exp()).log().mean(1))
        torch.testing.assert_close(squares.score(logits, wanted), (logits - wanted).square().mean(1))


def test_what_it_cannot_take_is_refused_with_what_it_can():
    one = LabelSpace([LabelGroup("pictures", ("A",), "binary")])
    with pytest.raises(ConfigError, match="Pix2Pix translates between 2 or more domains of one dataset"):
        Pix2Pix(Config(), one, PictureFormat(3, 64, 64))
    with pytest.raises(SizeError, match=r"multiples of 128 \(recipe.num_downs 7\); the nearest is 128x256"):
        Pix2Pix(Config(num_downs=7), SPACE, PictureFormat(3, 96, 256))
    wide = Pix2Pix(Config(**TINY), SPACE, PictureFormat(1, 96, 64)).eval()  # Both sides can be halved five times.
    assert wide.translate(torch.rand(1, 1, 96, 64), torch.tensor([1])).shape == (1, 1, 96, 64)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Green discs, and the same discs in red; discs of one identity have their ground and size in common."""
    root, lines = tmp_path_factory.mktemp("pairs"), ["file,domain,identity,split"]
    for split, number in (("train", 16), ("val", 4), ("test", 4)):
        for i in range(number):
            for name in ("Green", "Red"):
                file = f"{split}_{name}_{i}.png"
                draw(random.Random(f"{split} {i}"), COLOURS[name]).save(root / file)
                lines.append(f"{file},{name},{split}{i},{split}")
    (root / "manifest.csv").write_text("\n".join(lines))
    return root


SETTINGS = BRIEF | {f"recipe.{key}": value for key, value in TINY.items()}


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pix2pix") / "run"
    train("pix2pix", data, out, overrides=SETTINGS)
    return out


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(data: Path, run: Path, tmp_path: Path) -> None:
    """With dropout, whose masks are functions of seed and step."""
    train("pix2pix", data, tmp_path / "parts", overrides=SETTINGS)
    (tmp_path / "parts" / "checkpoints" / "step_00000008.pt").unlink()
    train("pix2pix", data, tmp_path / "parts", overrides=SETTINGS)
    assert_same_state(state(run), state(tmp_path / "parts"))


def test_previews_show_sources_and_samples_of_the_one_target(run: Path) -> None:
    assert json.loads((run / "previews" / "targets.json").read_text()) == ["source", "Red, noise 1", "Red, noise 2"]
    columns, rows = (side // 32 for side in Image.open(run / "previews" / "step_00000008.png").size)
    assert (columns, rows) == (3, 4), "the four green ones of the validation pictures"


def test_a_trained_model_says_where_it_goes_and_takes_seeds_alone(data: Path, run: Path) -> None:
    model = load(run, device="cpu", precision="float32")
    picture = data / "test_Green_0.png"
    assert model.labels == ("Red",)
    with pytest.raises(LabelError, match="no network that translates to Green; it translates to Red"):
        model.translate(picture, "Green")
    with pytest.raises(ModelError, match="styles of noise, which no picture shows"):
        model.translate(picture, "Red", like=picture)
    answers = [np.asarray(model.translate(picture, "Red", **how)) for how in ({"style": 1}, {"style": 1}, {}, {})]
    assert np.array_equal(answers[0], answers[1]) and np.array_equal(answers[2], answers[3])
    off = np.asarray(model.translate(picture, "Red", style=1, truncation=0))
    assert np.array_equal(off, answers[2]), "truncated to the mean, dropout is off"


def test_it_learns_from_pairs(data: Path, tmp_path: Path) -> None:
    """Red discs where green ones were."""
    quick = {"recipe.conv_dim": 8, "recipe.lr": 2e-3, "train.steps": 60, "train.batch_size": 4, "train.ema_kimg": 0}
    train("pix2pix", data, tmp_path / "run", overrides=SETTINGS | quick)
    model = load(tmp_path / "run", device="cpu", precision="float32")
    errors, copied = [], []
    for i in range(4):
        source, wanted = (np.asarray(Image.open(data / f"test_{name}_{i}.png").convert("RGB")) for name in ("Green", "Red"))
        errors.append(np.square(np.asarray(model.translate(source, "Red")).astype(float) - wanted).mean())
        copied.append(np.square(source.astype(float) - wanted).mean())
    assert np.mean(errors) < 0.5 * np.mean(copied)


def test_it_is_measured_in_its_direction_alone(data: Path) -> None:
    """By every protocol: no task leads to the other domain, none back, and none to what a picture is already."""
    opened = open_data(DataConfig(sources=(str(data),), size=(32, 32)))
    sets = [Pictures(held, opened.picture, print) for held in opened.splits["test"]]
    recipe = Pix2Pix(Config(**TINY), opened.space, opened.picture).eval()
    for name in ("stargan", "stargan_v2", "truth", "quick"):
        protocol = named(name)
        tasks = protocol.plan(sets, opened.space, partners_of(sets), recipe, protocol.parameters)
        assert {opened.space.names[task.index] for task in tasks} == {"Red"} and tasks[0].mode in ("label", "latent")
    x = torch.zeros(1, 3, 32, 32)
    generator = candidates.Generator("translated", recipe, Machine.choose("cpu", "float32"), sets, 0)
    assert generator.back(x, x, sets[0].labels[:1], sets[0].labels[:1], 0).isnan().all(), "measures there and back do not apply"


def test_pictures_without_a_partner_are_refused_before_training(data: Path, tmp_path: Path) -> None:
    for path in data.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    lines = (tmp_path / "manifest.csv").read_text().splitlines()
    (tmp_path / "manifest.csv").write_text("\n".join(line for line in lines if "train_Red_3" not in line))
    with pytest.raises(DataError, match=r"without a partner.*: 1 \(.*train_Green_3\.png\)"):
        train("pix2pix", tmp_path, tmp_path / "run", overrides=SETTINGS)
    assert not (tmp_path / "run" / "config.json").exists()
