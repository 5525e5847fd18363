"""LAPGAN: the pyramid, the paper's networks and terms against their literal formulas, and levels that are trained alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from asterism.config import ConfigError
from asterism.labels import LabelGroup, LabelSpace
from asterism.networks.lapgan import FlatDiscriminator, FlatGenerator, SizeError, doubled, halved, level_of, sides
from tests.helpers.recipes import SPACES, batch_of, tables, tiny, trainer_of


def test_a_pyramid_adds_up_to_the_picture_and_halves_what_it_says() -> None:
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    levels = len(sides(32))
    assert sides(32) == [32, 16, 8] and sides(28) == [28, 14, 7] and sides(64) == [64, 32, 16, 8]
    parts = [level_of(x, level, levels) for level in range(levels)]
    whole = parts[-1][0]
    for residual, _ in reversed(parts[:-1]):
        whole = doubled(whole) + residual
    torch.testing.assert_close(whole, x)
    # By convolution with the window of Burt and Adelson; the border is tested by the recorded pyramid.
    row = torch.tensor([1.0, 4, 6, 4, 1], dtype=torch.float64) / 16
    window = torch.outer(row, row).expand(3, 1, 5, 5)
    blurred = F.conv2d(x, window, padding=2, groups=3)[:, :, ::2, ::2]
    torch.testing.assert_close(halved(x)[:, :, 1:-1, 1:-1], blurred[:, :, 1:-1, 1:-1])
    zeros = torch.zeros(2, 3, 64, 64, dtype=torch.float64)
    zeros[:, :, ::2, ::2] = x
    wide = F.conv2d(zeros, 4 * window, padding=2, groups=3)
    torch.testing.assert_close(doubled(x)[:, :, 2:-2, 2:-2], wide[:, :, 2:-2, 2:-2])


def test_the_papers_networks_have_its_numbers_of_parameters() -> None:
    counts = [sum(p.numel() for p in network(3, 32).parameters()) for network in (FlatGenerator, FlatDiscriminator)]
    assert counts == [218_179, 116_545]


def test_terms_are_the_literal_formulas_with_the_dropout_that_the_seeds_say() -> None:
    recipe = tiny("lapgan", SPACES["folders"]).double()
    batch = batch_of(recipe)
    made, levels = tables(recipe, batch), len(recipe.sides)
    starts = [sum(recipe.noise[:level]) for level in range(levels)]
    for level in range(levels):
        generator, judge = (recipe.networks[f"{kind}_{level}"] for kind in ("generator", "discriminator"))
        span = slice(starts[level], starts[level] + recipe.noise[level])
        real, coarse = level_of(batch.x, level, levels)
        seeds = batch.seeds[:, 3 * level : 3 * level + 3].unbind(1)
        fake, other = generator(batch.u[:, span], coarse), generator(batch.u_generator[:, span], coarse)
        expected = {
            (f"discriminator_{level}", "real"): (0.5, -judge(real, coarse, seeds[0]).sigmoid().log()),
            (f"discriminator_{level}", "fake"): (0.5, -(1 - judge(fake, coarse, seeds[1]).sigmoid()).log()),
            (f"generator_{level}", "adversarial"): (1.0, -judge(other, coarse, seeds[2]).sigmoid().log()),
        }
        for (table, term), (weight, value) in expected.items():
            assert made[table][term][0] == weight
            torch.testing.assert_close(made[table][term][1], value, rtol=1e-9, atol=1e-12)
        plain = judge(real, coarse)
        assert not torch.allclose(plain, judge(real, coarse, seeds[0])), "a dropout changes scores"
        if coarse is not None:  # What the discriminator sees is the picture itself: residual and coarse picture together.
            torch.testing.assert_close(plain, judge(real + coarse, torch.zeros_like(coarse)))


def test_half_of_the_activations_are_dropped_and_the_rest_doubled() -> None:
    recipe = tiny("lapgan", SPACES["folders"], coarse_discriminator_dim=4096)
    judge = recipe.discriminator_2
    with torch.no_grad():
        judge.last.weight.fill_(1.0)
        judge.second.weight.zero_()
        judge.second.bias.fill_(1.0)  # So that the score is the sum of what is kept of 4,096 ones.
        scores = judge(torch.zeros(40, 3, 8, 8), None, torch.arange(40) * 7919)
    assert scores.unique().numel() > 20 and abs(float(scores.mean()) - 4096) < 6 * 64 / 40**0.5  # 64 is their deviation.
    assert float((scores - 4096).abs().max()) < 6 * 64


def test_pictures_are_made_coarse_to_fine() -> None:
    recipe = tiny("lapgan", SPACES["folders"]).double().eval()
    z = torch.randn(5, recipe.abilities.latent, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u = 2 * torch.distributions.Normal(0.0, 1.0).cdf(z) - 1  # Of a standard normal number this is uniform in [-1, 1].
    fine, middle, coarsest = u.split(recipe.noise, 1)
    with torch.no_grad():
        x = recipe.generator_2(coarsest)
        x = doubled(x) + recipe.generator_1(middle, doubled(x))
        x = doubled(x) + recipe.generator_0(fine, doubled(x))
        torch.testing.assert_close(recipe.generate(z, z[:, :0]), x)


@pytest.mark.parametrize("networks", ["flat", "strided"])
def test_every_level_is_told_the_labels_of_its_picture(networks: str) -> None:
    """Also of several datasets, whose codes have a mask: the code enters every network, and generated pictures follow it."""
    recipe = tiny("lapgan", SPACES["joint"], conditional=True, networks=networks, noise_dim=4).double()
    batch, size = batch_of(recipe), recipe.space.code_size
    torch.testing.assert_close(batch.c, recipe.space.encode(batch.labels, batch.known, batch.dataset))
    other = batch.extend(c=batch.c.roll(1, 1))
    for update in recipe.updates:
        one, two = (getattr(recipe, f"{update.terms}_terms")(b, torch.zeros(()), *update.args) for b in (batch, other))
        assert all(not torch.allclose(one[key][1], two[key][1], rtol=1e-9) for key in one), update.name
    recipe.eval()
    assert (recipe.abilities.told, recipe.abilities.scores) == ("code", ())
    z = torch.randn(1, recipe.abilities.latent, dtype=torch.float64).expand(size, -1)
    made = recipe.generate(z, torch.eye(size, dtype=torch.float64))
    assert all(not torch.allclose(made[i], made[j]) for i in range(size) for j in range(i))
    # Rows of another label may be cut out of the weights: what is told of the others stays.
    slots = [slot for slot in recipe.label_slots() if slot.owner == recipe.space.names[0]]
    assert len(slots) == {"flat": 6, "strided": 6}[networks]
    with torch.no_grad():
        for slot in slots:
            recipe.get_parameter(slot.parameter).select(slot.axis, slot.index).zero_()
        silent = recipe.generate(z, torch.eye(size, dtype=torch.float64))
        nothing = recipe.generate(z[:1], torch.zeros(1, size, dtype=torch.float64))
    torch.testing.assert_close(silent[:1], nothing)
    assert not torch.allclose(silent[1], nothing[0])


def test_conditions_need_labels() -> None:
    space = LabelSpace([LabelGroup("pictures", (), "binary")])
    with pytest.raises(ConfigError, match="no labels that the networks could be told; leave it out"):
        tiny("lapgan", space, conditional=True)


def test_realness_is_the_sum_of_what_the_levels_say() -> None:
    recipe = tiny("lapgan", SPACES["folders"]).double().eval()
    x = batch_of(recipe).x.double()
    levels = range(len(recipe.sides))
    said = [recipe.networks[f"discriminator_{level}"](*level_of(x, level, len(levels))) for level in levels]
    torch.testing.assert_close(recipe.realness(x), said[0] + said[1] + said[2])


def test_each_level_is_trained_by_itself() -> None:
    """Whatever the weights of the other levels are, and whether they are trained."""
    ends = []
    for others in (1.0, 3.0):
        recipe = tiny("lapgan", SPACES["folders"]).double()
        with torch.no_grad():
            for name, parameter in recipe.named_parameters():
                if "_1." not in name:
                    parameter.mul_(others)
        trainer, batch = trainer_of(recipe), batch_of(recipe)
        for update in recipe.updates:
            if others == 1.0 or update.name.endswith("_1"):
                trainer.apply(update, batch, len(batch), torch.zeros(()))
        ends.append({key: t for key, t in recipe.state_dict().items() if "_1." in key})
    assert ends[0] and all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


def test_rates_of_the_levels() -> None:
    recipe = tiny("lapgan", SPACES["folders"], generator_lr=(0.1, 0.2), discriminator_lr=(0.3,), optimiser="adam")
    assert [recipe.optimizers()[f"generator_{level}"].lr for level in range(3)] == [0.1, 0.2, 0.2]
    assert [recipe.optimizers()[f"discriminator_{level}"].lr for level in range(3)] == [0.3] * 3


def test_momentum_is_dampened_as_torchs() -> None:
    """Its step is v = m v + (1 - m) g, so that a lasting gradient is taken with the rate itself: 0.02."""
    sgd = tiny("lapgan", SPACES["folders"]).optimizers()["generator_0"]
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    ours, v, w = torch.optim.SGD([weight], sgd.lr, sgd.momentum), 0.0, 0.0
    for k in range(30):
        weight.grad = torch.full_like(weight, 1.0 + k % 3)
        ours.step()
        v = 0.5 * v + 0.5 * (1.0 + k % 3)
        w -= 0.02 * v
        assert float(weight.detach()) == pytest.approx(w, rel=1e-12)


def test_strided_networks_train_at_any_side_of_the_pyramid() -> None:
    """Those of 8 x 2^k pixels too, which the recorded ones, of 7 x 2^k, are not."""
    recipe = tiny("lapgan", SPACES["folders"], networks="strided", noise_dim=4, given_dim=3, given_conv_dim=4)
    assert recipe.coupled and recipe.abilities.latent == 12
    trainer, batch = trainer_of(recipe), batch_of(recipe)
    for update in recipe.updates:
        trainer.apply(update, batch, len(batch), torch.zeros(()))
    assert trainer.optimizers.skipped.item() == 0
    assert recipe.eval().generate(torch.randn(2, 12), torch.zeros(2, 0)).shape == (2, 3, 32, 32)


@pytest.mark.parametrize(
    ("size", "nearest"), [((48, 48), "56x56"), ((64, 32), "64x64"), ((8, 8), "14x14"), ((500, 500), "256x256")]
)
def test_sizes_without_a_pyramid_are_refused(size: tuple[int, int], nearest: str) -> None:
    from asterism.networks.lapgan import check_size

    with pytest.raises(SizeError, match=f"the nearest is {nearest}"):
        check_size(size)
    assert all(check_size((side, side)) is None for side in (14, 16, 28, 32, 64, 224, 256))
