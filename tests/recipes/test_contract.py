"""The contract that every recipe keeps; a new recipe is tested by its line in the registry."""

from __future__ import annotations

import pytest
import torch

from asterism.config import build, to_dict
from asterism.data.batch import Batch
from asterism.engine.trainer import step_generator
from asterism.recipes import RECIPES, recipe_class
from asterism.recipes.model import load_model, save_model
from tests.helpers.recipes import COUNT, SPACES, batch_of, tiny, trainer_of, whole_batch


@pytest.fixture(params=sorted(RECIPES))
def name(request):
    return request.param


@pytest.fixture(params=sorted(SPACES))
def space(request):
    return SPACES[request.param]


def test_terms_are_finite_float32_one_per_sample(name, space):
    recipe = tiny(name, space)
    for dataset in range(space.num_datasets):
        batch = batch_of(recipe, dataset)
        for update in recipe.updates:
            terms = getattr(recipe, f"{update.name}_terms")(batch, torch.zeros(()))
            assert terms
            for key, (_, value) in terms.items():
                assert value.shape == (COUNT,), key
                assert value.dtype == torch.float32, key
                assert torch.isfinite(value).all(), key


def test_an_update_changes_exactly_the_networks_it_names(name, space):
    recipe = tiny(name, space)
    trainer = trainer_of(recipe)
    for update in recipe.updates:
        before = {k: v.clone() for k, v in recipe.state_dict().items()}
        trainer.apply(update, batch_of(recipe), COUNT, torch.zeros(()))
        changed = {k.split(".")[0] for k, v in recipe.state_dict().items() if not torch.equal(v, before[k])}
        assert changed == set(update.trains)


def test_an_update_is_a_pure_function_of_weights_and_batch(name):
    recipe = tiny(name, SPACES["joint"])
    batch = batch_of(recipe)
    for update in recipe.updates:
        terms = getattr(recipe, f"{update.name}_terms")
        torch.manual_seed(1)
        first = terms(batch, torch.zeros(()))
        torch.manual_seed(2)
        second = terms(batch, torch.zeros(()))
        assert all(torch.equal(first[k][1], second[k][1]) for k in first)


def test_four_micro_batches_equal_one_batch(name):
    states = []
    for parts in (1, 4):
        recipe = tiny(name, SPACES["joint"]).double()
        trainer = trainer_of(recipe, accumulate=parts)
        batch = batch_of(recipe)
        batch = Batch(**{k: v.double() if v.is_floating_point() else v for k, v in batch.items()})
        for update in recipe.updates:
            trainer.apply(update, batch, COUNT, torch.zeros(()))
        states.append(recipe.state_dict())
    for key, tensor in states[0].items():
        # Terms are float32 by contract, and Adam's first step is the gradient's sign: rounding shows at this scale.
        torch.testing.assert_close(tensor, states[1][key], rtol=1e-4, atol=1e-6)


def test_what_updates_share_changes_nothing_but_the_work(name):
    """A step whose updates share tensors equals its updates one by one, and runs the generator less often."""
    ends, passes = [], []
    for together in (True, False):
        recipe = tiny(name, SPACES["joint"])
        if not any(update.shares for update in recipe.updates):
            pytest.skip(f"{name} has nothing to share")
        trainer, batch, count = trainer_of(recipe), batch_of(recipe), []
        trainer.step = trainer.config.steps - 1
        first = next(module for module in recipe.generator.modules() if isinstance(module, torch.nn.Conv2d))
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
        # Gradients of two uses of a weight may be added in another order; Adam's first step is the gradient's sign.
        torch.testing.assert_close(tensor, ends[1][key], rtol=1e-4, atol=1e-6)
    assert passes[0] < passes[1]


def test_translate_keeps_shape_and_makes_pictures(name, space):
    recipe = tiny(name, space)
    batch = batch_of(recipe)
    with torch.no_grad():
        y = recipe.translate(batch.x, Batch(labels=batch.labels, known=batch.known, dataset=batch.dataset))
    assert y.shape == batch.x.shape and torch.isfinite(y).all()
    assert y.dtype == torch.float32


def test_any_number_of_channels(name):
    recipe = tiny(name, SPACES["table"], channels=5)
    trainer = trainer_of(recipe)
    for update in recipe.updates:
        trainer.apply(update, batch_of(recipe), COUNT, torch.zeros(()))
    assert trainer.optimizers.skipped.item() == 0


def test_config_round_trips_and_presets_are_valid(name):
    recipe = recipe_class(name)
    config = recipe.config_type()
    assert build(recipe.config_type, to_dict(config)) == config
    from asterism.recipes.settings import Settings

    assert "small" in recipe.presets
    for preset in recipe.presets:
        settings = Settings.resolve(name, ["/somewhere"], preset)
        assert Settings.from_json(settings.to_json()) == settings


def test_weights_round_trip_through_the_model_file(name, space, tmp_path):
    recipe = tiny(name, space).eval()
    save_model(tmp_path / "model.safetensors", recipe, name, recipe.state_dict(), info={"step": 3})
    model = load_model(tmp_path / "model.safetensors")
    assert (model.name, model.space, model.picture, model.config) == (name, space, recipe.picture, recipe.config)
    batch = batch_of(recipe)
    target = Batch(labels=batch.labels, known=batch.known, dataset=batch.dataset)
    with torch.no_grad():
        assert torch.equal(model.recipe.translate(batch.x, target), recipe.translate(batch.x, target))


def test_label_axes_name_parameters_whose_axis_runs_over_the_labels(name):
    joint = tiny(name, SPACES["joint"])
    parameters = dict(joint.named_parameters())
    for key, (axis, start, masked) in joint.label_axes().items():
        expected = joint.space.code_size if masked else joint.space.num_labels
        assert parameters[key].shape[axis] == start + expected


def test_a_label_with_unknown_value_changes_no_loss_of_its_own(name):
    """Unknown cells (known 0) make the same batch as the label's absence: its stored value must not matter."""
    recipe = tiny(name, SPACES["table"])
    whole, pictures = whole_batch(recipe)
    known = whole.known.clone()
    known[:, 2] = 0
    losses = []
    for value in (0.0, 1.0):
        labels = whole.labels.clone()
        labels[:, 2] = value
        stated = whole.extend(labels=labels, known=known)
        prepared = stated.extend(**pictures, **recipe.prepare(stated, step_generator(0, 0, 0)))
        terms = [getattr(recipe, f"{u.name}_terms")(prepared, torch.zeros(())) for u in recipe.updates]
        losses.append(torch.stack([v.sum() for t in terms for _, v in t.values()]))
    torch.testing.assert_close(losses[0], losses[1])


READS = ("item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__", "nonzero")


def test_a_step_reads_nothing_back_from_the_device(name, monkeypatch):
    """A GPU runs ahead of the program as long as nobody asks it for a value: not in a step, only where the log is written."""
    recipe = tiny(name, SPACES["joint"])
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
