"""Pictures without labels beside labelled ones: which recipes learn from them, and what they make of them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from PIL import Image

from asterism.config import ConfigError
from asterism.data.dataset import open_data
from asterism.data.loader import Loader
from asterism.engine.distributed import Processes
from asterism.engine.listener import Silent
from asterism.engine.run import prepare
from asterism.engine.step import step_generator
from asterism.networks.noise import hashed, noisy
from asterism.networks.semistargan import YModel
from asterism.objectives.penalties import input_gradient
from asterism.recipes import RECIPES, recipe_class
from asterism.recipes.settings import Settings
from tests.helpers.recipes import COUNT, SPACES, batch_of, tables, tiny, whole_batch

REFUSING = [name for name in sorted(RECIPES) if recipe_class(name).labelled and not recipe_class(name).unlabelled]


def settings(root: Path, name: str) -> Settings:
    for folder, count in (("cat", 6), ("dog", 6), ("unlabelled", 40)):
        (root / "train" / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.new("RGB", (64, 64), (4 * i, 0, 9)).save(root / "train" / folder / f"{i}.png")
    small = {"data.size": 64, "data.unlabelled": "keep", "data.workers": 0}
    return Settings.resolve(name, [str(root)], "small", small)


@pytest.mark.parametrize("name", REFUSING)
def test_a_recipe_that_cannot_use_them_refuses_before_anything_is_read(tmp_path: Path, name: str) -> None:
    message = f"^--data.unlabelled keep: {name} learns nothing from pictures without labels: leave it out$"
    with pytest.raises(ConfigError, match=message):
        prepare(
            Settings.resolve(name, [str(tmp_path / "none")], "small", {"data.unlabelled": "keep"}),
            tmp_path / "run",
            None,
            Silent(),
            Processes(),
        )


def test_every_sample_comes_with_a_labelled_picture(tmp_path: Path) -> None:
    own = settings(tmp_path, "semistargan")
    data = open_data(own.data)
    loader = Loader(
        data.splits["train"],
        data.picture,
        own.data,
        batch_size=8,
        seed=3,
        streams=recipe_class("semistargan").streams,
        on_broken=lambda *_: None,
    )
    wholes = [whole for ((whole, _),) in itertools.islice(loader.iterate(0), 13)]
    known, known_lab = (torch.cat([getattr(w, key) for w in wholes]) for key in ("known", "known_lab"))
    labels_lab = torch.cat([w.labels_lab for w in wholes])
    assert known_lab.all() and (labels_lab.sum(0) > 20).all(), "both domains, drawn among 12 of 52 pictures"
    assert 0.7 < (known.sum(1) == 0).float().mean() < 0.85, "any picture, 40 of 52 without a label"


def test_stargan_takes_targets_from_labelled_pictures_only() -> None:
    recipe = tiny("stargan", SPACES["folders"])
    whole, pictures = whole_batch(recipe)
    rows = torch.arange(COUNT) < 4  # Without labels.
    named = {"labels": whole.labels * ~rows[:, None], "known": whole.known * ~rows[:, None]}
    whole = whole.extend(**named)
    drawn = recipe.prepare(whole, step_generator(0, 0, 0))
    assert drawn["known_trg"].all()
    assert {tuple(row) for row in drawn["labels_trg"].tolist()} == {tuple(row) for row in whole.labels[4:].tolist()}
    made = tables(recipe, whole.extend(**pictures, **drawn))
    assert not made["discriminator"]["class"][1][:4].any() and made["discriminator"]["class"][1][4:].all()
    assert made["discriminator"]["real"][1][:4].all() and made["generator"]["reconstruction"][1][:4].all()
    every = whole.extend(labels=0 * whole.labels, known=0 * whole.known)
    assert not recipe.prepare(every, step_generator(0, 0, 0))["known_trg"].any(), "no labels, no target"


def test_semistargan_leads_unlabelled_pictures_back_to_what_the_classifier_reads() -> None:
    recipe = tiny("semistargan", SPACES["table"])
    batch = batch_of(recipe)
    known = batch.known.clone()
    known[:3] = 0
    batch = batch.extend(labels=batch.labels * known, known=known)
    with torch.no_grad():
        seeds = batch.seeds[:, 14:16].t().flatten()
        read = recipe.discriminator.classify(torch.cat([batch.x_lab, batch.x]), seeds)[COUNT:]
        code = recipe.source(batch)
    assert torch.equal(code[3:], batch.labels[3:]), "known labels win"
    assert torch.equal(code[:3], recipe.space.decide(read)[:3]) and code[:3, :2].sum(1).eq(1).all()


def test_semistargan_ramps_and_phases() -> None:
    recipe = tiny("semistargan", SPACES["folders"], ramp_steps=30, pseudo_after=30)
    batch = batch_of(recipe)

    def weight(table: str, term: str, step: float) -> float:
        return float(tables(recipe, batch, torch.tensor(step))[table][term][0])

    for step, share in ((0, 0.0), (15, 0.5), (30, 1.0), (90, 1.0)):
        expected = 2 * torch.exp(torch.tensor(-5.0 * (1 - share) ** 2))
        assert weight("discriminator", "consistency", step) == pytest.approx(float(expected))
    assert weight("generator", "reconstruction", 0) == weight("generator", "reconstruction_unlabelled", 0) == 5
    recipe.enter("labelled")
    assert "reconstruction_unlabelled" not in tables(recipe, batch)["generator"]
    assert [weight("generator", "identity_same", step) for step in (0, 9, 10, 19, 20, 29)] == [1, 1, 0.5, 0.5, 0, 0]
    assert weight("generator", "reconstruction", 0) == 10


def test_the_identity_counts_where_the_target_is_the_own_label() -> None:
    recipe = tiny("semistargan", SPACES["folders"])
    whole, _ = whole_batch(recipe)
    drawn = recipe.prepare(whole, step_generator(0, 0, 0))
    same = (drawn["labels_trg"] == whole.labels_lab).all(1)
    assert same[0], "the first keeps its own"
    torch.testing.assert_close(drawn["same"], same * COUNT / same.sum())


@pytest.mark.parametrize("deep", [False, True])
def test_the_written_out_gradient_is_autograds(deep: bool) -> None:
    torch.manual_seed(0)
    judge = YModel(3, 2, 4, deep).double()
    x, seed = torch.randn(2, 3, 64, 72).double(), torch.tensor([5, 2**61])
    expected = input_gradient(lambda x: judge(x, seed)[0], x)
    largest = float(expected.detach().abs().max())
    torch.testing.assert_close(judge.score_gradient(x, seed), expected, rtol=1e-10, atol=1e-12 * largest)


def test_noise_is_noise_and_a_function_of_its_seed() -> None:
    seeds = torch.randint(2**62, (8,), generator=torch.Generator().manual_seed(1))
    u = torch.stack([hashed(seeds, stream, 20_000) for stream in range(4)]).double()
    assert 0 < u.min() and u.max() < 1
    assert (u.mean(-1) - 0.5).abs().max() < 0.01 and (u.var(-1) - 1 / 12).abs().max() < 0.002
    correlation = torch.corrcoef(u.reshape(32, -1)) - torch.eye(32)
    assert correlation.abs().max() < 0.04 and torch.corrcoef(torch.stack([u[0, 0, 1:], u[0, 0, :-1]]))[0, 1].abs() < 0.04
    x = torch.zeros(8, 3, 64, 64)
    added = noisy(x, seeds, 0.15)
    assert abs(float(added.std()) - 0.15) < 0.002 and abs(float(added.mean())) < 0.002 and added.abs().max() < 0.15 * 6
    assert torch.equal(noisy(x[:1], seeds[3:4], 0.15)[0], added[3]) and torch.equal(noisy(x, None, 0.15), x)
    assert torch.equal(noisy(x.bfloat16(), seeds, 0.15), added)  # What a generator makes in bfloat16.


def test_dropout_clears_half_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    judge = YModel(3, 2, 8).eval()
    x = torch.rand(64, 3, 64, 64)
    with torch.no_grad():
        plain = judge.classify(x)
        drawn = [judge.classify(x, torch.arange(64) + 1000 * k) for k in range(2)]
    assert not torch.equal(*drawn) and torch.equal(drawn[0], judge.classify(x, torch.arange(64)))
    assert plain.shape == drawn[0].shape == (64, 2)
