"""The examples of docs/adding.md, as they stand there: added as the page says, they keep the contracts and work."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import re
import sys
import types
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import asterism
from asterism.cli import main
from asterism.config import ConfigError, DataConfig
from asterism.data import sources
from asterism.data.dataset import open_data
from asterism.data.pictures import PictureFormat
from asterism.engine.trainer import Trainer
from asterism.evaluation.evaluate import evaluate
from asterism.evaluation.protocols import PROTOCOLS
from asterism.evaluation.summary import broken_orders
from asterism.labels import LabelSpace
from asterism.objectives import distances, penalties
from asterism.recipes import RECIPES, base
from asterism.training import train
from tests.helpers.pages import ADDING, blocks
from tests.helpers.recipes import COUNT, SPACES, batch_of, tiny, trainer_of
from tests.helpers.runs import small
from tests.recipes import test_contract as contract

EXAMPLES = {
    code.splitlines()[0].removeprefix("# "): code for code in blocks(ADDING, "python") if code.startswith("# asterism/")
}
"""Whole files, by their paths."""
FRAGMENTS = {
    title: code
    for title, section in re.findall(r"^### (.*?)\n(.*?)(?=^##)", ADDING.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for code in re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
}
"""What else a recipe can declare, by the titles of the sections."""


def added(path: str, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Make a module of the example that the page puts into the file `path`, under the name that it would have there."""
    name = path.removesuffix(".py").replace("/", ".")
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)  # Before it runs: a dataclass looks its module up.
    exec(compile(EXAMPLES[path], path, "exec"), module.__dict__)
    return module


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> str:
    """The page's recipe, with its term, in the registry."""
    added("asterism/objectives/least_squares.py", monkeypatch)
    added("asterism/recipes/least_squares.py", monkeypatch)
    monkeypatch.setitem(RECIPES, "least_squares", "asterism.recipes.least_squares:LeastSquaresGAN")
    return "least_squares"


def test_every_example_is_run() -> None:
    assert set(EXAMPLES) == {
        "asterism/objectives/least_squares.py",
        "asterism/recipes/least_squares.py",
        "asterism/data/json_lines.py",
        "asterism/metrics/frame.py",
        "asterism/evaluation/protocols/frame.py",
    }


def test_the_term_is_the_literal_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    least_squares = added("asterism/objectives/least_squares.py", monkeypatch).least_squares
    logits = torch.tensor([[1.0, 3.0], [-2.0, 0.0]])
    assert least_squares(logits, 1).tolist() == [(0 + 4) / 2, (9 + 1) / 2]


@pytest.mark.parametrize("space", contract.SPACES.values(), ids=contract.SPACES)
def test_the_recipe_keeps_the_contract(recipe: str, space: LabelSpace, tmp_path: Path) -> None:
    contract.test_terms_are_finite_float32_one_per_sample((recipe, space))
    contract.test_an_update_changes_exactly_the_networks_it_names((recipe, space))
    contract.test_weights_round_trip_through_the_model_file((recipe, space), tmp_path)


def test_the_recipe_is_pure_splits_and_counts_only_what_is_known(recipe: str) -> None:
    contract.test_a_recipe_says_what_it_can(recipe)
    contract.test_an_update_is_a_pure_function_of_weights_and_batch(recipe)
    contract.test_four_micro_batches_equal_one_batch(recipe)
    contract.test_a_label_with_unknown_value_changes_no_loss_of_its_own(recipe)
    contract.test_translate_keeps_shape_and_makes_pictures(recipe)
    contract.test_translate_takes_the_sizes_that_it_says(recipe)
    contract.test_classify_gives_a_logit_per_label(recipe)


def test_the_recipe_trains_and_translates(recipe: str, shapes_dir: Path, tmp_path: Path) -> None:
    words = ["--recipe.conv_dim", "4", "--recipe.num_blocks", "1", "--recipe.discriminator_layers", "3"]
    words += ["--data.size", "32", "--train.steps", "2", "--train.batch_size", "4", "--device", "cpu"]
    assert main(["train", recipe, "--data", str(shapes_dir), "--out", str(tmp_path / "run"), *words]) == 0
    picture = next((shapes_dir / "red").iterdir())
    assert asterism.load(tmp_path / "run").translate(picture, to="blue").size == (32, 32)


# -- what else a recipe can declare ------------------------------------------------------------------------------------


def with_fragment(title: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put the page's recipe with a section's lines into the registry: `self.` to the constructor, the others to the class."""
    parts: dict[str, list[str]] = {"import": [], "class": [], "self": []}
    for node in ast.parse(FRAGMENTS[title]).body:
        own = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("self.")
        kind = "import" if isinstance(node, ast.ImportFrom) else "self" if own else "class"
        parts[kind].append(ast.unparse(node))
    constructor = ["def __init__(self, config, space, picture):", "    super().__init__(config, space, picture)"]
    constructor += [f"    {line}" for part in parts["self"] for line in part.splitlines()]
    lines = [line for part in (*parts["class"], "\n".join(constructor)) for line in part.splitlines()]
    code = "\n".join([*parts["import"], "class Fragment(LeastSquaresGAN):", *(f"    {line}" for line in lines)])
    names: dict[str, object] = {"torch": torch, "nn": nn, "F": F, "__name__": "fragment"}
    for module in (base, penalties, distances, sys.modules["asterism.recipes.least_squares"]):
        names |= {name: value for name, value in vars(module).items() if not name.startswith("_")}
    names["least_squares"] = sys.modules["asterism.objectives.least_squares"].least_squares
    exec(compile(code, title, "exec", dont_inherit=True), names)
    module = types.ModuleType("fragment")
    module.__dict__.update(names)
    monkeypatch.setitem(sys.modules, "fragment", module)
    monkeypatch.setitem(RECIPES, "fragment", "fragment:Fragment")
    return "fragment"


def step(title: str, monkeypatch: pytest.MonkeyPatch, number: int = 0, space: str = "joint") -> Trainer:
    """Make one training step of the recipe with a section's lines."""
    made = tiny(with_fragment(title, monkeypatch), SPACES[space])
    trainer = trainer_of(made)
    trainer.step = number
    trainer.enter_phase()
    trainer.train_batch(batch_of(made), COUNT)
    assert trainer.optimizers.skipped.item() == 0
    return trainer


def logged(trainer: Trainer) -> set[str]:
    return set(trainer.statistics.drain(trainer.processes))


def test_every_section_has_its_test() -> None:
    assert list(FRAGMENTS) == [
        "Abilities",
        "Streams",
        "Sources of another kind",
        "Phases",
        "Optimisers, clipping and clamping",
        "Pools",
        "Lazy terms, and terms with arguments",
        "Penalties by autograd",
        "Batch norm",
        "Label slots",
        "Styles",
        "Generation from latents",
    ]


def test_abilities_are_those_of_the_example(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tiny(recipe, SPACES["joint"])
    assert step("Abilities", monkeypatch).recipe.abilities == made.abilities
    fields = {
        field
        for row in re.findall(r"^\| (`.*?`) \|", ADDING.read_text(), re.MULTILINE)
        for field in re.findall(r"`(\w+)`", row)
    }
    assert fields == {field.name for field in dataclasses.fields(base.Abilities)}


def test_streams_reach_the_batch(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of(step("Streams", monkeypatch).recipe)
    assert batch.x_ref.shape == batch.x_pair.shape == batch.x.shape and batch.labels_ref.shape == batch.known_ref.shape


def test_sources_of_another_kind_become_what_networks_see(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = PictureFormat(2, 32, 32, 0, 4, 16, classes=5)
    made = tiny(with_fragment("Sources of another kind", monkeypatch), SPACES["two"], source=source)
    batch = batch_of(made)
    assert made.two_kinds and made.seen(batch.x).shape[1] == source.planes == 6 and batch.x_pair.shape[1] == 3


def test_a_phase_holds_an_update_back(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of = [{name.partition("/")[0] for name in logged(step("Phases", monkeypatch, number))} for number in (999, 1000)]
    assert of == [{"discriminator"}, {"discriminator", "generator"}]


def test_optimisers_are_those_that_are_named(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = step("Optimisers, clipping and clamping", monkeypatch, 4)
    assert {type(own) for own in trainer.optimizers.by_network.values()} == {torch.optim.RMSprop}
    largest = {name: max(p.abs().max().item() for p in net.parameters()) for name, net in trainer.recipe.networks.items()}
    assert largest["discriminator"] < 0.011 < largest["generator"]  # The step itself may leave the bound.


def test_a_pool_is_filled(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = step("Pools", monkeypatch)
    assert trainer.pools.kept["x_fake"].flatten(1).any(1).sum() == COUNT


def test_lazy_terms_and_terms_with_arguments(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    title = "Lazy terms, and terms with arguments"
    plain, lazy = (logged(step(title, monkeypatch, number)) for number in (0, 15))
    assert {"fine/identity", "coarse/identity"} < plain and lazy - plain == {"discriminator/penalty"}


def test_a_penalty_by_autograd(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "discriminator/penalty" in logged(step("Penalties by autograd", monkeypatch))


def test_a_batch_norm_refuses_parts(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = step("Batch norm", monkeypatch).recipe
    with pytest.raises(ConfigError, match="a batch cannot be split"):
        trainer_of(made, accumulate=2)


def test_label_slots_are_all_that_depends_on_labels(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = with_fragment("Label slots", monkeypatch)
    contract.test_label_slots_name_every_parameter_that_depends_on_the_labels(name)
    contract.test_a_model_moves_to_another_label_space_label_by_label(name)


def test_styles_are_drawn_read_and_averaged(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    contract.test_styles_are_drawn_read_and_averaged(with_fragment("Styles", monkeypatch))


def test_generation_makes_pictures_of_latents(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    contract.test_generate_makes_pictures_each_of_its_own_latent(with_fragment("Generation from latents", monkeypatch))


# -- the others --------------------------------------------------------------------------------------------------------


def test_the_source_reads_its_kind_and_refuses_with_reasons(
    shapes_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = added("asterism/data/json_lines.py", monkeypatch)
    monkeypatch.setattr(sources, "SOURCES", ((module.is_json_lines, module.read_json_lines), *sources.SOURCES))
    files = [(path, domain) for domain in ("red", "blue") for path in sorted((shapes_dir / domain).iterdir())]
    table = tmp_path / "discs.jsonl"
    table.write_text("\n".join(json.dumps({"file": str(path), "domain": domain}) for path, domain in files))
    datasets = open_data(DataConfig(sources=(str(table),), size=(32, 32)))
    assert datasets.space.names == ("blue", "red")
    assert sum(len(s) for sets in datasets.splits.values() for s in sets) == len(files)
    table.write_text('{"file": "a.png"}')
    with pytest.raises(sources.DataError, match="line 1 .* expected at least file and domain"):
        open_data(DataConfig(sources=(str(table),), size=(32, 32)))


def test_the_metric_is_of_the_frame_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    frame_change = added("asterism/metrics/frame.py", monkeypatch).frame_change
    x = torch.zeros(2, 3, 8, 6)
    y = x.clone()
    y[0, :, 2:-2, 2:-2] = 1.0  # All but the frame.
    y[1, :, 0, :] = 1.0  # One side of it: 6 of 40 pixels, by half of the range.
    assert frame_change(x, y).tolist() == pytest.approx([0.0, 6 / 40 / 2])


def test_the_protocol_measures_a_run_in_the_order_that_it_states(
    shapes_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added("asterism/metrics/frame.py", monkeypatch)
    frame = added("asterism/evaluation/protocols/frame.py", monkeypatch).PROTOCOL
    monkeypatch.setitem(PROTOCOLS, frame.name, frame)
    train("stargan", shapes_dir, tmp_path / "run", overrides=small(train__steps=1))
    judge = {"recipe.width": 2, "train.steps": 1, "train.decay_steps": 1}
    (record,) = evaluate(tmp_path / "run", protocols=["frame"], random=True, device="cpu", classifier=judge).values()
    rows = {row["kind"]: row["values"]["frame change"] for row in record["rows"]}
    assert record["protocol"] == "frame" and rows["copy"] == 0 < rows["random"]
    assert not [words for words in broken_orders(record) if words.startswith("frame change")]


def test_the_lists_that_the_page_names_are_there() -> None:
    lists = ("recipes:RECIPES", "data.sources:SOURCES", "inference.published.layouts:LAYOUTS", "evaluation.protocols:PROTOCOLS")
    for name in (f"asterism.{where}" for where in (*lists, "commands:COMMANDS")):
        module, _, attribute = name.partition(":")
        assert len(getattr(importlib.import_module(module), attribute)) > 1
