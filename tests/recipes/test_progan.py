"""ProGAN: its phases, what grows and is faded, labels, and runs that go on across the borders of phases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import asterism
from asterism.config import ConfigError
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.engine.step import phase_at
from asterism.networks.progan import deviation, pixel_norm
from asterism.recipes.base import Phase
from asterism.recipes.model import load_model, save_model
from asterism.recipes.progan import Config, ProGAN
from asterism.training import train
from tests.helpers.recipes import SPACES, batch_of, trainer_of
from tests.helpers.runs import BRIEF, assert_same_state, state

WIDTHS = (8, 8, 6, 4)


def build(space: str = "folders", size: int = 32, **settings) -> ProGAN:
    torch.manual_seed(0)
    config = Config(**{"latent_dim": 8, "widths": WIDTHS, "level_steps": (4, 10), "fade": 0.4, **settings})
    return ProGAN(config, SPACES[space], PictureFormat(3, size, size))


def close(mine: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(mine, wanted, rtol=1e-9, atol=1e-12)


def test_phases_follow_the_configuration() -> None:
    both = ("generator", "discriminator")
    assert build(size=16, batch_sizes=(8, 6)).phases == (
        Phase("4 px", 4, (), 8),
        Phase("8 px, fading", 8, both, 6),
        Phase("8 px", 14, (), 6),
        Phase("16 px, fading", 18, both),
        Phase("16 px"),
    )
    assert [phase.name for phase in build(size=8, fade=0.0).phases] == ["4 px", "8 px"]
    assert build(size=8, fade=0.0).phases[1].resets == both
    assert [phase.name for phase in build(size=16, fade=1.0).phases] == ["4 px", "8 px, fading", "16 px, fading", "16 px"]
    assert build(size=16).begin(new=True) == ("pictures grow: 4 px from step 0, 8 px from step 4, 16 px from step 14",)
    with pytest.raises(ConfigError, match="grow over 5 levels, from 4 pixels on; give 5 widths or more"):
        build(size=64)


def test_a_fade_blends_pictures_networks_and_generations() -> None:
    """Figure 2: what was there before has a share that falls from 1 to 0; at both ends a fade is what is beside it."""
    recipe = build(size=16).double()
    z, x = torch.randn(4, 8).double(), torch.randn(4, 3, 16, 16).double()
    one, zero = torch.ones(()).double(), torch.zeros(()).double()
    with torch.no_grad():
        small, large = recipe.generator(z, 1), recipe.generator(z, 2)
        close(recipe.generator(z, 2, one), F.interpolate(small, scale_factor=2.0, mode="nearest"))
        close(recipe.generator(z, 2, zero), large)
        close(recipe.discriminator(x, 2, one)[0], recipe.discriminator(F.avg_pool2d(x, 2), 1)[0])
        close(recipe.discriminator(x, 2, zero)[0], recipe.discriminator(x, 2)[0])
        shares = []
        for step in (4, 6, 8, 16, 30):
            recipe.enter(phase_at(recipe, step).name)
            recipe.generator.steps.fill_(step)
            old = recipe.old(torch.tensor(float(step)))
            shares.append(None if old is None else round(old.item(), 6))
            small, large = (recipe.generator(z, recipe.level - i) for i in (1, 0))
            made = large if old is None else old * small.repeat_interleave(2, 2).repeat_interleave(2, 3) + (1 - old) * large
            y = recipe.generate(z, z[:, :0])
            assert y.shape == x.shape
            close(y, F.interpolate(made, (16, 16), mode="nearest"))
        assert shares == [1.0, 0.5, None, 0.5, None]
        recipe.enter("4 px")
        assert recipe.observe(Batch(x=x))["x"].shape[2:] == (4, 4)
        close(recipe.observe(Batch(x=x))["x"], x.unflatten(3, (4, 4)).unflatten(2, (4, 4)).mean((3, 5)))


def test_the_published_discriminator_is_not_faded_at_8_pixels() -> None:
    for first, differs in ((True, True), (False, False)):
        recipe = build(size=16, fade_first=first)
        recipe.enter("8 px, fading")
        x = torch.randn(4, 3, 8, 8)
        with torch.no_grad():
            half, none = (recipe.judge(x, old)[0] for old in (torch.tensor(0.5), None))
        assert torch.equal(half, none) != differs


def test_norm_and_deviation_are_their_formulas() -> None:
    h = torch.randn(8, 5, 4, 4).double()
    close(pixel_norm(h), h / ((h**2).sum(1, keepdim=True) / 5 + 1e-8) ** 0.5)
    wanted = torch.stack([(group.var(0) + 1e-8).sqrt().mean() for group in h.split(4)])
    close(deviation(h)[:, 0, 0, 0], wanted.repeat_interleave(4))
    close(deviation(h[:6]), (h[:6].var(0) + 1e-8).sqrt().mean().expand(6, 1, 4, 4))  # Four do not divide six.
    assert deviation(h[:1]).abs().max() == 0


def test_realness_is_the_score_of_a_picture_alone_as_far_as_training_had_come() -> None:
    """Whatever lies beside it: pictures of one kind, scored together, would give each other away by their deviation."""
    recipe = build(size=16).double()
    x = torch.randn(4, 3, 16, 16).double()
    with torch.no_grad():
        for step in (1, 6, 20):
            recipe.enter(phase_at(recipe, step).name)
            recipe.generator.steps.fill_(step)
            small = F.avg_pool2d(x, 16 // (4 << recipe.level)) if recipe.level < 2 else x
            old = recipe.old(torch.tensor(float(step)).double())
            if old is not None:
                blurred = F.avg_pool2d(small, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
                small = old * blurred + (1 - old) * small
            wanted = torch.cat([recipe.judge(picture[None], old)[0] for picture in small])
            close(recipe.realness(x), wanted)
            assert not torch.allclose(recipe.judge(small, old)[0], wanted)


def test_the_penalty_sees_what_other_samples_owe_to_one() -> None:
    """Published: the gradient of the sum of all scores; within a group of four, scores depend on all four pictures."""
    recipe = build(size=8).double()
    x = torch.randn(8, 3, 8, 8).double().requires_grad_()
    (gradient,) = torch.autograd.grad(recipe.judge(x, None)[0][0], x)
    assert all(gradient[i].abs().max() > 0 for i in range(4)) and gradient[4:].abs().max() == 0


def test_whole_groups_of_four_may_be_divided_among_processes() -> None:
    """The gradients of eight pictures are the sums of those of two times four, and not of three and five."""
    gradients = []
    for parts in ((0, 8), (0, 4, 8), (0, 3, 8)):
        recipe = build(size=8).double()
        trainer, batch = trainer_of(recipe), batch_of(recipe, count=8)
        for a, b in zip(parts[:-1], parts[1:], strict=True):
            trainer.differentiate(recipe.updates[0], batch.rows(a, b), 8, torch.tensor(9.0), lazy=False)
        gradients.append(torch.cat([p.grad.flatten() for p in recipe.discriminator.parameters() if p.grad is not None]))
    close(gradients[1], gradients[0])
    assert (gradients[2] - gradients[0]).abs().max() > 1e-4


@pytest.mark.parametrize("space", ["folders", "joint"])
def test_labels_are_joined_to_the_latent_and_classified(space: str) -> None:
    recipe = build(space, size=8, conditional=True).double()
    count = recipe.space.code_size
    assert recipe.generator.format.in_features == 8 + count and recipe.abilities.told == "code"
    batch = batch_of(recipe, count=8)
    close(batch.z[:, 8:], recipe.space.encode(batch.labels, batch.known, batch.dataset))
    close(batch.z_generator[:, 8:], recipe.space.encode(batch.labels_trg, batch.known_trg, batch.dataset))
    key = recipe.space.encode(batch.labels_trg, batch.known_trg, batch.dataset)
    assert sorted(map(tuple, key.tolist())) == sorted(map(tuple, batch.z[:, 8:].tolist())), "the batch's own, in another order"
    terms = recipe.discriminator_terms(batch, torch.zeros(()))
    assert "class" in terms and "class" in recipe.generator_terms(batch, torch.zeros(()))
    with torch.no_grad():
        logits = recipe.judge(batch.x, None)[1]
    if space == "folders":
        close(terms["class"][1], F.cross_entropy(logits, batch.labels.argmax(1), reduction="none"))
    told = recipe.space.encode(batch.labels, batch.known, batch.dataset)
    with torch.no_grad():
        close(recipe.generate(batch.z[:, :8], told), recipe.generator(batch.z, 1))
    slots = {(slot.parameter, slot.owner): slot.index for slot in recipe.label_slots()}
    assert slots["generator.format.weight", recipe.space.names[0]] == 8
    assert slots["discriminator.decision.weight", recipe.space.names[0]] == 1
    assert len(slots) == count + 2 * recipe.space.num_labels


SETTINGS = BRIEF | {
    "recipe.latent_dim": 8,
    "recipe.widths": "6,6,6,4",
    "recipe.level_steps": "2,4",
    "recipe.fade": 0.5,
    "recipe.batch_sizes": "8,8,4",
    "recipe.conditional": True,
    "train.batch_size": 2,
    "train.steps": 14,
    "train.decay_steps": 0,
    "train.checkpoint_every": 2,
    "train.keep": 99,
    "train.log_every": 2,
}


def test_a_run_over_all_phases_resumes_bit_for_bit(shapes_dir: Path, tmp_path: Path) -> None:
    """Stopped in a fade, at the border of two levels, and in the last; each generates pictures of the final side."""
    train("progan", shapes_dir, tmp_path / "run", overrides=SETTINGS)
    for stop, phase in ((3, "8 px, fading"), (6, "8 px"), (13, "32 px")):
        parts = tmp_path / f"parts{stop}"
        train("progan", shapes_dir, parts, overrides=SETTINGS | {"train.steps": stop})
        model = asterism.load(parts, device="cpu", precision="float32")
        assert model.recipe.phase == phase and model.recipe.generator.steps == stop - 1
        assert [picture.size for picture in model.generate(seeds=(1, 2), to="red")] == [(32, 32)] * 2
        train("progan", shapes_dir, parts, overrides=SETTINGS)
        assert_same_state(state(tmp_path / "run"), state(parts))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [16, 32, 48, 56, 64, 68, 72], "16 in each of 6 steps would be 96"


def test_a_model_of_a_fade_is_the_same_from_its_file(tmp_path: Path) -> None:
    recipe = build().eval()
    recipe.enter("16 px, fading")
    recipe.generator.steps.fill_(15)
    info = {"step": 15, "phase": recipe.phase}
    save_model(tmp_path / "model.safetensors", recipe, "progan", recipe.state_dict(), info=info)
    model = load_model(tmp_path / "model.safetensors")
    z = torch.randn(2, 8)
    assert torch.equal(model.recipe.generate(z, z[:, :0]), recipe.generate(z, z[:, :0]))
    assert model.recipe.old(model.recipe.generator.steps).item() == 0.75
