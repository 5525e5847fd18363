"""The authors' numbers of STGAN and AttGAN, and AttGAN-PyTorch's, through the real recipes and engine, in float64.

Recorded is one discriminator step, then one generator step, on one batch. Weights come in by the importers.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from asterism.config import build
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.engine.distributed import Processes
from asterism.inference.published.layouts import layout
from asterism.inference.published.stgan import in_our_layout, key_of
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes import recipe_class
from asterism.recipes.base import Adam
from tests.helpers.recipes import trainer_of

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
CASES = {
    "stgan": ("stgan", "official5", "official5_Epoch_(199)_(947of947).ckpt.index"),
    "attgan": ("attgan", "official6", "official6_Epoch_(199)_(947of947).ckpt.index"),
    "attgan-pytorch": ("attgan", "celeba", "celeba_full.0.pth"),
}
EPS = 1e-8 / (1 - 0.999) ** 0.5
"""TensorFlow adds Adam's epsilon before the moments are corrected: at the first step, this much after it."""

pytestmark = pytest.mark.skipif(not (GOLDEN / "stgan").exists(), reason="the recorded numbers are not beside this checkout")


@pytest.fixture(params=CASES)
def case(request):
    name, stem, file = CASES[request.param]
    golden = {key: t.double() for key, t in load_file(GOLDEN / name / f"{stem}_step.safetensors").items()}
    with safe_open(GOLDEN / name / f"{stem}_step.safetensors", "pt") as opened:
        official = "TensorFlow" in opened.metadata()["source"]
        assert opened.metadata()["total_g"] == "adv + 10 cls + 100 rec"
    labels = golden["att_b"].shape[1]
    space = LabelSpace([LabelGroup("faces", tuple(f"a{i}" for i in range(labels)), "binary")])
    found = layout(name).read([GOLDEN / name / file], space, None)
    kind = recipe_class(name)
    recipe = kind(build(kind.config_type, found.config), space, PictureFormat(3, *found.size))
    for network, (_, weights) in found.networks.items():
        recipe.networks[network].load_state_dict(weights)
    recipe.double()
    if official:
        recipe.optimizers = lambda: dict.fromkeys(("generator", "discriminator"), Adam(2e-4, eps=EPS))
    known = torch.ones_like(golden["att_a"])
    whole = {"known": known, "dataset": torch.zeros(len(known), dtype=torch.long)}
    source, target = (Batch(labels=golden[key], **whole) for key in ("att_a", "att_b"))
    told = recipe.condition(target, source.labels)
    if name == "stgan":
        codes = {"v": told}
    else:
        codes = {"c_src": recipe.code(source.labels, known), "c_trg": recipe.code(target.labels, known)}
    batch = source.extend(x=golden["x_real"], labels_trg=target.labels, known_trg=known, alpha=golden["alpha"], **codes)
    return recipe, batch, told, golden, official


def close(mine: Tensor, theirs: Tensor, relative: float, absolute: float = 0.0) -> None:
    torch.testing.assert_close(mine.detach().double().flatten(), theirs.flatten(), rtol=relative, atol=absolute)


def test_networks_give_the_published_outputs(case):
    recipe, batch, told, golden, official = case
    with torch.no_grad():
        close(recipe.generator.train()(batch.x, batch.v if "v" in batch else batch.c_trg), golden["x_fake"], 1e-5, 2e-6)
        scores, logits = recipe.discriminator(batch.x)
        close(scores, golden["d_real_adv"], 1e-5, 1e-6)
        close(logits, golden["d_real_att"], 1e-5, 1e-6)
        recipe.eval()
        # With running statistics: near-zero variances of random weights enlarge the rounding of their float32.
        close(recipe.translate(batch.x, told), golden["eval.x_fake"], 0, 5e-5)
        if official and "stu_0" in golden:
            features = recipe.generator.train().encode(batch.x)
            passed = recipe.generator.transfer(features[-1], features[-2::-1], batch.v)
            close(passed[0], golden["stu_deepest"], 1e-5, 1e-6)
            close(passed[-1], golden["stu_0"], 1e-5, 1e-6)


def test_a_strength_is_the_published_one(case):
    """Their `test_int` scales what the code says of a label; ours goes from the picture's own labels to the target's."""
    recipe, batch, _, golden, official = case
    if official:
        pytest.skip("recorded of AttGAN-PyTorch alone")
    wanted = golden["eval.att_strength2"]
    changed = wanted.abs() > 0.75
    assert changed.any() and torch.equal(wanted[~changed].abs(), torch.full_like(wanted[~changed], 0.5))
    recipe.eval()
    with torch.no_grad():
        close(recipe.translate(batch.x, wanted + 0.5), golden["eval.x_fake_strength2"], 0, 5e-5)


def test_a_training_step_agrees(case):
    recipe, batch, _, golden, official = case
    trainer = trainer_of(recipe)
    for update in recipe.updates:
        trainer.apply(update, batch, len(batch), torch.zeros(()))
    terms = {name: torch.tensor(value, dtype=torch.float64) for name, value in trainer.statistics.drain(Processes()).items()}
    rec = "identity_zero" if "v" in batch else "identity_same"
    assert set(terms) == {
        *(f"discriminator/{term}" for term in ("real", "fake", "class", "penalty")),
        *(f"generator/{term}" for term in ("fake", "class", rec)),
    }
    close(terms["discriminator/real"] + terms["discriminator/fake"], golden["d_loss_adv"], 5e-6, 1e-6)
    close(terms["discriminator/class"], golden["d_loss_cls"], 2e-6)
    close(terms["discriminator/penalty"], golden["d_loss_gp"], 5e-6)
    close(terms["generator/fake"], golden["g_loss_adv"], 1e-5, 1e-6)
    close(terms["generator/class"], golden["g_loss_cls"], 5e-6)
    close(terms[f"generator/{rec}"], golden["g_loss_rec"], 2e-6)
    for letter, network in (("d", "discriminator"), ("g", "generator")):
        check_step(recipe, trainer, golden, letter, network, official)


def check_step(recipe, trainer, golden, letter: str, network: str, official: bool) -> None:
    """Gradients (Adam's first moment holds half of them, beta1 being 0.5) and weights after the step.

    The generator's come through a discriminator whose step, the sign of its gradient, was rounded where that is near zero.
    """
    limit = 5e-4 if network == "generator" else 5e-5
    moments = trainer.optimizers.state_dict()["adam"][network]["state"]
    state = dict(recipe.networks[network].named_parameters())
    gradients = {key: 2 * moments[index]["exp_avg"].detach() for index, key in enumerate(state)}
    largest = max(float(g.abs().max()) for g in gradients.values())
    side = recipe.picture.height >> recipe.config.discriminator_layers
    compared = set()
    for name, theirs in golden.items():
        kind, _, name = name.partition(".")
        key = key_of(name) if official else name
        if key not in state or kind not in (f"{letter}_grad", f"{letter}_grad3", f"{letter}_after"):
            continue
        compared.add(key)
        gradient = gradients[key]
        if kind.endswith("grad3"):
            # Sum, norm, first element; sum and first element are those of any layout but a dense layer's of maps.
            mine = torch.stack([gradient.sum(), gradient.norm(), gradient.flatten()[0]])
            close(mine, theirs, 2 * limit, 2 * limit * float(gradient.norm()) + 1e-7 * largest)
            continue
        maps = (side, side) if ".0.layers.0" in key and key.startswith("fc_") else (1, 1)
        theirs = in_our_layout(theirs, maps) if official else theirs
        if kind.endswith("grad"):
            close(gradient, theirs, 0, limit * float(theirs.abs().max()) + 1e-7 * largest)
        else:
            steady = gradient.abs() > 1e-3 * float(gradient.abs().max())  # Rounding decides the signs of the others.
            close(state[key][steady], theirs[steady], 2e-6, 2e-7)
    assert compared == (set(state) if any(key.startswith(f"{letter}_grad.") for key in golden) else set())
