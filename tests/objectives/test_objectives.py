"""Objectives and written-out gradients against literal formulas, in float64."""

from __future__ import annotations

import math

import pytest
import torch

from asterism.labels import LabelGroup, LabelSpace
from asterism.networks.stargan import Discriminator, Generator
from asterism.objectives.adversarial import (
    critic_fake,
    critic_real,
    generator_fake,
    least_squares,
    logistic_fake,
    logistic_real,
)
from asterism.objectives.classification import classification
from asterism.objectives.distances import l1
from asterism.objectives.penalties import gradient_penalty, r1


def test_wasserstein_scores_average_patches_and_keep_their_signs():
    logits = torch.tensor([[1.0, 3.0], [-2.0, 0.0]])
    assert critic_real(logits).tolist() == [-2.0, 1.0]
    assert critic_fake(logits).tolist() == [2.0, -1.0]
    assert generator_fake(logits).tolist() == [-2.0, 1.0]
    assert critic_real(torch.tensor([4.0])).tolist() == [-4.0]


def test_least_squares_averages_patches_of_the_squared_distance():
    logits = torch.tensor([[1.0, 3.0], [-2.0, 0.0]])
    assert least_squares(logits, 1).tolist() == [2.0, 5.0]
    assert least_squares(logits, 0).tolist() == [5.0, 2.0]
    assert least_squares(torch.tensor([4.0]), 1).tolist() == [9.0]


def test_l1_is_the_mean_over_all_elements_of_a_sample():
    x, y = torch.zeros(2, 3, 4, 5), torch.ones(2, 3, 4, 5)
    y[1] *= -0.5
    assert l1(x, y).tolist() == [1.0, 0.5]


def test_gradient_penalty_is_the_squared_distance_of_the_norm_from_one():
    gradient = torch.zeros(2, 3, 2, 2)
    gradient[0, 0, 0, 0], gradient[0, 2, 1, 1] = 3.0, 4.0
    torch.testing.assert_close(gradient_penalty(gradient), torch.tensor([16.0, 1.0]))


@pytest.mark.parametrize(("given", "made"), [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)])
def test_terms_are_in_at_least_float32(given, made):
    x, labels = torch.ones(2, 6, dtype=given), torch.ones(2, 6)
    terms = [critic_real(x), critic_fake(x), generator_fake(x), logistic_real(x[:, 0]), logistic_fake(x[:, 0]), l1(x, x)]
    terms += [gradient_penalty(x[:, :, None, None]), r1(x[:, :, None, None]), classification(x, labels, labels, THREE)]
    assert [(t.dtype, t.shape) for t in terms] == [(made, (2,))] * 9


def test_gradient_penalty_has_a_finite_derivative_at_zero():
    gradient = torch.zeros(1, 3, 2, 2, requires_grad=True)
    gradient_penalty(gradient).sum().backward()
    assert torch.isfinite(gradient.grad).all()


THREE = LabelSpace(
    [
        LabelGroup("a", ("p", "q"), "binary"),
        LabelGroup("b", ("r", "s", "t"), "one_of"),
        LabelGroup("c", ("u",), "binary"),
    ]
)


def literal_classification(logits, labels, known):
    """The losses of three datasets, number by number."""
    total = 0.0
    for i in (0, 1, 5):
        if known[i]:
            p = 1 / (1 + math.exp(-logits[i]))
            total -= math.log(p if labels[i] else 1 - p)
    if all(known[i] for i in (2, 3, 4)):
        exponentials = [math.exp(logits[i]) for i in (2, 3, 4)]
        total -= math.log(exponentials[[labels[i] for i in (2, 3, 4)].index(1)] / sum(exponentials))
    return total


@pytest.mark.parametrize(
    "known", [[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1], [0] * 6]
)
def test_classification_counts_what_is_known_and_gives_nothing_else_a_gradient(known):
    logits = torch.randn(1, 6, generator=torch.Generator().manual_seed(3), requires_grad=True)
    labels = [1, 0, 0, 1, 0, 1]
    value = classification(logits, torch.tensor([labels]).float(), torch.tensor([known]).float(), THREE)
    expected = literal_classification(logits[0].tolist(), labels, known)
    assert value.shape == (1,) and value.item() == pytest.approx(expected, rel=1e-5)
    value.sum().backward()
    assert ((logits.grad[0] != 0) == torch.tensor(known).bool()).all()


def test_numbers_count_by_their_squared_error_as_shares_of_their_range():
    space = LabelSpace([LabelGroup("a", ("p",), "binary"), LabelGroup("a", ("q", "r"), "number", low=-1, high=3)])
    logits = torch.tensor([[0.3, 0.5, 2.0]], requires_grad=True)
    value = classification(logits, torch.tensor([[0.0, 2.0, 1.0]]), torch.tensor([[0.0, 1.0, 1.0]]), space)
    assert value.tolist() == [pytest.approx((0.5 - 0.75) ** 2 + (2 - 0.5) ** 2)]
    value.sum().backward()
    assert (logits.grad[0] != 0).tolist() == [False, True, True]


@pytest.mark.parametrize(("size", "layers"), [((64, 64), 5), ((128, 128), 6), ((72, 100), 4), ((36, 64), 3)])
def test_score_gradient_equals_double_backward(size, layers):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        d = Discriminator(2, 4, size, width=4, layers=layers).double()
        x = torch.randn(2, 2, *size, dtype=torch.float64, requires_grad=True)
    weights = [p for n, p in d.named_parameters() if n.endswith("weight") and not n.startswith("conv2")]

    (reference,) = torch.autograd.grad(d(x)[0].sum(), x, create_graph=True)
    expected = torch.autograd.grad((reference.square().flatten(1).sum(1).sqrt() - 1).square().mean(), weights)

    written = d.score_gradient(x.detach())
    actual = torch.autograd.grad((written.square().flatten(1).sum(1).sqrt() - 1).square().mean(), weights)
    torch.testing.assert_close(written, reference, rtol=1e-12, atol=1e-14)
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    ("labels", "code", "size", "generator", "discriminator"),
    [  # Counted in the published code: StarGAN for CelebA at three sizes, RaFD, and both with a mask.
        (5, 5, 128, 8_430_528, 44_762_048),
        (5, 5, 256, 8_430_528, 44_884_928),
        (5, 5, 512, 8_430_528, 45_376_448),
        (8, 8, 128, 8_439_936, 44_786_624),
        (13, 15, 128, 8_461_888, 44_827_584),
    ],
)
def test_parameter_counts_are_the_published_ones(labels, code, size, generator, discriminator):
    with torch.device("meta"):
        g, d = Generator(3, code), Discriminator(3, labels, (size, size))
    assert sum(p.numel() for p in g.parameters()) == generator
    assert sum(p.numel() for p in d.parameters()) == discriminator


def test_train_and_eval_outputs_are_equal():
    g = Generator(3, 2, width=4, blocks=1)
    x, c = torch.randn(2, 3, 16, 16), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert torch.equal(g.train()(x, c), g.eval()(x, c))


def test_the_code_changes_the_picture():
    """Instance norm removes a constant plane; the zero borders let the code through."""
    g = Generator(3, 2, width=4, blocks=1)
    x = torch.randn(1, 3, 16, 16)
    assert not torch.allclose(g(x, torch.tensor([[1.0, 0.0]])), g(x, torch.tensor([[0.0, 1.0]])), atol=1e-3)
