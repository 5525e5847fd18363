"""RelGAN: what its steps ask for, its norms and penalties, and its losses as formulas."""

from __future__ import annotations

import pytest
import torch

from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelGroup, LabelSpace
from asterism.networks.relgan import Discriminator, Generator, SwitchableNorm2d
from asterism.networks.sizes import SizeError
from asterism.recipes.relgan import Config, RelGAN
from tests.helpers.recipes import batch_of, trainer_of

HAIR = ("dark", "fair", "red")
SPACE = LabelSpace(
    [LabelGroup("faces", (*HAIR, "glasses"), "binary", (HAIR,)), LabelGroup("moods", ("calm", "happy"), "one_of")]
)
SMALL = {"conv_dim": 2, "num_blocks": 1, "discriminator_widths": (3, 4), "interpolation_channels": 2}


def tiny(**settings) -> RelGAN:
    torch.manual_seed(0)
    return RelGAN(Config(**SMALL, **settings), SPACE, PictureFormat(3, 16, 16))


def test_a_step_asks_for_differences_of_known_labels_of_the_own_dataset():
    """Of alternatives that differ, one comes and one goes; what is unknown in either picture does not change."""
    recipe, batch = tiny(), batch_of(tiny(), count=200)
    v = batch.v_ab
    assert set(v.unique().tolist()) == {-1.0, 0.0, 1.0} and (v[:, 4:] == 0).all()
    assert (v[:, :3].sum(1) == 0).all() and set(v[:, :3].abs().sum(1).tolist()) == {0.0, 2.0}
    assert torch.equal(batch.v_cb, batch.labels_b - batch.labels_c)
    known = batch.known_b.clone()
    known[:, 3] = 0
    draws = recipe.prepare(batch.extend(known_b=known), torch.Generator().manual_seed(0))
    assert (draws["v_ab"][:, 3] == 0).all() and (draws["v_cb"][:, 3] == 0).all() and (draws["v_ac"][:, 3] != 0).any()
    assert 0 <= draws["strength"].min() and draws["strength"].max() < 1 and draws["strength"].shape == (200, 1)


def test_the_losses_are_the_formulas():
    """In float64, with constants in the norms, so that a sample's losses are its own."""
    recipe = tiny(batch_statistics=False).double()
    batch = batch_of(recipe, count=4)
    d, g = recipe.discriminator, recipe.generator
    said = {name: value.detach() for name, (_, value) in recipe.discriminator_terms(batch, torch.zeros(())).items()}
    weights = {name: weight for name, (weight, _) in recipe.discriminator_terms(batch, torch.zeros(())).items()}
    own = {name: value.detach() for name, (_, value) in recipe.generator_terms(batch, torch.zeros(())).items()}
    assert (weights["penalty"], weights["penalty_interpolation"], weights["interpolation"]) == (150, 150, 10)
    for n in range(4):
        a, b, c = (x[n : n + 1] for x in (batch.x, batch.x_b, batch.x_c))
        v, s = batch.v_ab[n : n + 1], float(batch.strength[n])
        fake, zero, part = g(a, v).detach(), g(a, 0 * v).detach(), g(a, s * v).detach()
        h = {name: d.features(x) for name, x in (("a", a), ("b", b), ("c", c), ("fake", fake))}
        expected = {
            "real": (1 - d.real(h["b"])).square().mean(),
            "fake": d.real(h["fake"]).square().mean(),
            "match_real": (1 - d.match(h["a"], h["b"], v)).square().mean(),
            "match_source": d.match(h["c"], h["b"], v).square().mean(),
            "match_target": d.match(h["a"], h["c"], v).square().mean(),
            "match_ac": d.match(h["a"], h["b"], batch.v_ac[n : n + 1]).square().mean(),
            "match_cb": d.match(h["a"], h["b"], batch.v_cb[n : n + 1]).square().mean(),
            "interpolation": (min(s, 1 - s) - d.degree(d.features(part))).square().mean(),
            "interpolation_ends": d.degree(d.features(zero if s < 0.5 else fake)).square().mean(),
        }
        middle = (batch.alpha[n] * a + (1 - batch.alpha[n]) * fake).requires_grad_()
        (gradient,) = torch.autograd.grad(d.real(d.features(middle)).sum(), middle)
        expected["penalty"] = (gradient.norm() - 1).square()
        at = part.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(d.conv_int(d.features(at)).mean(1).sum(), at)
        expected["penalty_interpolation"] = (gradient.norm() - 1).square()
        for name, value in expected.items():
            torch.testing.assert_close(said[name][n], value.detach(), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(own["reconstruction"][n], (g(fake, -v) - a).abs().mean().detach())
        torch.testing.assert_close(own["zero"][n], (zero - a).abs().mean())
        torch.testing.assert_close(own["match"][n], (1 - d.match(h["a"], h["fake"], v)).square().mean().detach())
        torch.testing.assert_close(own["interpolation"][n], d.degree(d.features(part)).square().mean().detach())


def test_the_orthogonal_regulariser_is_the_formula():
    generator, total = Generator(3, 4, 2, 1).double(), 0.0
    for kernel in (p for p in generator.parameters() if p.ndim == 4 and p.shape[3] > 1):
        for i in range(kernel.shape[2]):
            for j in range(kernel.shape[3]):
                product = kernel[:, :, i, j].T @ kernel[:, :, i, j]
                total += float((product - product.diag().diag()).square().sum().detach())
    assert float(generator.orthogonality().detach()) == pytest.approx(total)
    with torch.autocast("cpu", torch.bfloat16):  # Which rounds products to three digits.
        assert float(generator.float().orthogonality().detach()) == pytest.approx(total, rel=1e-5)


def test_the_class_head_learns_without_telling_the_trunk():
    recipe = tiny()
    batch = batch_of(recipe)
    _, value = recipe.discriminator_terms(batch, torch.zeros(()))["class"]
    value.sum().backward()
    assert recipe.classifier.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in recipe.discriminator.parameters())
    assert all(p.grad is None for p in recipe.generator.parameters())


def test_the_norm_mixes_three_statistics_and_keeps_running_ones_of_its_own_training():
    torch.manual_seed(0)
    norm, x = SwitchableNorm2d(3).double(), torch.randn(4, 3, 5, 5).double() * 2 + 1
    with torch.no_grad():
        norm.mean_weight.copy_(torch.tensor([0.0, 1.0, -1.0]))
        norm.var_weight.copy_(torch.tensor([0.5, -0.5, 1.0]))
    y = norm(x)
    axes, means, variances = [(2, 3), (1, 2, 3), (0, 2, 3)], [], []
    for of in axes:
        means.append(x.mean(of, keepdim=True))
        variances.append(x.var(of, correction=0, keepdim=True))
    mean = sum(w * m for w, m in zip(norm.mean_weight.softmax(0), means, strict=True))
    var = sum(w * v for w, v in zip(norm.var_weight.softmax(0), variances, strict=True))
    torch.testing.assert_close(y, (x - mean) / (var + 1e-5).sqrt())
    torch.testing.assert_close(norm.running_mean.flatten(), 0.1 * means[2].flatten())
    kept = norm.running_var.clone()
    with torch.no_grad():
        norm(x)
    norm.requires_grad_(False)(x)
    assert torch.equal(norm.running_var, kept)
    constant = SwitchableNorm2d(3, batch=False)
    assert torch.equal(constant(x.float()), constant.eval()(x.float())), "the same in training as in use"


def test_samples_meet_only_where_the_norms_take_batch_statistics():
    assert tiny().coupled and not tiny(batch_statistics=False).coupled
    states = []
    for parts in (1, 2):
        recipe = tiny(batch_statistics=False).double()
        trainer = trainer_of(recipe, accumulate=parts)
        for update in recipe.updates:
            trainer.apply(update, batch_of(recipe, count=4), 4, torch.zeros(()))
        states.append(recipe.state_dict())
    for key, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][key], rtol=0, atol=1e-9)


def test_parameters_are_as_many_as_the_published_networks_have():
    def count(network: torch.nn.Module) -> int:
        return sum(p.numel() for p in network.parameters())

    with torch.device("meta"):
        assert count(Generator(3, 17)) == 8_471_977
        assert count(Discriminator(3, 17, Config().discriminator_widths)) == 53_263_362
        assert count(Discriminator(3, 17, Config().discriminator_widths, degrees=16, pooled=True)) == 53_165_010


def test_a_change_by_nothing_is_told_as_zeros_whatever_the_target():
    """So that every target at strength 0 is the one picture G(x, 0), which training brings to x."""
    recipe = tiny()
    labels = torch.eye(6)[:4]
    target = Batch(labels=labels.roll(1, 0), known=SPACE.known(torch.zeros(4, dtype=torch.long)), dataset=torch.zeros(4))
    assert recipe.condition(target, labels).abs().sum() > 0
    assert torch.equal(recipe.condition(target, labels, 0.0), torch.zeros(4, 6))


def test_training_brings_the_change_by_nothing_to_none():
    """A few steps of the generator: G(x, 0) comes nearer to x."""
    recipe = tiny(batch_statistics=False, generator_lr=2e-2)
    trainer, batch = trainer_of(recipe), batch_of(recipe, count=4)

    def change() -> float:
        with torch.no_grad():
            return float((recipe.generator(batch.x, 0 * batch.v_ab) - batch.x).abs().mean())

    before = change()
    for _ in range(25):
        trainer.apply(recipe.updates[1], batch, 4, torch.zeros(()))
    assert change() < 0.85 * before


def test_sizes_that_the_networks_cannot_take_are_refused():
    with pytest.raises(SizeError, match="multiples of 4 and at least 64"):
        RelGAN(Config(), SPACE, PictureFormat(3, 32, 64))
