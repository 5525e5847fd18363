"""IcGAN: every term against its literal formula in float64, what is told of labels, and the two phases."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from asterism.data.pictures import PictureFormat
from asterism.engine.step import step_generator
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.icgan import Config, IcGAN
from tests.helpers.recipes import COUNT, SPACES, batch_of, tables, tiny, trainer_of, whole_batch

SMALL = {"encoder_conv_dim": 4, "latent_hidden": 8, "label_hidden": 8}


def test_terms_are_the_literal_formulas() -> None:
    recipe = tiny("icgan", SPACES["table"], **SMALL).double()
    batch = batch_of(recipe)
    made, judge, bce = tables(recipe, batch), recipe.discriminator, F.binary_cross_entropy
    y = 2 * batch.labels - 1
    x_fake = recipe.generator(batch.z, batch.y_fake)
    one, zero = torch.ones(COUNT).double(), torch.zeros(COUNT).double()
    expected = {
        ("discriminator", "real"): (1.0, bce(judge(batch.x, y).sigmoid(), one, reduction="none")),
        ("discriminator", "wrong"): (0.5, bce(judge(batch.x, batch.y_wrong).sigmoid(), zero, reduction="none")),
        ("discriminator", "fake"): (0.5, bce(judge(x_fake, batch.y_fake).sigmoid(), zero, reduction="none")),
        ("generator", "adversarial"): (1.0, bce(judge(x_fake, batch.y_fake).sigmoid(), one, reduction="none")),
        ("latent_encoder", "latent"): (1.0, ((recipe.latent_encoder(x_fake) - batch.z) ** 2).mean(1)),
        ("label_encoder", "label"): (1.0, ((recipe.label_encoder(batch.x) - y) ** 2).mean(1)),
    }
    assert {(table, term) for table, terms in made.items() for term in terms} == set(expected)
    for (table, term), (weight, value) in expected.items():
        assert made[table][term][0] == weight
        torch.testing.assert_close(made[table][term][1], value, rtol=1e-9, atol=1e-12)


def test_wrong_labels_are_wrong_and_those_of_generated_pictures_are_of_real_ones() -> None:
    recipe = tiny("icgan", SPACES["folders"], **SMALL)
    whole, _ = whole_batch(recipe, count=12)
    drawn = recipe.prepare(whole, step_generator(0, 0, 0))
    assert (drawn["y_wrong"] != drawn["y"]).any(1).all()
    real = {tuple(row) for row in drawn["y"].tolist()}
    assert {tuple(row) for row in drawn["y_wrong"].tolist()} <= real
    assert sorted(map(tuple, drawn["y_fake"].tolist())) == sorted(map(tuple, drawn["y"].tolist()))
    alike = whole.extend(labels=whole.labels[:1].expand(12, -1))
    drawn = recipe.prepare(alike, step_generator(0, 0, 0))
    assert (drawn["y_wrong"] != drawn["y"]).any(1).all(), "turned round where all are alike"
    recipe = tiny("icgan", SPACES["joint"], **SMALL)
    whole, _ = whole_batch(recipe, 1, count=12)
    alike = whole.extend(labels=whole.labels[:1].expand(12, -1))
    drawn = recipe.prepare(alike, step_generator(0, 0, 1))
    assert (drawn["y_wrong"] != drawn["y"]).any(1).all(), "a label of their own dataset"


def test_labels_that_say_less_are_not_wrong() -> None:
    recipe = tiny("icgan", SPACES["table"], **SMALL)
    whole, _ = whole_batch(recipe, count=32)
    known = (torch.rand(32, 3, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    known[:, 2] = 1
    drawn = recipe.prepare(whole.extend(labels=whole.labels * known, known=known), step_generator(0, 0, 0))
    assert (drawn["y_wrong"] * drawn["y"] < 0).any(1).all()


def test_what_is_told_of_labels() -> None:
    recipe = tiny("icgan", SPACES["joint"], **SMALL)
    labels, known = torch.tensor([[1.0, 0, 0, 0, 0, 0]]), torch.tensor([[1.0, 1, 0, 0, 0, 0]])
    told = recipe.signed(labels, known, torch.tensor([0]))
    assert told.tolist() == [[1, -1, 0, 0, 0, 0, 1, 0]]
    for key in ("joint", "table", "numbers"):
        recipe = tiny("icgan", SPACES[key], **SMALL)
        for dataset in range(recipe.space.num_datasets):
            batch = batch_of(recipe, dataset)  # Of a target all labels are known, and its code says the same.
            assert torch.equal(recipe.signed_code(recipe.condition(batch)), batch.y)


def test_a_translation_is_made_of_what_the_encoder_reads() -> None:
    recipe = tiny("icgan", SPACES["numbers"], **SMALL).eval()
    batch = batch_of(recipe)
    with torch.no_grad():
        code, z = recipe.condition(batch), recipe.latent_encoder(batch.x)
        assert torch.equal(recipe.translate(batch.x, code), recipe.generate(z, code))
        assert torch.equal(recipe.generate(z, code), recipe.generator(z, batch.y))
        read, logits = recipe.label_encoder(batch.x), recipe.classify(batch.x)
    assert torch.equal(logits[:, :2], read[:, :2]) and torch.equal(logits[:, 2:], (read[:, 2:] + 1) / 2), "numbers are shares"


def test_the_generator_rests_while_the_encoders_learn() -> None:
    recipe = tiny("icgan", SPACES["folders"], gan_steps=1, **SMALL)
    trainer = trainer_of(recipe, batch_size=COUNT, steps=3)
    changed = []
    for step in range(3):
        trainer.step = step
        trainer.enter_phase()
        before = {key: t.clone() for key, t in recipe.state_dict().items()}
        trainer.train_batch(batch_of(recipe, seed=step), COUNT)
        changed.append({key.split(".")[0] for key, t in recipe.state_dict().items() if not torch.equal(t, before[key])})
    assert changed == [{"generator", "discriminator"}, *([{"latent_encoder", "label_encoder"}] * 2)]
    assert not recipe.generator.training and recipe.latent_encoder.training
    held = dict(trainer.average.weights)
    assert all(
        torch.equal(held[f"generator.{k}"], t) for k, t in recipe.generator.state_dict().items() if t.is_floating_point()
    )


def test_the_published_numbers_of_parameters() -> None:
    space = LabelSpace([LabelGroup("celeba", tuple(f"a{i}" for i in range(18)), "binary")])
    with torch.device("meta"):
        recipe = IcGAN(Config(), space, PictureFormat(3, 64, 64))
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in recipe.networks.items()}
    assert counts == {
        "generator": 3_725_123,
        "discriminator": 2_803_393,
        "latent_encoder": 18_278_244,
        "label_encoder": 3_186_962,
    }
