"""The published SemiStarGAN's numbers, through the real recipe and engine, in float64: one step of both phases."""

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
from asterism.inference.published import semistargan as layout
from asterism.labels import LabelGroup, LabelSpace
from asterism.networks import semistargan as networks
from asterism.recipes.semistargan import PASSES, Config, SemiStarGAN
from tests.helpers.recipes import trainer_of

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "semistargan"
STEP = GOLDEN / "hair3_step.safetensors"
LATE = 6000

pytestmark = pytest.mark.skipif(not STEP.exists(), reason="the recorded numbers are not beside this checkout")


@pytest.fixture
def case(monkeypatch):
    monkeypatch.setattr(networks, "NOISE", 0.0)  # Switched off for the recording, as is dropout.
    monkeypatch.setattr(networks, "RATE", 0.0)
    golden = {key: t.double() for key, t in load_file(STEP).items()}
    with safe_open(STEP, "pt") as file:
        case = json.loads(file.metadata()["case"])
    space = LabelSpace([LabelGroup("hair", ("black", "blond", "brown"), "one_of")])
    config = Config(
        conv_dim=case["nf"],
        discriminator_conv_dim=case["nf"],
        identity_weight=case["lid"],
        consistency_weight=case["pi"],
        ramp_steps=1,  # At its end.
        pseudo_after=LATE,
    )
    recipe = SemiStarGAN(config, space, PictureFormat(3, case["size"], case["size"]))
    weights = {key: t.double() for key, t in load_file(GOLDEN / "hair3_weights.safetensors").items()}
    for name, found in layout.networks_of(weights).items():
        recipe.networks[name].load_state_dict(found, strict=False)
    recipe.double()
    count = case["batch"] // 2
    dataset, known = torch.zeros(count, dtype=torch.int64), torch.ones(count, 3).double()
    alpha_lab, alpha = golden["alpha"].chunk(2)
    same = golden["identity_mask"]
    batch = Batch(
        x=golden["x_unlabelled"],
        x_lab=golden["x_labelled"],
        dataset=dataset,
        labels=0 * known,
        known=0 * known,
        labels_lab=golden["att_labelled"],
        known_lab=known,
        labels_trg=golden["att_target"],
        known_trg=known,
        known_all=known,
        c_lab=golden["att_labelled"],
        c_trg=golden["att_target"],
        same=same * count / same.sum(),
        alpha=alpha,
        alpha_lab=alpha_lab,
        seeds=torch.zeros(count, 2 * PASSES, dtype=torch.int64),
    )
    return recipe, trainer_of(recipe), batch, golden


def close(mine: Tensor, theirs: Tensor, relative: float, absolute: float = 0.0) -> None:
    torch.testing.assert_close(mine.detach().double().flatten(), theirs.flatten(), rtol=relative, atol=absolute)


def summary(t: Tensor) -> Tensor:
    return torch.stack([t.sum(), t.square().sum().sqrt(), t.flatten()[0]])


def check_step(recipe, trainer, golden, network: str, suffix: str = "") -> None:
    """Gradients (Adam's first moment holds half of them, beta1 being 0.5) and weights after the step."""
    letter, prefix = {"generator": ("g", "gen/"), "discriminator": ("d", "disc/")}[network]
    moments = trainer.optimizers.state_dict()["adam"][network]["state"]
    names = layout.names_of(recipe, network)
    whole = 0
    for index, (key, parameter) in enumerate(recipe.networks[network].named_parameters()):
        name, gradient, after = prefix + names[key], 2 * moments[index]["exp_avg"], parameter.detach()
        if gradient.ndim == 4:  # Theirs is HWIO.
            gradient, after = gradient.permute(2, 3, 1, 0), after.permute(2, 3, 1, 0)
        if f"{letter}_grad{suffix}.{name}" in golden:
            expected, later = golden[f"{letter}_grad{suffix}.{name}"], golden[f"{letter}_after{suffix}.{name}"]
            largest = float(expected.abs().max())
            close(gradient, expected, 0, 5e-5 * largest)
            # Adam's first step is the sign of the gradient; theirs adds to its root an epsilon some 30 times PyTorch's.
            steady = expected.abs() > max(1e-3 * largest, 1e-3)
            close(after[steady], later[steady], 1e-6, 1e-7)
            whole += 1
        else:
            close(summary(gradient)[1], golden[f"{letter}_grad{suffix}3.{name}"][1], 5e-5)
            close(summary(gradient)[2], golden[f"{letter}_grad{suffix}3.{name}"][2], 0, 5e-5 * float(gradient.abs().max()))
            close(summary(after)[1], golden[f"{letter}_after{suffix}3.{name}"][1], 1e-5)
    assert whole > 10


def test_networks_give_the_published_outputs(case):
    recipe, _, batch, golden = case
    judge = recipe.discriminator
    with torch.no_grad():
        close(recipe.translate(batch.x, batch.c_trg), golden["fake_unlabelled"], 0, 5e-5)
        both = torch.cat([batch.x_lab, batch.x])
        patches, classes = judge(both)
        close(patches, torch.cat([golden["d_src_labelled"].flatten(1), golden["d_src_unlabelled"].flatten(1)]), 1e-5, 1e-6)
        close(classes, torch.cat([golden["d_cls_labelled"], golden["d_cls_unlabelled"]]), 1e-5, 1e-5)
        mirrored = torch.cat([golden["d_cls_labelled_mirror"], golden["d_cls_unlabelled_mirror"]])
        close(judge.classify(both.flip(3)), mirrored, 1e-5, 1e-5)


@pytest.mark.parametrize("phase", ["labelled", "all"])
def test_a_training_step_agrees(case, phase):
    recipe, trainer, batch, golden = case
    progress = torch.tensor(1.0 if phase == "labelled" else LATE)
    trainer.step = int(progress)
    trainer.enter_phase()
    assert recipe.phase == phase
    discriminator, generator = recipe.updates
    # On their fakes: ours differ by 1e-6, as float32 does, in which one leaky ReLU has the other sign.
    fakes = {"x_fake_lab": golden["fake_labelled"], "x_fake": golden["fake_unlabelled"]}
    trainer.apply(discriminator, batch.extend(**fakes), len(batch), progress)
    check_step(recipe, trainer, golden, "discriminator")
    trainer.apply(generator, batch, len(batch), progress)
    terms = trainer.statistics.drain(Processes())
    published = {
        "discriminator/real": golden["d_loss_real"],
        "discriminator/fake": golden["d_loss_fake"],
        "discriminator/class": golden["d_loss_cls"],
        "discriminator/consistency": golden["d_loss_consistency"],
        "discriminator/penalty": golden["d_loss_gp_weighted"] / 10,
        "generator/fake": golden["g_loss_adv"],
        "generator/class": golden["g_loss_cls"],
        "generator/class_unlabelled": golden["g_loss_cls_unlabelled"],
        "generator/reconstruction": golden["g_loss_rec"],
    }
    if phase == "labelled":
        published["generator/identity_same"] = golden["g_loss_identity"]
    else:
        published["generator/reconstruction_unlabelled"] = golden["g_loss_rec_unlabelled"]
    assert set(terms) == set(published)
    for name, value in published.items():
        close(torch.tensor(terms[name]), value, 5e-6)
    check_step(recipe, trainer, golden, "generator", "" if phase == "labelled" else "_late")
