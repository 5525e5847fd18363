"""The published RelGAN's numbers, through the real recipe and engine: a discriminator step, a generator step, float64.

Two recordings: the authors' Keras graph, which decides, and their PyTorch port with the sign of v put right.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.engine.distributed import Processes
from asterism.inference.published.relgan import from_keras
from asterism.labels import LabelSpace
from asterism.recipes.relgan import Config, RelGAN
from tests.helpers.recipes import trainer_of

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "relgan"
SPACE = LabelSpace.from_text("A,B,C,D,E")
LR = 5e-5

pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded RelGAN numbers are not in the repository")


def numbers(case: str) -> dict[str, Tensor]:
    return {key: t.double() for key, t in load_file(GOLDEN / f"{case}_step.safetensors").items()}


def settings(case: str) -> dict:
    with safe_open(GOLDEN / f"{case}_step.safetensors", "pt") as file:
        return json.loads(file.metadata()["hyper"])


def batch_of(golden: dict[str, Tensor], **draws: Tensor) -> Batch:
    """The recorded batch, as the engine has it: channels last, with v made by the recipe's own `prepare`."""
    count = len(golden["att_a"])
    ones, draw = torch.ones(count, 5), torch.Generator().manual_seed(0)
    labels = {f"labels{end}": golden[f"att_{key}"].float() for key, end in (("a", ""), ("b", "_b"), ("c", "_c"))}
    whole = Batch(**labels, known=ones, known_b=ones, known_c=ones, dataset=torch.zeros(count, dtype=torch.long))
    made = whole.extend(**RelGAN.prepare(recipe_for_labels(), whole, draw)).to("cpu", torch.float64)
    for name in ("v_ab", "v_ac", "v_cb"):
        assert torch.equal(getattr(made, name), golden[name]), "v is the target's labels less the source's"
    pictures = {f"x{end}": golden[f"img_{key}"] for key, end in (("a", ""), ("b", "_b"), ("c", "_c"))}
    return made.extend(**{name: x.contiguous(memory_format=torch.channels_last) for name, x in pictures.items()}, **draws)


def recipe_for_labels() -> RelGAN:
    return RelGAN(Config(conv_dim=1, num_blocks=0, discriminator_widths=(1,)), SPACE, PictureFormat(3, 4, 4))


def close(mine: Tensor, theirs: Tensor, limit: float, least: float = 0.0) -> None:
    """Compare relative to the largest element; `least` is what counts as one at the least."""
    assert mine.dtype == torch.float64
    atol = limit * max(float(theirs.abs().max()), least)
    torch.testing.assert_close(mine.detach().flatten(), theirs.flatten(), rtol=0, atol=atol)


def gradients(recipe: RelGAN, trainer, name: str) -> dict[str, Tensor]:
    """Adam's first moment after one step holds half of the gradient."""
    moments = trainer.optimizers.state_dict()["adam"][name]["state"]
    named = recipe.networks[name].named_parameters()
    return {key: 2 * moments[index]["exp_avg"].reshape(p.shape) for index, (key, p) in enumerate(named)}


def check_gradients(mine: dict[str, Tensor], golden: dict[str, Tensor], prefix: str) -> int:
    """Compare whole small tensors, and sum, norm and first element of large ones; return how many were compared."""
    largest, seen = max(float(g.norm()) for g in mine.values()), 0
    for key, g in mine.items():
        if f"{prefix}.{key}" in golden:
            close(g, golden[f"{prefix}.{key}"], 5e-5, least=1e-4 * largest)
        else:
            three = golden[f"{prefix}3.{key}"]
            norm = float(three[1])
            assert abs(float(g.norm()) - norm) <= 5e-5 * max(norm, 1e-4 * largest)
            assert abs(float(g.sum()) - float(three[0])) <= 5e-5 * max(norm * g.numel() ** 0.5, 1e-4 * largest)
            assert abs(float(g.flatten()[0]) - float(three[2])) <= 5e-5 * max(float(g.abs().max()), 1e-4 * largest)
        seen += 1
    return seen


# -- the port ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def port():
    golden, hyper = numbers("celeba5"), settings("celeba5")
    weights = torch.load(GOLDEN / "celeba5_weights.1999.pth", weights_only=True)
    config = Config(
        conv_dim=hyper["w"],
        num_blocks=hyper["repeat_G"],
        discriminator_widths=tuple(hyper["filters"]),
        interpolation_channels=16,
        port=True,
        interpolation_weight=hyper["l3"],
        reconstruction_weight=hyper["l1"],
        zero_weight=hyper["l2"],
        orthogonal_weight=0.0,
    )
    recipe = RelGAN(config, SPACE, PictureFormat(3, 64, 64))
    recipe.generator.load_state_dict(weights["G"])
    recipe.discriminator.load_state_dict(weights["D"])
    recipe.double().to(memory_format=torch.channels_last)
    return recipe, trainer_of(recipe, batch_size=3), golden


def test_the_ports_step(port):
    recipe, trainer, golden = port
    assert (Config().generator_lr, Config().penalty_weight) == (LR, 150)
    draws = {"strength": golden["d_strength"], "alpha": golden["d_alpha"]}
    batch = batch_of(golden, **draws)
    trainer.apply(recipe.updates[0], batch, 3, torch.zeros(()))
    said = trainer.statistics.drain(Processes())
    matches = {"real": "real", "fake": "fake", "source": "wrong_source", "target": "wrong_target"}
    matches |= {"ac": "wrong_vec_ac", "cb": "wrong_vec_cb"}
    for ours, theirs in matches.items():
        assert said[f"discriminator/match_{ours}"] == pytest.approx(golden[f"d_loss_match.{theirs}"].item(), rel=2e-6)
    pairs = {
        "src": said["discriminator/real"] + said["discriminator/fake"],
        "interp": said["discriminator/interpolation"] + said["discriminator/interpolation_ends"],
        "gp": said["discriminator/penalty"],
    }
    for theirs, mine in pairs.items():
        assert mine == pytest.approx(golden[f"d_loss_{theirs}"].item(), rel=3e-6)
    assert check_gradients(gradients(recipe, trainer, "discriminator"), golden, "d_grad") == 18
    with torch.no_grad():
        close(recipe.generator(batch.x, batch.v_ab), golden["x_fake"], 1e-5)
        close(recipe.generator(batch.x, 0 * batch.v_ab), golden["x_zero"], 1e-5)
        close(recipe.generator(golden["x_fake"], -batch.v_ab), golden["x_rec"], 1e-5)
    batch = batch.extend(strength=golden["g_strength"])
    real = recipe.discriminator.features(torch.cat([batch.x, batch.x_b])).chunk(2)
    trainer.apply(recipe.updates[1], batch, 3, torch.zeros(()))
    said = trainer.statistics.drain(Processes())
    of_real = recipe.discriminator.real(real[1]).square().mean().item()  # Constant terms of the published generator's loss.
    of_match = recipe.discriminator.match(*real, batch.v_ab).square().mean().item()
    assert said["generator/fake"] + of_real == pytest.approx(golden["g_loss_src"].item(), rel=3e-6)
    assert said["generator/match"] + of_match == pytest.approx(golden["g_loss_match"].item(), rel=3e-6)
    assert said["generator/interpolation"] == pytest.approx(golden["g_loss_interp"].item(), rel=3e-6)
    back = 10 * said["generator/reconstruction"] + 10 * said["generator/zero"]
    assert back == pytest.approx(golden["g_loss_rec_weighted"].item(), rel=3e-6)
    assert check_gradients(gradients(recipe, trainer, "generator"), golden, "g_grad") == 56


def test_the_ports_pictures_in_use(port):
    recipe, _, golden = port
    recipe.eval()
    batch = batch_of(golden)
    target = Batch(labels=golden["att_b"], known=torch.ones_like(golden["att_b"]), dataset=batch.dataset)
    told = recipe.condition(target, golden["att_a"])
    with torch.no_grad():
        close(recipe.translate(batch.x, told), golden["eval.x_fake"], 1e-5)


# -- the authors' Keras code ---------------------------------------------------------------------------------------------


def keras(batch_statistics: bool):
    golden = numbers("keras5")
    for key in "abc":
        golden[f"img_{key}"] = golden[f"img_{key}_small"].repeat_interleave(4, 2).repeat_interleave(4, 3)
    held = load_file(GOLDEN / "keras5_weights.safetensors")
    case = {part: {k[2:]: t for k, t in held.items() if k.startswith(f"{part}.")} for part in "GD"}
    config = Config(
        conv_dim=4,
        discriminator_widths=(4, 6, 8, 10, 12, 16),
        interpolation_channels=6,
        batch_statistics=batch_statistics,
        orthogonal_weight=0.0,
    )
    recipe = RelGAN(config, SPACE, PictureFormat(3, 128, 128))
    recipe.generator.load_state_dict(from_keras(case["G"]))
    recipe.discriminator.load_state_dict(from_keras(case["D"]))
    recipe.double().to(memory_format=torch.channels_last)
    count = len(golden["att_a"])
    draws = {"strength": golden["strength"][:, None], "alpha": golden["alpha"].expand(count).reshape(count, 1, 1, 1)}
    return recipe, trainer_of(recipe, batch_size=count), batch_of(golden, **draws), golden


def in_keras(name: str, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return gradients under the names and in the layout of the Keras layers."""
    held = load_file(GOLDEN / "keras5_weights.safetensors")
    part = {k[2:]: t for k, t in held.items() if k.startswith(f"{name[0].upper()}.")}
    result = {}
    for key, ours in zip(part, from_keras(part), strict=True):
        if ours in gradients:
            g = gradients[ours]
            result[key] = g.permute(2, 3, 1, 0) if key.endswith("kernel") else g.reshape(part[key].shape)
    return result


def test_the_keras_step_in_its_inference_phase():
    """As the published training runs: the norm's batch part is a constant, and samples do not meet."""
    recipe, trainer, batch, golden = keras(batch_statistics=False)
    assert not recipe.coupled
    count, patches = 2, 4
    with torch.no_grad():
        close(recipe.generator(batch.x, batch.v_ab), golden["x_fake"], 2e-5)
        shared = recipe.share(batch)
        close(shared["x_part"][:, :, ::8, ::8], golden["x_partial_stride8"], 2e-5)
        close(shared["x_zero"][:, :, ::8, ::8], golden["x_zero_stride8"], 2e-5)
        terms = {key: float(value.mean()) for key, (_, value) in recipe.generator_terms(batch, torch.zeros(())).items()}
        real = recipe.discriminator.features(torch.cat([batch.x, batch.x_b])).chunk(2)
        of_real = float(recipe.discriminator.real(real[1]).square().mean())
        of_match = float(recipe.discriminator.match(*real, batch.v_ab).square().mean())
    for theirs, mine in {
        "src": terms["fake"] + of_real,
        "match": terms["match"] + of_match,
        "interp": terms["interpolation"],
        "rec_weighted": 10 * terms["reconstruction"] + 10 * terms["zero"],
    }.items():
        assert mine == pytest.approx(golden[f"g_loss_{theirs}"].item(), rel=5e-6), theirs
    trainer.apply(recipe.updates[0], batch, count, torch.zeros(()))
    said = trainer.statistics.drain(Processes())
    d = {key.partition("/")[2]: value for key, value in said.items()}
    assert d["real"] + d["fake"] == pytest.approx(golden["d_loss_src"].item(), rel=5e-6)
    matches = sum(value for key, value in d.items() if key.startswith("match_"))
    assert matches == pytest.approx(golden["d_loss_match"].item(), rel=5e-6)
    degrees = d["interpolation"] + d["interpolation_ends"]
    assert degrees == pytest.approx(golden["intended.d_loss_interp"].item(), rel=5e-6)
    assert d["penalty"] == pytest.approx(golden["d_loss_gp.src"].item(), rel=2e-5)
    assert d["penalty_interpolation"] == pytest.approx(golden["d_loss_gp.interp"].item(), rel=2e-5)
    summed = {key: count * patches * g for key, g in gradients(recipe, trainer, "discriminator").items()}
    recipe, trainer, *_ = keras(batch_statistics=False)
    for key, g in slip(recipe, batch).items():
        summed[key] = summed[key] + count * patches * g
    assert check_gradients(in_keras("discriminator", summed), golden, "d_grad_sum") == 20
    with torch.no_grad():
        for key, p in recipe.discriminator.named_parameters():  # Keras' Adam, whose epsilon is outside of the correction.
            p -= LR * 0.001**0.5 / 0.5 * 0.5 * summed[key] / ((0.001 * summed[key].square()).sqrt() + 1e-7)
    trainer.apply(recipe.updates[1], batch, count, torch.zeros(()))
    said = trainer.statistics.drain(Processes())
    assert said["generator/interpolation"] == pytest.approx(golden["stepped_d.g_loss_interp"].item(), rel=5e-6)
    moved = {key: count * patches * g for key, g in gradients(recipe, trainer, "generator").items()}
    # The recording is float32, and this gradient changes by 0.3 % where a few activations within 3e-6 of 0 change their sign.
    theirs = in_keras("generator", moved)
    whole = [key for key in theirs if f"g_grad_sum.{key}" in golden]
    mine = torch.cat([theirs[key].flatten() for key in whole])
    recorded = torch.cat([golden[f"g_grad_sum.{key}"].flatten() for key in whole])
    assert len(whole) == 89 and float((mine - recorded).norm()) <= 5e-3 * float(recorded.norm())
    for key in theirs.keys() - set(whole):
        assert float(theirs[key].norm()) == pytest.approx(golden[f"g_grad_sum3.{key}"][1].item(), rel=1e-2), key


def slip(recipe: RelGAN, batch: Batch) -> dict[str, Tensor]:
    """What the published slip adds to the discriminator's gradient: the wanted degree runs along the map's width."""
    with torch.no_grad():
        x_part = recipe.share(batch)["x_part"]
    degrees = recipe.discriminator.degree(recipe.discriminator.features(x_part)).reshape(2, 2, 2)
    wanted = torch.minimum(batch.strength, 1 - batch.strength)[:, 0]
    along_width = (wanted[None, None, :] - degrees).square().mean()
    per_sample = (wanted[:, None, None] - degrees).square().mean()
    named = dict(recipe.discriminator.named_parameters())
    found = torch.autograd.grad(10 * (along_width - per_sample), list(named.values()), allow_unused=True)
    return {key: g for key, g in zip(named, found, strict=True) if g is not None}


def test_the_keras_step_in_its_training_phase():
    """With batch statistics, as the paper's norm has them."""
    recipe, trainer, batch, golden = keras(batch_statistics=True)
    with torch.no_grad():
        close(recipe.generator(batch.x, batch.v_ab)[:, :, ::4, ::4], golden["train.x_fake_stride4"], 2e-5)
        terms = {key: float(value.mean()) for key, (_, value) in recipe.generator_terms(batch, torch.zeros(())).items()}
    back = 10 * terms["reconstruction"] + 10 * terms["zero"]
    assert back == pytest.approx(golden["train.g_loss_rec_weighted"].item(), rel=5e-6)
    assert terms["interpolation"] == pytest.approx(golden["train.g_loss_interp"].item(), rel=5e-6)
    trainer.apply(recipe.updates[0], batch, 2, torch.zeros(()))
    said = trainer.statistics.drain(Processes())
    d = {key.partition("/")[2]: value for key, value in said.items()}
    assert d["real"] + d["fake"] == pytest.approx(golden["train.d_loss_src"].item(), rel=5e-6)
    assert d["penalty"] + d["penalty_interpolation"] == pytest.approx(golden["train.d_loss_gp"].item(), rel=2e-5)
