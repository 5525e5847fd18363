"""Again and again: what passes through a chain of targets and back leave of a picture, for recipes whose effect is known."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from asterism.config import ConfigError, DataConfig
from asterism.data.dataset import open_data
from asterism.evaluation.candidates import Generator
from asterism.evaluation.evaluate import evaluate
from asterism.evaluation.pictures import Pictures
from asterism.evaluation.protocols.repeated import PROTOCOL, RepeatedParameters
from asterism.evaluation.summary import broken_orders
from asterism.evaluation.tasks import Task, chains
from asterism.machine import Machine
from asterism.metrics.structure import sharpness
from asterism.recipes import RECIPES
from asterism.recipes.stargan import StarGAN
from asterism.report import write_report
from asterism.runs.scores import read_scores
from tests.helpers.evaluating import CPU, values
from tests.helpers.recipes import some_space, tiny

RECORD = "repeated/classifier/test/last"


class Labelled(SimpleNamespace):
    """Pictures of which only the labels are asked for."""

    def __len__(self) -> int:
        return len(self.labels)


@pytest.fixture
def held_out(discs: Path) -> Pictures:
    datasets = open_data(DataConfig(sources=(str(discs),), size=(32, 32)))
    return Pictures(datasets.splits["test"][0], datasets.picture, print)


def measured(run: Path, passes: tuple[int, ...], **more: Any) -> dict[str, Any]:
    (record,) = evaluate(run, protocols=["repeated"], parameters={"passes": passes}, **more, **CPU).values()
    return record


def test_a_recipe_that_halves_contrast_halves_it_at_every_translation(
    run: Path, held_out: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three targets, two other colours and the border, and the way back: four translations a pass."""
    monkeypatch.setattr(StarGAN, "translate", lambda self, x, told, s=None, masks=(): x / 2)
    record = measured(run, (1, 2))
    x = held_out.load(range(36)).double()
    left = torch.tensor([1.0, 2.0**-4, 2.0**-8], dtype=torch.float64)
    curve = record["curve"]
    assert curve["passes"] == [0, 1, 2]
    size = float(x.abs().flatten(1).mean(1).mean())
    assert curve["values"]["identity error"] == pytest.approx(((1 - left) * size / 2).tolist(), rel=1e-6)
    assert curve["values"]["sharpness"] == pytest.approx((left**2).tolist(), rel=1e-6)
    fid = curve["values"]["fid"]
    assert fid[0] == values(record, "copy")["fid"] < fid[1]
    stages = {row["name"]: row["values"] for row in record["rows"] if row["kind"] == "translated"}
    assert list(stages) == ["translated, all targets, 1 pass", "translated, all targets, 2 passes"]
    assert [row["sharpness"] for row in stages.values()] == curve["values"]["sharpness"][1:]
    assert [row["pictures"] for row in record["rows"]] == [36, 36, 36]
    assert broken_orders(record) == []
    assert read_scores(run / "scores.json")[RECORD]["curve"]["passes"] == [0, 1, 2]
    page = write_report([run]).read_text()
    assert ">2 passes" in page and "a good translation is far" not in page
    assert ">passes</text>" in page and '"axis":"passes","scores":true,"title":"sharpness"' in page
    (sheet,) = [case for case in record["cases"] if case["title"] == "again and again"]
    assert sheet["columns"] == ["source", "1 pass", "2 passes"] and (run / sheet["file"]).exists()


def test_a_chain_is_every_edit_of_a_picture_once_and_ends_at_its_own_labels(held_out: Pictures) -> None:
    space = held_out.set.space
    (task,) = chains([held_out], space, 0, 0, (1,), 0, space.names)
    own = held_out.labels
    assert torch.equal(task.wanted[:, -1], own) and task.wanted.shape == (36, 4, 4)
    for row, chain in zip(own, task.wanted, strict=True):
        edits = chain[:-1]
        assert len(edits.unique(dim=0)) == 3 and (edits != row).any(1).all()
        assert (edits[:, :3].sum(1) == 1).all(), "one colour holds"
        assert sorted((edits[:, 3] != row[3]).tolist()) == [False, False, True], "the border is switched alone"
    (short,) = chains([held_out], space, 0, 1, (1,), 0, space.names)
    assert short.wanted.shape == (36, 2, 4) and len({tuple(edit) for edit in (short.wanted[:, 0] - own).tolist()}) > 3
    (other,) = chains([held_out], space, 9, 1, (1,), 0, space.names)
    places = [short.rows.index(row) for row in other.rows]
    assert torch.equal(other.wanted, short.wanted[places]), "a picture's chain does not depend on which others there are"


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in ("diat", "pix2pix", "pix2pixhd")])
def test_every_recipe_with_a_way_back_does_the_same_in_every_pass(name: str) -> None:
    """Labels, differences, domains and styles: two passes are one pass of what one pass made, for any batch."""
    space = some_space(name, "table", "folders", "two")
    recipe = tiny(name, space).double().eval()
    if not recipe.abilities.translates:
        with pytest.raises(ConfigError, match="repeated is for recipes that translate"):
            PROTOCOL.check(recipe)
        return
    count, where = 5, torch.zeros(5, dtype=torch.long)
    labels = space.sample_uniform(where, torch.Generator().manual_seed(3))
    shape = (count, 3, recipe.picture.height, recipe.picture.width)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(4)) * 2 - 1
    pictures: Any = Labelled(set=SimpleNamespace(dataset=0, name="set"), labels=labels, known=torch.ones_like(labels))
    names = space.domain_names if recipe.abilities.told == "domain" else space.names
    (task,) = chains([pictures], space, 0, 2, (1, 2), 0, names)
    system = Generator("translated", recipe, Machine.choose("cpu", "float64"), [pictures], 0)
    rows = list(task.rows)
    once, twice = again(system, task, rows, x)
    assert once.shape == shape and (once != x[rows]).any()
    own = system.read(x, labels, 0) if recipe.abilities.reads_style else None
    system.read = lambda *_: own  # type: ignore[method-assign]  # The source's style, not that of what one pass made.
    torch.testing.assert_close(again(system, task, rows, once)[0], twice, rtol=1e-4, atol=1e-5)
    if own is not None:
        system.read = lambda *_: own[1:3]  # type: ignore[method-assign]
    torch.testing.assert_close(again(system, task, rows[1:3], x[1:3])[1], twice[1:3], rtol=1e-4, atol=1e-5)


def again(system: Generator, task: Task, rows: list[int], x: Tensor) -> list[Tensor]:
    places = [task.rows.index(row) for row in rows]
    return list(system.again(task, rows, x, task.wanted[places]))


def test_numbers_depend_on_neither_the_batch_nor_an_interruption(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measured(run, (1, 3), precision="float64")
    shutil.rmtree(run / "samples")
    (run / "scores.json").unlink()
    monkeypatch.setattr("asterism.evaluation.session.SAVE_SECONDS", -1)
    usual, calls = Generator.again, list[int]()

    def cut(self: Generator, *args: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return usual(self, *args)

    monkeypatch.setattr(Generator, "again", cut)
    with pytest.raises(KeyboardInterrupt):
        measured(run, (1, 3), precision="float64", batch=10)
    parts = measured(run, (1, 3), precision="float64", batch=10)
    assert len(calls) == 3 + 2 + 1, "two of four batches were done before, and one is of the sheet"
    for name, found in whole["curve"]["values"].items():
        exact = name in ("identity error", "cycle ssim", "sharpness")  # Features are kept in float32.
        assert parts["curve"]["values"][name] == pytest.approx(found, rel=1e-6 if exact else 1e-4, abs=1e-6), name


def test_what_cannot_be_repeated_is_refused_in_words(run: Path) -> None:
    for passes in ((), (0, 5), (101,)):
        with pytest.raises(ConfigError, match="expected passes from 1 to 100"):
            evaluate(run, protocols=["repeated"], parameters={"passes": passes}, **CPU)
    with pytest.raises(ConfigError, match="the protocol stargan has no parameter 'passes'"):
        evaluate(run, parameters={"passes": (1,)}, **CPU)
    one_way = tiny("diat", some_space("diat", "table"), attribute="glasses")
    with pytest.raises(ConfigError, match="translates to glasses only, so there is no way back"):
        PROTOCOL.plan([], one_way.space, [], one_way, RepeatedParameters())


def test_sharpness_is_the_mean_square_of_the_laplacian() -> None:
    x = torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for picture, found in zip(x, sharpness(x), strict=True):
        terms = [
            float(c[i - 1, j] + c[i + 1, j] + c[i, j - 1] + c[i, j + 1] - 4 * c[i, j]) ** 2
            for c in picture
            for i in range(1, 4)
            for j in range(1, 5)
        ]
        assert float(found) == pytest.approx(sum(terms) / len(terms), rel=1e-12)
