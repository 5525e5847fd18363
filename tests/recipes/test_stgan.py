"""STGAN and AttGAN: networks of the published sizes, what the generators are told, and the penalty's two gradients."""

from __future__ import annotations

import pytest
import torch

from asterism.engine.step import step_generator
from asterism.networks.sizes import SizeError
from asterism.networks.stgan import Discriminator, Generator, check_size
from asterism.objectives.penalties import gradient_penalty, input_gradient
from asterism.recipes.render import whole_target
from tests.helpers.recipes import SPACES, batch_of, tiny, whole_batch


def test_the_published_networks_have_the_published_numbers_of_parameters():
    with torch.device("meta"):
        stgan, attgan = Generator(3, 13), Generator(3, 13, skips=1, units=False, injections=0)
        judge = Discriminator(3, 13, (128, 128))
    counts = [sum(p.numel() for p in network.parameters()) for network in (stgan, attgan, judge)]
    assert counts == [74_998_771, pytest.approx(43.35e6, abs=5e3), 44_718_990]
    for part, millions in (("enc_layers", 11.15), ("stu", 30.15), ("dec_layers", 33.71)):
        assert sum(p.numel() for p in getattr(stgan, part).parameters()) / 1e6 == pytest.approx(millions, abs=0.01)


def test_any_depth_and_number_of_skips():
    x, c = torch.rand(2, 3, 16, 32), torch.rand(2, 4)
    for layers in (2, 3):
        for skips in (0, 1, 9):
            generator = Generator(3, 4, 4, layers, skips, injections=skips, state_injections=1)
            assert generator(x, c).shape == x.shape and len(generator.stu) == min(skips, layers - 1)
    with pytest.raises(SizeError, match=r"multiples of 32 and at least 64 \(recipe.num_layers 5\); the nearest is 96x64"):
        check_size((100, 32), 5, 3)


@pytest.mark.parametrize("key", ["table", "joint", "numbers"])
def test_what_is_told_in_use_is_what_is_told_in_training(key):
    stgan, attgan = (tiny(name, SPACES[key]).eval() for name in ("stgan", "attgan"))
    for recipe in (stgan, attgan):
        for dataset in range(recipe.space.num_datasets):
            batch = batch_of(recipe, dataset)
            target = whole_target(recipe.space, batch.labels_trg, batch.dataset)
            told = recipe.condition(target, batch.labels)
            with torch.no_grad():
                trained = recipe.generator(batch.x, batch.v if recipe is stgan else batch.c_trg)
                torch.testing.assert_close(recipe.translate(batch.x, told), trained, rtol=0, atol=1e-6)
                none = recipe.translate(batch.x, recipe.condition(target, batch.labels, 0.0))
                own = torch.zeros_like(batch.v) if recipe is stgan else batch.c_src
                torch.testing.assert_close(none, recipe.generator(batch.x, own), rtol=0, atol=1e-6)


def test_a_label_that_is_unknown_on_either_side_has_no_difference_and_no_class_term():
    recipe = tiny("stgan", SPACES["table"])
    whole, _ = whole_batch(recipe, count=64)
    known = whole.known.clone()
    known[torch.rand(known.shape, generator=torch.Generator().manual_seed(0)) < 0.5] = 0
    made = recipe.prepare(whole.extend(labels=whole.labels * known, known=known), step_generator(0, 0, 0))
    told = made["known_trg"] > 0
    assert told.any() and (known[told] == 1).all() and (made["v"][~told] == 0).all()
    assert torch.equal(made["v"][told], (made["labels_trg"] - whole.labels)[told])


def test_the_published_penalty_is_the_same_number_with_another_gradient():
    x, penalties, gradients = torch.randn(2, 3, 16, 16, dtype=torch.float64), [], []
    for exact in (True, False):
        torch.manual_seed(0)
        judge = Discriminator(3, 4, (16, 16), 4, 2, 8, exact=exact).double()
        value = gradient_penalty(input_gradient(lambda x, judge=judge: judge(x)[0], x)).sum()
        value.backward()
        penalties.append(value.detach())
        gradients.append(judge.conv[0].layers[0].weight.grad)
    torch.testing.assert_close(*penalties)
    assert (gradients[0] - gradients[1]).abs().max() > 1e-3 * gradients[0].abs().max()
