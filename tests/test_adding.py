"""The examples of docs/adding.md, as they stand there: added as the page says, they keep the contracts and work."""

from __future__ import annotations

import importlib
import json
import sys
import types
from pathlib import Path

import pytest
import torch

import asterism
from asterism.cli import main
from asterism.config import DataConfig
from asterism.data import sources
from asterism.data.dataset import open_data
from asterism.evaluation.evaluate import evaluate
from asterism.evaluation.protocols import PROTOCOLS
from asterism.evaluation.summary import broken_orders
from asterism.recipes import RECIPES
from asterism.training import train
from tests.helpers.pages import ROOT, blocks
from tests.helpers.runs import small
from tests.recipes import test_contract as contract

EXAMPLES = {code.splitlines()[0].removeprefix("# "): code for code in blocks(ROOT / "docs" / "adding.md", "python")}


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
def test_the_recipe_keeps_the_contract(recipe: str, space: object, tmp_path: Path) -> None:
    contract.test_terms_are_finite_float32_one_per_sample(recipe, space)
    contract.test_an_update_changes_exactly_the_networks_it_names(recipe, space)
    contract.test_translate_keeps_shape_and_makes_pictures(recipe, space)
    contract.test_weights_round_trip_through_the_model_file(recipe, space, tmp_path)


def test_the_recipe_is_pure_splits_and_counts_only_what_is_known(recipe: str) -> None:
    contract.test_an_update_is_a_pure_function_of_weights_and_batch(recipe)
    contract.test_four_micro_batches_equal_one_batch(recipe)
    contract.test_a_label_with_unknown_value_changes_no_loss_of_its_own(recipe)
    contract.test_config_round_trips_and_presets_are_valid(recipe)


def test_the_recipe_trains_and_translates(recipe: str, shapes_dir: Path, tmp_path: Path) -> None:
    words = ["--recipe.conv_dim", "4", "--recipe.num_blocks", "1", "--recipe.discriminator_layers", "3"]
    words += ["--data.size", "32", "--train.steps", "2", "--train.batch_size", "4", "--device", "cpu"]
    assert main(["train", recipe, "--data", str(shapes_dir), "--out", str(tmp_path / "run"), *words]) == 0
    picture = next((shapes_dir / "red").iterdir())
    assert asterism.load(tmp_path / "run").translate(picture, to="blue").size == (32, 32)


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
    lists = ("recipes:RECIPES", "data.sources:SOURCES", "inference.published:LAYOUTS", "evaluation.protocols:PROTOCOLS")
    for name in (f"asterism.{where}" for where in (*lists, "commands:COMMANDS")):
        module, _, attribute = name.partition(":")
        assert len(getattr(importlib.import_module(module), attribute)) > 1
