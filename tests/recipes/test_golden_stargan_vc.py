"""The published StarGAN-VC's numbers, through the real recipe and engine: steps of pairs of speakers in turn, in float64."""

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
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.stargan_vc import Config, StarGANVC, directions
from tests.helpers.recipes import trainer_of

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "stargan_vc"

# Published name of a loss -> ours.
OF_G = {"adv": "adversarial", "cls": "class", "cyc": "cycle", "rec": "identity"}

pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded StarGAN-VC numbers are not beside this checkout")


@pytest.fixture(params=["wgan", "lsgan_src"])
def case(request):
    """The recorded networks, in float64, and everything that was recorded of them."""
    with safe_open(GOLDEN / f"{request.param}_step.safetensors", "pt") as file:
        meta = file.metadata()
    golden = {key: t.double() for key, t in load_file(GOLDEN / f"{request.param}_step.safetensors").items()}
    config = Config(
        conv_dim=int(meta["hdim"]),
        bottleneck=int(meta["zdim"]),
        embedding=int(meta["sdim"]),
        discriminator_conv_dim=int(meta["mdim"]),
        dropout=0.0,
        source_conditioning=meta["src_conditioning"] == "true",
        adversarial=meta["loss_type"],
        class_shared=True,
        penalty_weight=float(meta["w_grad"]),
    )
    assert (config.generator_lr, config.discriminator_lr) == (float(meta["lr_g"]), float(meta["lr_d"]))
    speakers = tuple(f"p{i}" for i in range(int(meta["n_spk"])))
    space = LabelSpace([LabelGroup("voices", speakers, "one_of")])
    recipe = StarGANVC(config, space, PictureFormat(1, int(meta["num_mels"]), 16, -1.0, 1.0, 32)).double()
    for network, short in (("generator", "gen"), ("discriminator", "dis")):
        held = torch.load(GOLDEN / f"{request.param}_0.{short}.ckpt", weights_only=True)["model_state_dict"]
        recipe.networks[network].load_state_dict(held)
    return recipe, golden, json.loads(meta["pairs"])


def pair(recipe: StarGANVC, golden: dict[str, Tensor], number: int, s: int, t: int) -> Batch:
    """The batch of a step: speaker s and speaker t, whose recordings differ in length."""
    x, x_trg = golden[f"x.{s}"][:, None], golden[f"x.{t}"][:, None]
    c_src, c_trg = (torch.eye(recipe.space.num_labels).double()[[who] * len(x)] for who in (s, t))
    known = torch.ones_like(c_src)
    labels = {"labels": c_src, "known": known, "labels_trg": c_trg, "known_trg": known}
    alpha = torch.stack([golden[f"alpha_{who}.{number}"] for who in "st"], 1)
    seeds = torch.zeros(len(x), 12, dtype=torch.int64)
    return Batch(x=x, x_trg=x_trg, c_src=c_src, c_trg=c_trg, alpha=alpha, seeds=seeds, **labels)


def check(mine: Tensor, theirs: Tensor, limit: float) -> None:
    """Compare relative to the largest element."""
    assert mine.dtype == torch.float64
    torch.testing.assert_close(mine.detach().flatten(), theirs.flatten(), rtol=0, atol=limit * float(theirs.abs().max()))


def test_networks_give_the_published_outputs(case):
    recipe, golden, pairs = case
    batch = pair(recipe, golden, 0, *pairs[0])
    with torch.no_grad():
        for letter, ((x, own, *_), (_, other, *_)) in zip("st", directions(batch), strict=True):
            to = "t" if letter == "s" else "s"
            check(recipe.convert(x, own, own), golden[f"out.xf_{letter * 2}"], 1e-5)
            check(x_fake := recipe.convert(x, other, own), golden[f"out.xf_{letter}{to}"], 1e-5)
            if letter == "s":
                check(recipe.convert(x_fake, own, other), golden["out.cycle_s"], 1e-5)
                for kind, frames in (("s", x), ("st", x_fake)):
                    scores, logits = recipe.judge(frames)
                    check(scores, golden[f"out.d_adv_{kind}"], 1e-5)
                    check(logits, golden[f"out.d_cls_{kind}"], 1e-5)


def test_every_step_agrees(case):
    """Losses of every pair's step, and its gradients and weights after the first and the last."""
    recipe, golden, pairs = case
    trainer = trainer_of(recipe)
    trainer.optimizers.set_rates(1.0)
    lr = {"generator": recipe.config.generator_lr, "discriminator": recipe.config.discriminator_lr}
    for number, (s, t) in enumerate(pairs):
        trainer.step = number
        before = {name: p.detach().clone() for name, p in recipe.named_parameters()}
        trainer.train_batch(pair(recipe, golden, number, s, t), len(golden[f"x.{s}"]))
        said = trainer.statistics.drain(Processes())
        share = recipe.class_weight  # Theirs is counted as an average over the speakers.
        for theirs, term in OF_G.items():
            mine = said[f"generator/{term}"] * (share if theirs == "cls" else 1)
            assert mine == pytest.approx(golden[f"g_loss_{theirs}.{number}"].item(), rel=5e-6, abs=1e-7)
        adversarial = said["discriminator/real"] + said["discriminator/fake"]
        assert adversarial == pytest.approx(golden[f"d_loss_adv.{number}"].item(), rel=5e-6, abs=1e-7)
        assert said["discriminator/class"] * share == pytest.approx(golden[f"d_loss_cls.{number}"].item(), rel=5e-6)
        assert said["discriminator/penalty"] == pytest.approx(golden[f"d_loss_gp.{number}"].item(), rel=2e-5)
        if number == 0:
            first_step(recipe, trainer, golden, before, lr)
    for name, letter in (("generator", "g"), ("discriminator", "d")):
        for key, parameter in recipe.networks[name].named_parameters():
            if key.endswith(("weight_v", "le10.weight", "le_adv.weight", "le_cls.weight")):  # Others' steps may be rounding's.
                moved = (parameter.detach() - golden[f"{letter}_after.end.{key}"]).abs()
                assert bool((moved <= 0.02 * len(pairs) * lr[name]).float().mean() > 0.95), key


def first_step(recipe, trainer, golden, before: dict[str, Tensor], lr: dict[str, float]) -> None:
    """Adam's first moment holds a known share of the clipped gradient; and its first step is the sign of that."""
    for name, letter, beta in (("generator", "g", 0.9), ("discriminator", "d", 0.5)):
        moments = trainer.optimizers.state_dict()["adam"][name]["state"]
        clip = min(1.0, 1.0 / float(golden[f"{letter}_grad_norm_before_clip.0"]))
        parameters = dict(recipe.networks[name].named_parameters())
        expected = {key: clip * golden[f"{letter}_grad.0.{key}"] for key in parameters}
        whole = max(float(gradient.abs().max()) for gradient in expected.values())
        for index, (key, parameter) in enumerate(parameters.items()):
            found = moments[index]["exp_avg"].view_as(expected[key]) / (1 - beta)
            torch.testing.assert_close(found, expected[key], rtol=1e-4, atol=5e-5 * whole)
            moved = (parameter.detach() - golden[f"{letter}_after.0.{key}"]).abs()
            steady = expected[key].abs() > 1e-4 * whole  # In front of a norm, biases and lengths of weights have no gradient.
            assert bool((moved[steady] <= 0.01 * lr[name]).all()) and bool((moved <= 2.1 * lr[name]).all()), key
            assert not torch.equal(before[f"{name}.{key}"], parameter.detach())


def test_any_number_of_frames_is_converted_as_published(case):
    """Theirs pads 22 frames to 24 and cuts them off again, which is what a translation of a whole file does."""
    recipe, golden, _ = case
    x, s, t = golden["infer.x"][:, None], 0, recipe.space.num_labels - 1
    c, c_src = (torch.eye(recipe.space.num_labels).double()[who][None] for who in (t, s))
    told = torch.cat([c, c_src], 1) if recipe.config.source_conditioning else c
    padded = torch.nn.functional.pad(x, (0, 2, 0, 0), mode="replicate")
    with torch.no_grad():
        check(recipe.translate(padded, told)[..., :22], golden["infer.y"], 1e-5)
