"""High-pass skips: where they act, and the masks that say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import asterism
from asterism.config import ConfigError
from asterism.networks.face_masks import face_masks
from asterism.networks.fan import FAN, LANDMARKS, chosen_weights, read_weights
from asterism.networks.stargan_v2 import Generator
from asterism.recipes.model import load_model, save_model
from asterism.recipes.settings import Settings
from asterism.recipes.stargan_v2 import StarGANv2
from tests.helpers.masks import OWN, build, fill
from tests.helpers.recipes import COUNT, batch_of, trainer_of

SHAPES = Path(__file__).parents[3] / "shared" / "spec" / "state_dicts.json"


def left_and_right(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks that depend on the picture: where it is bright, in the left half and in the right."""
    bright = (x.mean(1, keepdim=True) > 0).float()
    half = (torch.arange(x.shape[3]) < x.shape[3] // 2).float()
    return bright * half, bright * (1 - half)


# -- sizes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "asked", "act"),
    [
        (256, (), (32, 64, 128)),
        (64, (), (16, 32)),
        (32, (), (16,)),
        (64, (32, 64, 128), (32, 64)),
        (64, (8,), (8,)),
    ],
)
def test_skips_act_at_these_sizes_and_the_first_takes_the_first_mask(size: int, asked: tuple, act: tuple) -> None:
    """Edges of the input reach the output only through the skips; a mask that is zero closes them one by one."""
    torch.manual_seed(0)
    generator = Generator(3, size, 4, capacity=size * 4, max_width=4, high_pass=1.0, skip_sizes=asked)
    seen: list[tuple[int, float]] = []
    plain = generator._edges

    def noted(x: torch.Tensor) -> torch.Tensor:
        seen.append((x.shape[2], float(x.abs().max() > 0)))
        return plain(x)

    generator._edges = noted
    x, s = torch.randn(1, 3, size, size), torch.randn(1, 4)
    ones, zeros = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    for masks, first, others in (((ones, zeros), 1.0, 0.0), ((zeros, ones), 0.0, 1.0)):
        seen.clear()
        with torch.no_grad():
            generator(x, s, masks)
        opened = dict(seen)
        assert tuple(opened) == act
        assert opened == {side: (first if side == min(asked or act) else others) for side in act}


def test_skip_sizes_are_part_of_the_configuration() -> None:
    words = Settings.resolve("stargan_v2", ["pets"], None, {"recipe.high_pass": "1", "recipe.skip_sizes": "16,32"})
    assert words.recipe.skip_sizes == (16, 32)
    older = words.to_json() | {"recipe": {k: v for k, v in words.to_json()["recipe"].items() if k not in ("masks", "fan")}}
    assert words.changed_since(older) == [], "a run of a version that had no such keys can be resumed"
    assert build(64, skip_sizes=(8, 32)).generator.skip_sizes == (8, 32)
    assert StarGANv2.presets["celeba_hq"]["recipe"]["skip_sizes"] == (32, 64, 128)
    with pytest.raises(ConfigError, match="none of them is a size of the generator's features, which are 8, 16, 32 at 32 px"):
        build(32, skip_sizes=(64, 128))
    with pytest.raises(ConfigError, match="smallest first"):
        build(32, skip_sizes=(16, 8))
    with pytest.raises(ConfigError, match="needs high-pass skips"):
        build(32, high_pass=0.0, masks="face")
    with pytest.raises(ConfigError, match="RGB"):
        build(32, channels=1, masks="face")


# -- masks -------------------------------------------------------------------------------------------------------------


def test_masks_follow_the_picture_and_those_of_the_fake_are_made_anew() -> None:
    """Once for the sources of a step and once for what each generator update makes of them; never with a gradient."""
    recipe, looked = build(masks="given"), []

    def masks(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        looked.append(x.clone())
        assert not torch.is_grad_enabled()
        return left_and_right(x)

    recipe.mask_by(masks)
    batch = batch_of(recipe)
    trainer = trainer_of(recipe)
    observed = batch.extend(**recipe.observe(batch))
    assert len(looked) == 1 and torch.equal(observed.mask_face, left_and_right(batch.x)[0])
    for update in recipe.updates:
        trainer.apply(update, observed, COUNT, torch.zeros(()))
    assert len(looked) == 3 and not torch.equal(looked[1], batch.x)
    with torch.no_grad():
        x_fake = recipe.generator(batch.x, recipe.mapping_network(batch.z_trg, batch.y_trg), left_and_right(batch.x))
    assert looked[1].shape == x_fake.shape


def test_the_cycle_goes_through_the_masks_of_the_fake() -> None:
    recipe = build(masks="given").double()
    recipe.mask_by(left_and_right)
    batch = batch_of(recipe)
    batch = batch.extend(**recipe.observe(batch))
    with torch.no_grad():
        cycle = recipe.generator_latent_terms(batch, torch.zeros(()))["cycle"][1]
        x_fake = recipe.generator(batch.x, recipe.mapping_network(batch.z_trg, batch.y_trg), left_and_right(batch.x))
        s = recipe.style_encoder(batch.x, batch.y_src)
        anew, old = (recipe.generator(x_fake, s, left_and_right(x)) for x in (x_fake, batch.x))
    torch.testing.assert_close(cycle, (anew - batch.x).abs().mean((1, 2, 3)))
    assert not torch.allclose(cycle, (old - batch.x).abs().mean((1, 2, 3)), atol=1e-5)


def test_without_masks_a_model_that_needs_them_says_so(tmp_path: Path) -> None:
    recipe = build(masks="given")
    save_model(tmp_path / "m.safetensors", recipe, "stargan_v2", recipe.state_dict(), info={})
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    with pytest.raises(ConfigError, match=r"load\(..., masks=function\), or translate --masks DIR"):
        asterism.load(tmp_path / "m.safetensors", "cpu", "float32").translate(x, "red")
    given = asterism.load(tmp_path / "m.safetensors", "cpu", "float32", masks=left_and_right).translate(x, "red")
    ones = asterism.load(tmp_path / "m.safetensors", "cpu", "float32", masks=lambda x: (x[:, :1] * 0 + 1,) * 2)
    assert not torch.allclose(given, ones.translate(x, "red"), atol=1e-5)
    with pytest.raises(ConfigError, match="train from Python"):
        recipe.begin(new=True)
    plain = build(high_pass=0.0)
    save_model(tmp_path / "p.safetensors", plain, "stargan_v2", plain.state_dict(), info={})
    with pytest.raises(ConfigError, match="no high-pass skips"):
        asterism.load(tmp_path / "p.safetensors", "cpu", masks=left_and_right)


def test_a_run_trains_with_masks_from_a_function_and_resumes(shapes_dir: Path, tmp_path: Path) -> None:
    keys = {f"recipe.{k}": v for k, v in (OWN | {"masks": "given"}).items()}
    keys |= {"data.size": 32, "train.batch_size": 8, "train.steps": 1, "data.workers": 0, "train.precision": "float32"}
    calls = []

    def masks(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(len(x))
        return left_and_right(x)

    args = ("stargan_v2", shapes_dir, tmp_path / "run")
    with pytest.raises(ConfigError, match="train from Python"):
        asterism.train(*args, overrides=keys)
    assert not (tmp_path / "run").exists()
    asterism.train(*args, overrides=keys, masks=masks)
    assert len(calls) >= 3
    outcome = asterism.train(*args, overrides=keys | {"train.steps": 2}, masks=masks)
    assert outcome.step == 2


# -- the landmark network ----------------------------------------------------------------------------------------------


def test_the_landmark_network_has_the_published_keys_and_shapes() -> None:
    fan = FAN()
    assert len(fan.state_dict()) == 336 and sum(p.numel() for p in fan.parameters()) == 6_333_603
    assert not fan.loaded and not any(p.requires_grad for p in fan.parameters()) and not fan.train().bn1.training
    if SHAPES.exists():
        published = json.loads(SHAPES.read_text())["stargan_v2_celeba_hq_256"]["100000_nets_ema.ckpt"]
        wanted = {k.removeprefix("fan/"): shape for k, shape in published.items() if k.startswith("fan/")}
        assert {k: list(t.shape) for k, t in fan.state_dict().items()} == wanted
        assert list(fan.state_dict()) == list(wanted), "in the published order"


def test_a_file_of_landmark_weights_is_read_strictly(tmp_path: Path) -> None:
    weights = dict(fill(FAN()).state_dict())
    further = {"m1.b1_1.conv1.weight": torch.zeros(1), "bl0.weight": torch.zeros(1)}
    old = {k: t for k, t in weights.items() if "num_batches" not in k}
    for held in (
        weights,
        {"state_dict": weights | further},
        {"generator": {}, "fan": {f"module.{k}": t for k, t in old.items()}},
    ):
        torch.save(held, tmp_path / "wing.ckpt")
        fan = FAN()
        fan.load_state_dict(read_weights(tmp_path / "wing.ckpt"))
        assert fan.loaded and torch.equal(fan.l0.weight, weights["l0.weight"])
    for wrong in ({"l0.bias": None}, {"m0.b4_1.conv1.weight": torch.zeros(1)}, {"l0.bias": torch.zeros(68)}):
        bad = {k: t for k, t in (weights | wrong).items() if t is not None}
        with pytest.raises(ValueError, match=f"does not hold the landmark network: {next(iter(wrong))}"):
            chosen_weights(bad)
    (tmp_path / "page.ckpt").write_text("<html>")
    with pytest.raises(ConfigError, match="recipe.fan .*page.ckpt"):
        build(masks="face", fan=str(tmp_path / "page.ckpt")).begin(new=True)
    with pytest.raises(ConfigError, match="--recipe.fan FILE"):
        build(masks="face").begin(new=True)


def test_a_model_with_face_masks_needs_no_other_file(tmp_path: Path) -> None:
    torch.save(fill(FAN()).state_dict(), tmp_path / "wing.ckpt")
    recipe = build(masks="face", fan=str(tmp_path / "wing.ckpt"))
    recipe.begin(new=True)
    save_model(tmp_path / "m.safetensors", recipe, "stargan_v2", recipe.state_dict(), info={})
    (tmp_path / "wing.ckpt").unlink()
    model = load_model(tmp_path / "m.safetensors")
    for key, tensor in recipe.fan.state_dict().items():
        assert torch.equal(model.recipe.fan.state_dict()[key], tensor), "kept exactly"
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    y = torch.zeros(2, dtype=torch.long)
    with torch.no_grad():
        face, core = face_masks(recipe.fan(x))
        expected = recipe.eval().generator(x, recipe.mean_style(y), (face, core))
        assert torch.equal(model.recipe.translate(x, y), expected)


def test_masks_of_a_face_follow_the_recipe_of_the_parts() -> None:
    """One landmark at a time, against the table: how far up its blob moves, how it is sharpened, and in which masks."""
    y, x = torch.meshgrid(*[torch.arange(64, dtype=torch.float64)] * 2, indexing="ij")
    blob = torch.exp(-((y - 30) ** 2 + (x - 30) ** 2) / 8)

    def masks_of(landmark: int) -> tuple[torch.Tensor, torch.Tensor]:
        maps = torch.zeros(1, LANDMARKS, 64, 64, dtype=torch.float64)
        maps[0, landmark] = blob
        return face_masks(maps)

    def expected(moves: list[tuple[int, int]]) -> torch.Tensor:
        big = F.interpolate(blob[None, None], size=(256, 256), mode="bilinear", align_corners=True)
        big = torch.where(big < 0.1, 0.0, big)
        big = big / big.max()
        total = torch.zeros_like(big)
        for up, power in moves:
            moved = torch.zeros_like(big)
            if up >= 0:
                moved[:, :, : 256 - up] = big[:, :, up:]
            else:
                moved[:, :, -up:] = big[:, :, :up]
            total += moved**power
        return total.clamp(0, 1)

    table = {20: [(0, 3)], 40: [(-7, 2)], 51: [(0, 1)], 53: [(4, 1)], 57: [(8, 4)], 70: [(-8, 3), (-24, 1)], 79: [(-8, 4)]}
    table |= {85: [(8, 4)], 92: [(-2, 3)], 97: [(0, 1)], 3: [], 30: [], 33: [], 46: [], 76: [], 82: []}
    for landmark, moves in table.items():
        face, core = masks_of(landmark)
        torch.testing.assert_close(face, expected(moves), rtol=0, atol=1e-5)  # The range is enlarged by 1e-6.
        coarse_only = landmark in range(8, 25) or landmark in range(33, 51) or landmark in range(76, 96)
        torch.testing.assert_close(core, torch.zeros_like(face) if coarse_only else face)
    broken = torch.full((1, LANDMARKS, 64, 64), torch.nan)
    assert all(torch.equal(m, torch.zeros_like(m)) for m in face_masks(broken))


def test_the_landmark_network_is_neither_trained_nor_averaged() -> None:
    recipe = build(masks="face")
    fill(recipe.fan)
    trainer = trainer_of(recipe, ema_kimg=1)
    before = {k: t.clone() for k, t in recipe.fan.state_dict().items()}
    batch = batch_of(recipe, count=1)
    with torch.no_grad():
        batch = batch.extend(**recipe.observe(batch))
    for update in recipe.updates:
        trainer.apply(update, batch, 1, torch.zeros(()))
    assert trainer.optimizers.skipped.item() == 0
    assert all(torch.equal(t, before[k]) for k, t in recipe.fan.state_dict().items())
    assert not any(k.startswith("fan") for k in trainer.average.weights)
    assert isinstance(recipe.networks["fan"], nn.Module)
