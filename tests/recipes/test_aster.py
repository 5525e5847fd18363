"""Aster: what its steps draw, whom its judges judge, and what its generator leaves alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.engine.finetune import adopt
from asterism.engine.step import phase_at
from asterism.inference.translator import Translator
from asterism.labels import LabelGroup, LabelSpace
from asterism.networks.aster import Discriminator, Generator
from asterism.networks.sizes import SizeError
from asterism.recipes.aster import MEET, Aster, Config
from asterism.recipes.model import Model

FACES = LabelGroup(
    "faces",
    ("Black_Hair", "Blond_Hair", "Red_Hair", "Glasses", "Smiling"),
    "binary",
    exclusive=(HAIR := ("Black_Hair", "Blond_Hair", "Red_Hair"),),
)
SPACE = LabelSpace([FACES, LabelGroup("moods", ("calm", "happy"), "one_of")])
UNITS = ([0, 1, 2], [3], [4])
"""Of the faces."""


def tiny(space: LabelSpace = SPACE, **settings) -> Aster:
    torch.manual_seed(0)
    return Aster(Config(width=4, **settings), space, PictureFormat(3, 32, 32))


def faces(count: int, seed: int = 0) -> Batch:
    """Labels of faces, all known."""
    rng = torch.Generator().manual_seed(seed)
    dataset = torch.zeros(count, dtype=torch.long)
    return Batch(labels=SPACE.sample_uniform(dataset, rng), known=SPACE.known(dataset), dataset=dataset)


def prepared(recipe: Aster, batch: Batch, seed: int = 1) -> Batch:
    return batch.extend(**recipe.prepare(batch, torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (48, 80)])
def test_the_penalty_gradient_is_that_of_autograd(size):
    torch.manual_seed(0)
    judge = Discriminator(3, 5, size, 4).double()
    x, weights = torch.rand(2, 3, *size).double().requires_grad_(), torch.rand(2, 2, 5).double()
    said = judge(x)
    score = said.patch.mean(1) + (weights * said.judge).sum((1, 2)) + (weights * said.local.mean(-1)).sum((1, 2))
    (expected,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    written = judge.score_gradient(x.detach(), weights)
    torch.testing.assert_close(written, expected, rtol=1e-10, atol=1e-14)
    parameters = [p for name, p in judge.named_parameters() if "weight" in name and "classes" not in name]
    for one, other in zip(
        torch.autograd.grad(written.square().sum(), parameters),
        torch.autograd.grad(expected.square().sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-18)


def test_a_step_changes_whole_units_and_tells_the_generator_only_of_labels_it_knows():
    batch = faces(4000)
    batch.known[:1000, 3] = 0  # Glasses are unknown in a quarter of the pictures.
    batch.labels[:1000, 3] = 0
    recipe = tiny(same=0.2, more=0.3, hide=0.5)
    made = prepared(recipe, batch)
    changed, c = made.take.bool(), made.c_trg
    for unit in UNITS:
        together = changed[:, unit]
        assert (together.all(1) == together.any(1)).all()
    assert not changed[:1000, 3].any() and (c[:1000, 3] == 0).all() and (c[:, 5:] == 0).all()
    assert set(c.unique().tolist()) == {-1.0, 0.0, 1.0}
    # What is asked for differs from what is there, and of alternatives exactly one is asked for.
    wanted = c > 0
    assert (wanted[changed] != made.labels.bool()[changed]).sum() == 2 * changed[:, 0].sum() + changed[:, 3:5].sum()
    assert (wanted[changed[:, 0]][:, :3].sum(1) == 1).all()
    # What stays is told as it is, or not at all, in half of the edits each.
    edits, kept = changed.any(1), ~changed & made.known.bool()
    told = c != 0
    assert torch.equal(c[kept & told], (2 * made.labels - 1)[kept & told])
    hidden = ~(told & kept)[edits & kept.any(1)].any(1)
    assert abs(float(hidden.float().mean()) - 0.5) < 0.03
    assert abs(float((~edits).float().mean()) - 0.2) < 0.02
    # Every known unit comes first as often as any other, and each further one at the chance of `more`.
    expected = 0.8 * (1 / 3 + 2 / 3 * 0.3)
    for unit in UNITS:
        assert abs(float(changed[1000:, unit[0]].float().mean()) - expected) < 0.03


def test_any_alternative_is_asked_for_where_none_holds():
    batch = faces(3000)
    batch.labels[:, :3] = 0
    made = prepared(tiny(same=0.0), batch)
    asked = (made.c_trg[made.take[:, 0] > 0][:, :3] > 0).float()
    assert (asked.sum(1) == 1).all() and (asked.mean(0) - 1 / 3).abs().max() < 0.03


def test_judges_count_labels_that_hold_of_alternatives_and_both_values_of_others():
    recipe = tiny(kept_weight=0.25)
    made = prepared(recipe, faces(64))
    labels, absent, present = made.labels, made.weights_real[:, 0], made.weights_real[:, 1]
    assert (absent[:, :3] == 0).all() and ((present[:, :3] > 0) == labels[:, :3].bool()).all()
    assert ((absent[:, 3:5] > 0) != labels[:, 3:5].bool()).all() and (made.weights_real[:, :, 5:] == 0).all()
    asked = made.weights_taken.sum(1) > 0
    assert not (asked & ~made.take.bool()).any()
    assert torch.equal(made.weights_fake.sum(1) == 0.25, (made.weights_fake.sum(1) > 0) & ~made.take.bool())


def test_unknown_labels_and_labels_of_other_datasets_move_no_weight():
    recipe = tiny().double()
    x = torch.rand(12, 3, 32, 32, dtype=torch.float64) * 2 - 1
    batch = faces(12)
    batch.known[:, 4] = 0
    made = prepared(recipe, batch).to("cpu", torch.float64).extend(x=x)
    terms = recipe.discriminator_terms(made, torch.zeros(()))
    sum(weight * value.mean() for weight, value in terms.values()).backward()
    for head in (recipe.discriminator.judge.weight, recipe.discriminator.local.weight):
        by_label = head.grad.unflatten(0, (2, SPACE.num_labels)).abs().sum((0, 2, 3, 4))
        assert (by_label[:4] > 0).all() and (by_label[4:] == 0).all()


def test_the_losses_are_the_formulas():
    """Logistic losses of the labels' own judges, L1 to the source, and the penalty at real pictures or at fakes."""
    recipe = tiny().double()
    x = torch.rand(6, 3, 32, 32, dtype=torch.float64) * 2 - 1
    made = prepared(recipe, faces(6)).to("cpu", torch.float64).extend(x=x)
    y = recipe.generator(x, made.c_trg).detach()
    real, fake = recipe.discriminator(x), recipe.discriminator(y)
    table = recipe.discriminator_terms(made, torch.zeros(()))
    terms = {name: value for name, (_, value) in table.items()}
    own = recipe.generator_terms(made, torch.zeros(()))
    asked = (made.c_trg > 0).double()
    for n in range(6):
        judge = sum(
            made.take[n, a] * F.softplus(-fake.judge[n, int(asked[n, a]), a]) for a in range(5) if a >= 3 or asked[n, a]
        )
        torch.testing.assert_close(own["judge"][1][n], torch.as_tensor(judge, dtype=torch.float64))
        point, weights = (y, made.weights_fake) if made.at_fake[n] else (x, made.weights_real)
        at = point[n : n + 1].clone().requires_grad_()
        said = recipe.discriminator(at)
        score = said.patch.mean() + (weights[n] * (said.judge[0] + said.local[0].mean(-1))).sum()
        torch.testing.assert_close(terms["penalty"][n], torch.autograd.grad(score, at)[0].square().sum() / 2)
    torch.testing.assert_close(terms["real_patch"], F.softplus(-real.patch).mean(1))
    torch.testing.assert_close(terms["fake_local"], (F.softplus(fake.local).mean(-1) * made.weights_fake).sum((1, 2)))
    torch.testing.assert_close(own["keep"][1] + own["same"][1], (y - x).abs().mean((1, 2, 3)))
    assert table["penalty"][0] == 0.2  # At 32 x 32 pixels.


def test_coarse_steps_see_half_the_side_and_have_a_discriminator_of_their_own():
    torch.manual_seed(0)
    recipe = Aster(Config(width=4, coarse=5), SPACE, PictureFormat(3, 64, 64)).double()
    x = torch.rand(4, 3, 64, 64, dtype=torch.float64) * 2 - 1
    happens = {}
    for step in (0, 4, 5, 5 + MEET - 1, 5 + MEET):
        recipe.enter(phase_at(recipe, step).name)
        happens[step] = [update.name for update in recipe.updates if update.due(step, recipe.phase)]
        seen = prepared(recipe, faces(4)).to("cpu", torch.float64).extend(x=x)
        seen = seen.extend(**recipe.observe(seen))
        assert seen.x.shape[2:] == ((32, 32) if step < 5 else (64, 64))
        for name, expected in (("coarse_discriminator", 0.2), ("discriminator", 0.8)):
            if name in happens[step]:
                weight, penalty = getattr(recipe, f"{name}_terms")(seen, torch.zeros(()))["penalty"]
                assert weight == expected
                trunk = list(getattr(recipe, name).trunk.parameters())
                grown = torch.autograd.grad(penalty.sum(), trunk, allow_unused=True)
                assert any(g is not None and g.abs().sum() > 0 for g in grown)
    coarse, both = ["coarse_discriminator"], ["coarse_discriminator", "discriminator"]
    assert list(happens.values()) == [[*coarse, "generator"]] * 2 + [both] * 2 + [[*both, "generator"]]
    # To the end the generator hears both, each on pictures of its side.
    asked = prepared(recipe, faces(4)).to("cpu", torch.float64).extend(x=x)
    y = recipe.generator(x, asked.c_trg)
    heard = [recipe.discriminator(y), recipe.coarse_discriminator(F.avg_pool2d(y, 2))]
    wanted = torch.stack([F.softplus(-said.patch).mean(1) for said in heard]).mean(0)
    torch.testing.assert_close(recipe.generator_terms(asked, torch.zeros(()))["patch"][1], wanted)
    # A model saved early translates pictures of any side that the whole one takes, and knows its own labels.
    told = recipe.condition(faces(4))
    recipe.enter("coarse")
    odd = F.pad(x, (0, 8))
    assert recipe.translate(odd, told.double()).shape == odd.shape and recipe.classify(x).shape == (4, SPACE.num_labels)
    # At first the whole picture is given the change that its half would be: what was learned is at its place.
    c = told[:, :-1].double()
    small = torch.cat(recipe.generator.change(F.avg_pool2d(x, 2), c, half=True), 1)
    large = torch.cat(recipe.generator.change(x, c), 1)
    torch.testing.assert_close(large, F.interpolate(small, scale_factor=2, mode="bilinear"))


def test_coarse_steps_are_left_out_where_the_networks_do_not_take_half_the_side():
    for side, names in ((32, ["whole"]), (56, ["whole"]), (72, ["coarse", "meet", "whole"])):
        recipe = Aster(Config(width=4, coarse=5), SPACE, PictureFormat(3, side, side))
        assert [phase.name for phase in recipe.phases] == names
        x, c = torch.rand(2, 3, side, side), torch.zeros(2, SPACE.num_labels)
        assert recipe.generator(x, c).shape == x.shape and recipe.judges[0](x).judge.shape == (2, 2, SPACE.num_labels)
        if len(names) > 1:
            assert recipe.generator(F.avg_pool2d(x, 2), c, half=True).shape == (2, 3, side // 2, side // 2)


def test_a_model_of_version_0_2_0_makes_the_same_pictures():
    """Its generator had no way in and out for half the side; the bundled model is such a one."""
    recipe = tiny().eval()
    torch.nn.init.normal_(recipe.generator.last.weight, std=0.1)  # As if trained.
    before = {k: v for k, v in recipe.state_dict().items() if "_half" not in k and k != "generator.detail"}
    given = recipe.completed(before)
    assert set(given) == set(recipe.state_dict()) and all(given[key] is value for key, value in before.items())
    recipe.load_state_dict(dict(given))
    g, x, c = recipe.generator, torch.rand(2, 3, 32, 32), torch.randn(2, SPACE.num_labels)
    h = [g.first(F.pixel_unshuffle(x, 2))]
    h.append((deep := g.down[0](h[0])) + g.refine[0](deep))
    deep, s = g.down[1](h[1]), g.code(c)
    for block in g.core:
        deep = block(deep, s)
    for up in g.up:
        deep = up(deep, h.pop(), s)
    made = F.pixel_shuffle(g.last(deep), 2)
    torch.testing.assert_close(g(x, c), x + F.softshrink(made[:, :-1] - made[:, -1:] * x, g.dead_zone))
    only = {key: value for key, value in before.items() if not key.startswith("generator.")}
    assert recipe.completed(only) is only, "a file without the generator"
    assert recipe.completed(recipe.state_dict()).keys() == recipe.state_dict().keys()


def test_weights_of_a_run_without_coarse_steps_start_one_with_them_over_other_labels():
    names = ("Smiling", *HAIR, "Hat")
    other = LabelSpace([LabelGroup("others", names, "binary", exclusive=(HAIR,))])
    old = Aster(Config(width=4), SPACE, PictureFormat(3, 64, 64))
    new = Aster(Config(width=4, coarse=5), other, PictureFormat(3, 64, 64))
    fresh = {key: value.clone() for key, value in new.state_dict().items()}
    for source, target in ((old, new), (new, old)):
        adopt(target, Model(source, "aster", source.space, source.picture, source.config, {}), "aster")
        column = [recipe.generator.code[0].weight[:, recipe.space.index("Smiling")] for recipe in (source, target)]
        assert torch.equal(*column)
        if target is new:
            kept = [key for key in fresh if key.startswith("coarse_discriminator.")]
            assert kept and all(torch.equal(new.state_dict()[key], fresh[key]) for key in kept)


def test_one_label_changes_at_a_time_in_the_last_part():
    """A unit at most; the judges of real pictures then count as often as their labels are asked for."""
    recipe = Aster(Config(width=4, alone=3, more=0.9, hide=0, same=0), SPACE, PictureFormat(3, 32, 32))
    assert [phase_at(recipe, step).name for step in (0, 2, 3, 9)] == ["mixed", "mixed", "whole", "whole"]
    most = {}
    for phase in ("mixed", "whole"):
        recipe.enter(phase)
        take = recipe.prepare(faces(64), torch.Generator().manual_seed(0))["take"]
        most[phase] = max(sum(bool(row[unit].any()) for unit in recipe.units) for row in take)
    assert most["whole"] == 1 < most["mixed"]
    late = Aster(Config(width=4, coarse=5, alone=100), SPACE, PictureFormat(3, 64, 64))
    assert [phase.name for phase in late.phases] == ["coarse", "meet", "whole"], "not before the coarse steps are over"


def test_small_changes_become_none():
    """Within the dead zone a picture comes back to the byte; beyond it the change is what remains of it."""
    torch.manual_seed(0)
    generator, x = Generator(3, 5, 4, 2, dead_zone=0.03), torch.rand(2, 3, 64, 64) * 2 - 1
    b, m = generator.change(x, torch.ones(2, 5))
    raw, y = b - m * x, generator(x, torch.ones(2, 5))
    small = raw.abs() < 0.03
    assert small.any() and not small.all() and torch.equal(y[small], x[small])
    torch.testing.assert_close(y[~small] - x[~small], raw[~small] - 0.03 * raw[~small].sign(), rtol=0, atol=1e-6)


def test_numbers_are_drawn_and_judged_by_shares():
    space = LabelSpace([LabelGroup("faces", ("AU12",), "number", low=0, high=5)])
    recipe, count = tiny(space), 500
    labels, dataset = torch.rand(count, 1) * 5, torch.zeros(count, dtype=torch.long)
    made = prepared(recipe, Batch(labels=labels, known=torch.ones(count, 1), dataset=dataset))
    c, taken = made.c_trg, made.take[:, 0] > 0
    assert c.shape == (count, 2) and c[:, 0].min() >= -1 and c[:, 0].max() <= 1 and len(c[:, 0].unique()) > count / 2
    assert (c[:, 1] == 1).all()  # All of it is told, also where nothing changes: half of a range is not "leave it".
    torch.testing.assert_close(made.weights_taken[taken][:, 1, 0], (c[taken, 0] + 1) / 2)


def test_sizes_that_the_networks_cannot_take_are_refused():
    with pytest.raises(SizeError, match="multiples of 8 and at least 32; the nearest is 64x40"):
        Aster(Config(), SPACE, PictureFormat(3, 64, 42))


def test_a_target_names_what_changes_over_several_datasets_at_once_and_by_a_strength():
    """One pass for labels of two datasets; nothing is asked of the labels that are not named; strength scales the change."""
    recipe = tiny().eval()
    model = Model(recipe, "aster", SPACE, recipe.picture, recipe.config, {})
    told = []
    recipe.generator.register_forward_pre_hook(lambda module, given: told.append(given[1]))
    x = torch.rand(3, 32, 32) * 2 - 1
    translator = Translator(model, "cpu", "float32")
    whole = translator.translate(x, "Red_Hair,happy,Glasses=no")
    assert len(told) == 1 and told[0].tolist() == [[-1, -1, 1, -1, 0, -1, 1]]
    half = translator.translate(x, "Red_Hair,happy,Glasses=no", strength=0.5)
    inside = whole.abs() < 1
    torch.testing.assert_close((half - x)[inside], ((whole - x) / 2)[inside], rtol=1e-4, atol=1e-5)
    assert torch.equal(translator.translate(x, "Smiling", strength=0), x)
