"""GANimation's targets, what its discriminator reads, and what it says of an attention that does not work."""

from __future__ import annotations

import pytest
import torch

from asterism.data.batch import Batch
from asterism.engine.step import step_generator
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.ganimation import numbers, total_variation
from tests.helpers.recipes import COUNT, SPACES, batch_of, tiny, trainer_of, whole_batch

UNITS = LabelSpace([LabelGroup("faces", ("AU06", "AU12"), "number", low=0, high=5)])


def test_a_target_is_another_pictures_numbers_plus_noise() -> None:
    recipe = tiny("ganimation", UNITS, noise=0.1)
    whole, _ = whole_batch(recipe)
    known = whole.known.clone()
    known[2, 1] = 0
    drawn = recipe.prepare(whole.extend(known=known), step_generator(0, 0, 0))
    torch.testing.assert_close(drawn["c_src"], whole.labels / 5 * known)
    off = drawn["c_trg"] - drawn["c_src"].roll(1, 0)
    assert drawn["c_trg"][3, 1] == 0 and drawn["known_trg"][3, 1] == 0, "unknown there, unknown here"
    assert 0.05 < off.abs().max() <= 0.1 and len(off.unique()) == off.numel()
    still = tiny("ganimation", UNITS, noise=0).prepare(whole, step_generator(0, 0, 0))
    assert torch.equal(still["c_trg"], (whole.labels / 5).roll(1, 0))


def test_unknown_numbers_have_no_loss() -> None:
    read, wanted, known = torch.randn(4, 3).double(), torch.rand(4, 5).double(), torch.ones(4, 3)
    known[0, 1], known[1] = 0, 0
    said = numbers(read, wanted, known)
    assert said[0] == pytest.approx(float(((read[0, 0] - wanted[0, 0]) ** 2 + (read[0, 2] - wanted[0, 2]) ** 2) / 2))
    assert said[1] == 0
    torch.testing.assert_close(said[2:], (read - wanted[:, :3]).square().mean(1)[2:])


def test_total_variation_is_the_sum_over_neighbours() -> None:
    a = torch.rand(2, 1, 5, 4).double()
    down = [[abs(p[i + 1][j] - p[i][j]) for i in range(4) for j in range(4)] for (p,) in a.tolist()]
    right = [[abs(p[i][j + 1] - p[i][j]) for i in range(5) for j in range(3)] for (p,) in a.tolist()]
    assert total_variation(a).tolist() == pytest.approx([sum(d) + sum(r) for d, r in zip(down, right, strict=True)])


def test_labels_that_hold_or_not_are_read_as_one_and_zero() -> None:
    """A number is what the head reads; another label holds where it reads more than a half."""
    recipe = tiny("ganimation", SPACES["numbers"]).eval()
    with torch.no_grad():
        recipe.discriminator.conv2.weight.zero_()
        x, read = torch.zeros(1, 3, 32, 32), torch.tensor([[0.2, 0.7, 0.4, 1.3]])
        recipe.discriminator.register_forward_hook(lambda *_: (torch.zeros(1, 1), read))
        labels = recipe.space.decide(recipe.classify(x))
    assert labels.tolist() == [[0, 1, pytest.approx(-1 + 0.4 * 5), 4]]


@pytest.mark.parametrize(("weight", "wrong"), [(100.0, "keeps nearly every pixel"), (-100.0, "paints nearly every pixel anew")])
def test_a_saturated_attention_is_told_once_in_training(weight: float, wrong: str) -> None:
    recipe = tiny("ganimation", UNITS, critic_steps=1)
    trainer, batch = trainer_of(recipe), batch_of(recipe)
    said: list[str] = []
    trainer.listener.say = said.append
    trainer.log, trainer.started, trainer.logged_at = None, 0.0, -1

    def train_and_log(value: float) -> None:
        with torch.no_grad():
            recipe.generator.attetion_reg[0].weight.fill_(value)
        trainer.train_batch(batch, COUNT)
        trainer.rates = {}
        trainer.write_log()
        trainer.logged_at -= 1

    train_and_log(0.0)
    assert said == []
    for _ in range(3):
        train_and_log(weight)
    assert len(said) == 1 and wrong in said[0]
    train_and_log(0.0)
    train_and_log(weight)
    assert len(said) == 2, "told again where it came back"


def test_the_attention_says_which_pixels_are_left_alone() -> None:
    recipe = tiny("ganimation", UNITS).double().eval()
    x = torch.rand(2, 3, 32, 32).double() * 2 - 1
    told = recipe.condition(
        Batch(labels=torch.tensor([[5.0, 0.0], [1.0, 2.0]]).double(), known=torch.ones(2, 2), dataset=torch.zeros(2))
    )
    with torch.no_grad():
        colours, _ = recipe.generator.heads(x, told)
        painted = recipe.attend(x, told)
        torch.testing.assert_close(recipe.translate(x, told), x + painted * (colours - x))
