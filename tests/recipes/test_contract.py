"""The contract that every recipe keeps; a new recipe is tested by its line in the registry, by what it says it can do."""

from __future__ import annotations

import pytest
import torch

from asterism.config import ConfigError, build, to_dict
from asterism.data.batch import Batch
from asterism.engine.finetune import adopt
from asterism.engine.step import step_generator
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes import RECIPES, recipe_class
from asterism.recipes.base import Recipe
from asterism.recipes.model import Model, load_model, save_model
from asterism.recipes.render import generate, translate, whole_target
from asterism.recipes.settings import Settings
from tests.helpers.recipes import COUNT, SIZE, SPACES, batch_of, some_space, tables, takes, tiny, trainer_of, whole_batch

PAIRS = [(name, key) for name in sorted(RECIPES) for key in SPACES if takes(name, SPACES[key])]
"""Every recipe with every label space that it takes."""


def those(condition) -> list[str]:
    """Names of the recipes whose tiny build meets a condition; the tests below state that there are some."""
    return [name for name in sorted(RECIPES) if condition(tiny(name, some_space(name)))]


TRANSLATING = those(lambda recipe: recipe.abilities.translates)
GENERATING = those(lambda recipe: recipe.abilities.generates)
JUDGING = those(lambda recipe: recipe.abilities.judges)
SCORING = those(lambda recipe: recipe.abilities.scores)
ATTENDING = those(lambda recipe: recipe.abilities.attends)
STYLED = those(lambda recipe: recipe.abilities.style)
SHARING = those(lambda recipe: any(update.shares for update in recipe.updates))
TOLD = those(lambda recipe: recipe.label_slots())


@pytest.fixture(params=sorted(RECIPES))
def name(request):
    return request.param


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def pair(request):
    return request.param[0], SPACES[request.param[1]]


def target_of(recipe: Recipe, batch: Batch) -> torch.Tensor:
    """What the recipe is told of the batch's own labels as a target."""
    return recipe.condition(whole_target(recipe.space, batch.labels, batch.dataset), torch.zeros_like(batch.labels))


def test_a_recipe_says_what_it_can(name):
    """It makes pictures or judges them; what it says has its method, and what it has is said."""
    recipe = tiny(name, some_space(name))
    can = recipe.abilities
    assert can.makes_pictures
    methods = {"translate": can.translates, "generate": can.generates, "classify": can.judges, "read_style": can.reads_style}
    methods |= {"attend": can.attends, "recognise": bool(can.codes), "realness": bool(can.scores)}
    for method, said in methods.items():
        assert (getattr(type(recipe), method) is not getattr(Recipe, method)) == said, method
    assert bool(can.latent) == (can.generates or type(recipe).draw_style is not Recipe.draw_style)


@pytest.mark.parametrize("name", SCORING)
def test_what_a_discriminator_learns_of_real_pictures_raises_their_realness(name):
    """To first order, by the networks that are named: so higher is more real. Each picture is scored alone."""
    recipe = tiny(name, some_space(name, "two", "folders")).double()
    batch, scores = batch_of(recipe), recipe.abilities.scores
    weights = [w for network in scores for w in recipe.networks[network].parameters()]
    made = [t for u in recipe.updates if set(u.trains) & set(scores) for t in one_table(recipe, u, batch).items()]
    loss = sum(weight * value.mean() for key, (weight, value) in made if key.startswith("real"))
    learned = torch.autograd.grad(loss, weights, allow_unused=True, retain_graph=True)
    recipe.eval()  # As it is used: by running statistics, which do not mix pictures.
    real = recipe.realness(batch.x)
    assert real.shape == (COUNT,)
    torch.testing.assert_close(recipe.realness(batch.x[1:3]), real[1:3])
    raised = torch.autograd.grad(real.mean(), weights, allow_unused=True)
    both = [(a, b) for a, b in zip(learned, raised, strict=True) if a is not None and b is not None]
    assert sum(float((a * b).sum()) for a, b in both) < 0


def one_table(recipe: Recipe, update, batch: Batch) -> dict:
    return getattr(recipe, f"{update.terms or update.name}_terms")(batch, torch.zeros(()), *update.args)


def test_every_recipe_takes_a_label_space_and_says_which_it_refuses(name):
    assert [key for key in SPACES if takes(name, SPACES[key])]
    for key in SPACES:
        if not takes(name, SPACES[key]):
            with pytest.raises(ConfigError, match="translates between"):
                tiny(name, SPACES[key])


def test_terms_are_finite_float32_one_per_sample(pair):
    recipe = tiny(*pair)
    for dataset in range(recipe.space.num_datasets):
        made = tables(recipe, batch_of(recipe, dataset))
        assert made and all(made.values())
        for table, terms in made.items():
            for key, (_, value) in terms.items():
                assert value.shape == (COUNT,), (table, key)
                assert value.dtype == torch.float32, (table, key)
                assert torch.isfinite(value).all(), (table, key)


def test_terms_are_finite_in_bfloat16(name):
    """Which has three digits: 0.999 is 1, and 257 is 256."""
    recipe = tiny(name, some_space(name))
    with torch.autocast("cpu", torch.bfloat16):
        made = tables(recipe, batch_of(recipe))
    for table, terms in made.items():
        for key, (_, value) in terms.items():
            assert torch.isfinite(value).all(), (table, key)


def test_an_update_changes_exactly_the_networks_it_names(pair):
    recipe = tiny(*pair)
    trainer = trainer_of(recipe)
    trainer.step = trainer.config.steps - 1  # Where lazy tables are due too.
    for update in recipe.updates:
        before = {k: v.clone() for k, v in recipe.state_dict().items()}
        trainer.apply(update, batch_of(recipe), COUNT, torch.zeros(()))
        changed = {k.split(".")[0] for k, v in recipe.state_dict().items() if not torch.equal(v, before[k])}
        assert changed == set(update.trains)


def test_an_update_is_a_pure_function_of_weights_and_batch(name):
    recipe = tiny(name, some_space(name, "joint"))
    batch = batch_of(recipe)
    torch.manual_seed(1)
    first = tables(recipe, batch)
    torch.manual_seed(2)
    second = tables(recipe, batch)
    assert first.keys() == second.keys() and first
    for table, terms in first.items():
        assert all(torch.equal(terms[key][1], second[table][key][1]) for key in terms)


def test_four_micro_batches_equal_one_batch(name):
    """In float64; samples that meet each other in a batch norm cannot be split, and the engine refuses."""
    if tiny(name, some_space(name)).coupled:
        with pytest.raises(ConfigError, match="accumulate"):
            trainer_of(tiny(name, some_space(name)), accumulate=4)
        return
    states = []
    for parts in (1, 4):
        recipe = tiny(name, some_space(name, "joint")).double()
        trainer, batch = trainer_of(recipe, accumulate=parts), batch_of(recipe)
        for update in recipe.updates:
            trainer.apply(update, batch, COUNT, torch.zeros(()))
        states.append(recipe.state_dict())
    for key, tensor in states[0].items():
        # Adam divides a gradient by itself plus 1e-8: what float64 rounds to 1e-16 of it moves a weight by less than this.
        torch.testing.assert_close(tensor, states[1][key], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", SHARING)
def test_what_updates_share_changes_nothing_but_the_work(name):
    """A step whose updates share tensors equals its updates one by one, in float64, and runs the generator less often."""
    ends, passes = [], []
    for together in (True, False):
        recipe = tiny(name, some_space(name, "joint")).double()
        trainer, batch, count = trainer_of(recipe), batch_of(recipe), []
        trainer.step = trainer.config.steps - 1
        maker = next(update.trains[0] for update in recipe.updates if update.shares)
        first = next(m for m in recipe.networks[maker].modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d))
        first.register_forward_hook(lambda *_, count=count: count.append(1))
        for update in recipe.updates:
            assert (trainer.step + 1) % update.every == 0, "the last step makes every update"
        if together:
            trainer.train_batch(batch, COUNT)
        else:
            for update in recipe.updates:
                trainer.apply(update, batch, COUNT, torch.tensor(float(trainer.step)))
        ends.append(recipe.state_dict())
        passes.append(len(count))
    for key, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][key], rtol=0, atol=1e-9)  # As for micro-batches.
    assert passes[0] < passes[1] or recipe.pools, "a pool's values are made before the step in either case"


@pytest.mark.parametrize("name", TRANSLATING)
def test_translate_keeps_shape_and_makes_pictures(name):
    for key in (key for key in SPACES if takes(name, SPACES[key])):
        recipe = tiny(name, SPACES[key]).eval()
        batch = batch_of(recipe)
        with torch.no_grad():
            y = translate(recipe, batch.x, target_of(recipe, batch))
            assert y.shape == batch.x.shape and y.dtype == torch.float32 and y.abs().max() <= 1
            one = translate(recipe, batch.x[:1], target_of(recipe, batch)[:1])
            torch.testing.assert_close(one, y[:1], rtol=0, atol=1e-5)  # float32 sums in another order; values are at most 1.


@pytest.mark.parametrize("name", TRANSLATING)
def test_translate_takes_the_sizes_that_it_says(name):
    recipe = tiny(name, some_space(name)).eval()
    multiple = recipe.abilities.side_multiple
    assert multiple is None or SIZE % multiple == 0
    if multiple is not None:
        height = SIZE if recipe.abilities.fixed_height else SIZE + multiple
        x = torch.rand(1, 3, height, SIZE + 2 * multiple) * 2 - 1
        with torch.no_grad():
            assert translate(recipe, x, target_of(recipe, batch_of(recipe))[:1]).shape == x.shape


@pytest.mark.parametrize("name", ATTENDING)
def test_an_attention_is_a_share_of_every_pixel(name):
    for key in (key for key in SPACES if takes(name, SPACES[key])):
        recipe = tiny(name, SPACES[key]).eval()
        batch = batch_of(recipe)
        with torch.no_grad():
            a = recipe.attend(batch.x, target_of(recipe, batch))
        assert a.shape == (COUNT, 1, *batch.x.shape[2:]) and a.dtype == torch.float32
        assert 0 <= a.min() < a.max() <= 1


@pytest.mark.parametrize("name", STYLED)
def test_styles_are_drawn_read_and_averaged(name):
    recipe = tiny(name, some_space(name, "joint")).eval()
    batch, told = batch_of(recipe), target_of(recipe, batch_of(recipe))
    with torch.no_grad():
        z = torch.randn(COUNT, recipe.abilities.latent)
        drawn, mean = recipe.draw_style(z, told), recipe.mean_style(told)
        other = recipe.read_style(batch.x, told) if recipe.abilities.reads_style else mean
        assert {s.shape for s in (drawn, other, mean)} == {(COUNT, recipe.abilities.style)}
        assert not torch.equal(translate(recipe, batch.x, told, drawn), translate(recipe, batch.x, told, other))
        assert torch.equal(translate(recipe, batch.x, told), translate(recipe, batch.x, told, mean))


@pytest.mark.parametrize("name", GENERATING)
def test_generate_makes_pictures_each_of_its_own_latent(name):
    recipe = tiny(name, some_space(name)).eval()
    z, told = torch.randn(COUNT, recipe.abilities.latent), target_of(recipe, batch_of(recipe))
    with torch.no_grad():
        y = generate(recipe, z, told)
        assert y.shape == (COUNT, recipe.picture.channels, SIZE, SIZE) and y.dtype == torch.float32 and y.abs().max() <= 1
        assert not torch.equal(y[0], y[1])
        recipe, z, told = recipe.double(), z.double(), told.double()  # In float32, norms of small vectors magnify rounding.
        torch.testing.assert_close(generate(recipe, z[:1], told[:1]), generate(recipe, z, told)[:1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", JUDGING)
def test_classify_gives_a_logit_per_label(name):
    recipe = tiny(name, some_space(name, "joint")).eval()
    with torch.no_grad():
        logits = recipe.classify(batch_of(recipe).x)
    assert logits.shape == (COUNT, recipe.space.num_labels) and torch.isfinite(logits).all()


def test_any_number_of_channels(name):
    recipe = tiny(name, some_space(name, "table"), channels=5)
    trainer = trainer_of(recipe)
    for update in recipe.updates:
        trainer.apply(update, batch_of(recipe), COUNT, torch.zeros(()))
    assert trainer.optimizers.skipped.item() == 0


def test_config_round_trips_and_presets_are_valid(name):
    recipe = recipe_class(name)
    config = recipe.config_type()
    assert build(recipe.config_type, to_dict(config)) == config
    assert "small" in recipe.presets
    assert recipe.presets.keys() & {"published", "default"}, "its full size, as published or `default`"
    for preset in recipe.presets:
        settings = Settings.resolve(name, ["/somewhere"], preset)
        assert Settings.from_json(settings.to_json()) == settings


def test_weights_round_trip_through_the_model_file(pair, tmp_path):
    name, space = pair
    recipe = tiny(name, space).eval()
    save_model(tmp_path / "model.safetensors", recipe, name, recipe.state_dict(), info={"step": 3})
    model = load_model(tmp_path / "model.safetensors")
    assert (model.name, model.space, model.picture, model.config) == (name, space, recipe.picture, recipe.config)
    batch = batch_of(recipe)
    told = target_of(recipe, batch)
    with torch.no_grad():
        if recipe.abilities.translates:
            assert torch.equal(translate(model.recipe, batch.x, told), translate(recipe, batch.x, told))
        if recipe.abilities.generates:
            z = torch.randn(COUNT, recipe.abilities.latent)
            assert torch.equal(generate(model.recipe, z, told), generate(recipe, z, told))


def shapes(recipe: Recipe) -> dict[str, torch.Size]:
    return {key: parameter.shape for key, parameter in recipe.named_parameters()}


DOMAINS_TOLD = {"pix2pix": {"direction": "any"}}
"""Of two domains it translates one way unless asked: then nothing of it depends on the labels."""


def test_label_slots_name_every_parameter_that_depends_on_the_labels(name):
    """What has another shape, or is there at all, over another label space has slots; nothing else has."""
    spaces = [SPACES[key] for key in SPACES if takes(name, SPACES[key])]
    assert len(spaces) > 1
    built = [tiny(name, space, **DOMAINS_TOLD.get(name, {})) for space in spaces]
    for one in built:
        differing = {
            key for other in built for key in shapes(one) if key not in shapes(other) or shapes(one)[key] != shapes(other)[key]
        }
        slotted = {slot.parameter for slot in one.label_slots()}
        if one.abilities.told == "domain":  # Branches that every space has enough domains for do not differ in shape.
            assert differing <= slotted <= set(shapes(one))
        else:
            assert slotted == differing
        for slot in one.label_slots():
            assert slot.axis is None or slot.index < shapes(one)[slot.parameter][slot.axis]


@pytest.mark.parametrize("name", TOLD)
def test_a_model_moves_to_another_label_space_label_by_label(name):
    """Slices of labels that both have are the model's; those of new labels, and nothing else, stay as they were made."""
    turned = LabelSpace([LabelGroup("faces", ("fair", "dark", "glasses"), "binary", (("fair", "dark"),))])
    told = DOMAINS_TOLD.get(name, {})
    old, new = (
        tiny(name, SPACES["table"], **told),
        tiny(name, SPACES["joint"] if takes(name, SPACES["joint"]) else turned, **told),
    )
    fresh = {key: value.clone() for key, value in new.state_dict().items()}
    with torch.no_grad():
        for parameter in old.parameters():
            parameter.add_(1.0)
    adopt(new, Model(old, name, old.space, old.picture, old.config, {}), name)
    given, now = old.state_dict(), new.state_dict()
    theirs: dict[str, list] = {}
    for slot in old.label_slots():
        theirs.setdefault(slot.owner, []).append(slot)
    moved = 0

    def value(state, slot):
        return state[slot.parameter] if slot.axis is None else state[slot.parameter].select(slot.axis, slot.index)

    for slot in new.label_slots():
        if slot.owner in theirs:
            assert torch.equal(value(now, slot), value(given, theirs[slot.owner].pop(0))), slot
            moved += 1
        else:
            assert torch.equal(value(now, slot), value(fresh, slot)), slot
    assert moved
    slotted = {slot.parameter for slot in new.label_slots()}
    for key, parameter in new.named_parameters():
        if key not in slotted:
            assert torch.equal(parameter, given[key]), key


def test_a_label_with_unknown_value_changes_no_loss_of_its_own(name):
    """Unknown cells (known 0) make the same batch as the label's absence: its stored value must not matter."""
    recipe = tiny(name, some_space(name, "table"))
    whole, pictures = whole_batch(recipe)
    known = whole.known.clone()
    known[:, 2] = 0
    losses = []
    for value in (0.0, 1.0):
        labels = whole.labels.clone()
        labels[:, 2] = value
        stated = whole.extend(labels=labels, known=known)
        prepared = stated.extend(**pictures, **recipe.prepare(stated, step_generator(0, 0, 0)))
        if recipe.pools:
            prepared = prepared.extend(**{f"pooled_{key}": x for key, x in recipe.share(prepared).items()})
        losses.append(torch.stack([v.sum() for terms in tables(recipe, prepared).values() for _, v in terms.values()]))
    torch.testing.assert_close(losses[0], losses[1])


READS = ("item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__", "nonzero")


def test_a_step_reads_nothing_back_from_the_device(name, monkeypatch):
    """A GPU runs ahead of the program as long as nobody asks it for a value: not in a step, only where the log is written."""
    recipe = tiny(name, some_space(name, "joint"))
    trainer, batch = trainer_of(recipe), batch_of(recipe)
    read = []
    for method in READS:
        real = getattr(torch.Tensor, method)
        monkeypatch.setattr(
            torch.Tensor, method, lambda *a, real=real, method=method, **k: read.append(method) or real(*a, **k)
        )
    trainer.step = trainer.config.steps - 1  # Where every update is due.
    trainer.train_batch(batch, COUNT)
    trainer.average.update(COUNT, COUNT)
    assert not read
    trainer.statistics.drain(trainer.processes)
    assert read
