"""Pictures of latents are measured against real ones, without sources; what cannot be measured is refused in words."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from asterism import train
from asterism.config import ConfigError
from asterism.engine.log import read_log
from asterism.evaluation.evaluate import check_labelled, evaluate
from asterism.evaluation.pictures import Pictures
from asterism.evaluation.summary import broken_orders
from asterism.evaluation.tasks import without_sources
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.dcgan import DCGAN
from asterism.recipes.model import load_model
from asterism.report import write_report
from asterism.runs.folder import read_run
from tests.helpers.evaluating import CPU, values

SMALL = {
    "recipe.latent_dim": 8,
    "recipe.conv_dim": 4,
    "recipe.discriminator_conv_dim": 4,
    "data.size": 32,
    "data.workers": 0,
    "train.batch_size": 8,
    "train.steps": 1,
    "train.decay_steps": 0,
    "train.device": "cpu",
}
RECORD = "generation/classifier/test/last"


@pytest.fixture(scope="session")
def generated(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step on the discs; copied by tests that write into it."""
    out = tmp_path_factory.mktemp("generated") / "run"
    train("dcgan", discs, out, overrides=SMALL)
    return out


@pytest.fixture
def run(generated: Path, tmp_path: Path) -> Path:
    return shutil.copytree(generated, tmp_path / "run")


@pytest.fixture
def memory(discs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every trained DCGAN, and none with initial weights, give pictures that it was trained on."""
    from asterism.config import DataConfig
    from asterism.data.dataset import open_data

    datasets = open_data(DataConfig(sources=(str(discs),), size=(32, 32)))
    x = Pictures(datasets.splits["train"][0], datasets.picture, print).load(range(96))
    generate = DCGAN.generate

    def recalled(self: DCGAN, z: Tensor, told: Tensor) -> Tensor:
        if self.generator.main[0].weight.std() < 0.021 and not hasattr(self, "trained"):
            return generate(self, z, told)
        return x[(z[:, 0] * 1e4).long() % len(x)]

    monkeypatch.setattr(DCGAN, "generate", recalled)


def test_generated_real_and_random_pictures_and_no_copies(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = evaluate(run, **CPU)
    assert list(records) == [RECORD], "a recipe that generates says how it is measured"
    record = records[RECORD]
    assert [(row["kind"], row["name"], row["pictures"]) for row in record["rows"]] == [
        ("generated", "generated", 36),
        ("real", "real held-out pictures", 36),
        ("random", "random weights", 36),
    ]
    assert record["targets"] == {} and record["matrices"] == {}
    for kind in ("generated", "real", "random"):
        assert all(value is not None for value in values(record, kind).values())
    told = " ".join(capsys.readouterr().out.split())
    assert "generated real held-out pictures random weights" in told and "translat" not in told.replace("the translations", "")
    (sheet,) = record["cases"]
    assert sheet["title"] == "generated pictures" and sheet["caption"].startswith("the first 32 of 36 generated")
    held_out = read_run(run).held_out
    assert held_out is not None and held_out.file.name == "generated.png" and held_out.file.exists()
    page = write_report([run]).read_text()
    assert "Real pictures say what a value means" in page and "generated pictures, none chosen" in page
    assert "Copying" not in page and "their translations" not in page


def test_as_many_as_are_asked_for_and_never_more_real_ones_than_there_are(run: Path) -> None:
    record = evaluate(run, parameters={"pictures": 50}, **CPU)[RECORD]
    assert [row["pictures"] for row in record["rows"]] == [50, 36, 50]


def test_numbers_do_not_depend_on_the_batch(run: Path) -> None:
    whole = evaluate(run, **CPU)[RECORD]
    shutil.rmtree(run / "samples")
    parts = evaluate(run, batch=5, **CPU)[RECORD]
    for kind in ("generated", "real", "random"):
        assert values(parts, kind) == pytest.approx(values(whole, kind), rel=1e-3, abs=1e-6)


def test_a_generator_of_real_pictures_keeps_every_order(run: Path, memory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from asterism.evaluation import checkpoints

    usual = checkpoints.load_model

    def marked(path: Path, device: torch.device) -> object:
        model = usual(path, device)
        model.recipe.trained = True
        return model

    monkeypatch.setattr(checkpoints, "load_model", marked)
    # By fixed features: those of a classifier trained for seconds differ from processor to processor.
    (record,) = evaluate(run, features=f"{__name__}:Means", parameters={"pictures": 96}, **CPU).values()
    assert broken_orders(record) == []
    best, worst = values(record, "generated"), values(record, "random")
    assert best["precision"] == 1.0 and best["fid"] < 0.5 * worst["fid"]


def test_protocols_are_for_recipes_that_do_what_they_measure(run: Path, trained: Path) -> None:
    with pytest.raises(ConfigError, match="the protocol stargan is for recipes that translate; this one has generation"):
        evaluate(run, protocols=["stargan"], **CPU)
    with pytest.raises(ConfigError, match="the protocol generation is for recipes that generate; this one has stargan"):
        evaluate(trained, protocols=["generation"], **CPU)


class Means(nn.Module):
    """Mean and spread of each channel, in the four quarters."""

    def forward(self, x: Tensor) -> Tensor:
        quarters = x.unflatten(2, (2, -1)).unflatten(4, (2, -1))
        return torch.cat([quarters.mean((3, 5)).flatten(1), quarters.std((3, 5)).flatten(1)], 1)


def test_another_extractor_needs_no_classifier(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (record,) = evaluate(run, features=f"{__name__}:Means", device="cpu").values()
    assert record["classifier"] is None and not (run / "classifier").exists()
    assert values(record, "real")["fid"] < values(record, "generated")["fid"]
    assert "the classifier is right" not in capsys.readouterr().out


def test_without_labels_there_is_no_classifier_to_compare_by() -> None:
    check_labelled(LabelSpace.from_text("a,b"))
    with pytest.raises(ConfigError, match="no labels to train the default.*--extractor"):
        check_labelled(LabelSpace([LabelGroup("pictures", (), "binary")]))


def test_recipes_that_are_told_labels_are_told_those_of_real_pictures(discs: Path) -> None:
    from asterism.config import DataConfig
    from asterism.data.dataset import open_data

    datasets = open_data(DataConfig(sources=(str(discs),), size=(32, 32)))
    sets = [Pictures(datasets.splits["test"][0], datasets.picture, print)]
    (task,) = without_sources(sets, datasets.space, 0, told=True)
    assert sorted(task.wanted.tolist()) == sorted(sets[0].labels.tolist()) and task.like == (0,)
    (task,) = without_sources(sets, datasets.space, 72, told=True)
    assert torch.equal(task.wanted[:36], task.wanted[36:]) and len(task.rows) == 72


def test_codes_are_measured_by_the_labels_that_they_tell(
    discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {key: value for key, value in SMALL.items() if "latent" not in key}
    train("infogan", discs, tmp_path / "run", overrides=own | {"recipe.codes": "digit=3,tilt", "recipe.recogniser_dim": 4})
    (record,) = evaluate(tmp_path / "run", features=f"{__name__}:Means", device="cpu").values()
    told = record["matrices"]["label told by code"]
    assert told["rows"] == ["digit", "tilt"] and told["columns"] == ["Red, Green, Blue", "Border"]
    assert all(0 <= value <= 1.01 for row in told["values"] for value in row)
    assert any("mutual information of a code" in note for note in record["notes"])
    assert "label told by code" in capsys.readouterr().out
    page = write_report([tmp_path / "run"]).read_text()
    assert "What the codes tell" in page and "From each domain" not in page


def test_the_best_checkpoint_is_that_of_the_lowest_fid(discs: Path, tmp_path: Path, small_judge: None) -> None:
    own = SMALL | {"train.steps": 4, "train.evaluate_every": 2}
    train("dcgan", discs, tmp_path / "run", overrides=own)
    scored = [line["scores"] for line in read_log(tmp_path / "run" / "log.jsonl") if "scores" in line]
    assert len(scored) == 2 and set(scored[0]) == {"fid", "kid"}
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert model.info["criterion"] == "fid" and model.info["scores"]["fid"] == min(line["fid"] for line in scored)
