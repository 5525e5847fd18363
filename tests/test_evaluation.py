"""Evaluation: what is measured, on which pictures, and that every metric orders what is good and what is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asterism import train
from asterism.config import ConfigError
from asterism.data.collection import DataError
from asterism.evaluation import judge as judging
from asterism.evaluation.evaluate import evaluate
from asterism.evaluation.protocols import PROTOCOLS
from asterism.evaluation.summary import broken_orders
from asterism.evaluation.systems import Generator
from asterism.evaluation.tasks import Task
from asterism.inference.import_ import import_published
from asterism.labels import LabelSpace
from asterism.metrics.accuracy import agreement, margin
from asterism.run_folder import read_scores, unlike
from tests.evaluating import CPU, JUDGE, STARGAN, TRUTH, values
from tests.test_engine import small

GOLDEN = Path(__file__).parent / "golden" / "stargan"


class Oracle:
    """Translates by looking up the true picture, with a little noise: what a well-trained model does."""

    def __init__(self, discs: Path, noise: float = 0.05) -> None:
        self.noise = noise

    def __call__(self, generator: Generator, task: Task, rows: Any, x: Tensor, wanted: Tensor) -> Tensor:
        pictures = generator.sets[task.pictures]
        identity = pictures.set.identity
        found = [
            next(r for r in range(len(pictures)) if identity[r] == identity[row] and torch.equal(pictures.labels[r], w))
            for row, w in zip(rows, wanted, strict=True)
        ]
        y = pictures.load(found)
        rng = torch.Generator().manual_seed(int(rows[0]))
        return (y + self.noise * torch.randn(y.shape, generator=rng)).clamp(-1, 1)


@pytest.fixture
def oracle(discs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the trained generator, not the untrained one, translate nearly perfectly."""
    look, real, back = Oracle(discs), Generator.outputs, Generator.back

    def outputs(self: Generator, task: Task, rows: Any, x: Tensor, wanted: Tensor) -> Tensor:
        if self.kind == "random":
            return real(self, task, rows, x, wanted)
        return look(self, task, rows, x, wanted)

    def there_and_back(self: Generator, x: Tensor, y: Tensor, labels: Tensor, dataset: int) -> Tensor:
        if self.kind == "random":
            return back(self, x, y, labels, dataset)
        return (x + 0.02 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))).clamp(-1, 1)

    monkeypatch.setattr(Generator, "outputs", outputs)
    monkeypatch.setattr(Generator, "back", there_and_back)


def test_only_known_labels_that_the_edit_leaves_count_as_preserved() -> None:
    decided = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    labels = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    known = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(agreement(decided, labels, known), torch.tensor([1 / 2, 2 / 3, 1.0]))


def test_every_translation_counts_once_and_the_tables_say_so(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = evaluate(run, **CPU)
    assert list(records) == [STARGAN, TRUTH], "what suits a recipe without styles and data with true pictures"
    assert read_scores(run / "scores.json") == json.loads(json.dumps(records))
    counts = {name: about["pictures"] for name, about in records[STARGAN]["targets"].items()}
    assert counts == {"Red": 24, "Green": 24, "Blue": 24, "Border": 18, "Border=no": 18}
    assert [row["name"] for row in records[STARGAN]["rows"]] == [
        "translated, Red, Green, Blue",
        "translated, all targets",
        "copy the input",
        "real pictures of the target",
    ]
    told = " ".join(capsys.readouterr().out.split())
    assert "stargan, version 2: test pictures, last checkpoint, step 1; features of classifier" in told
    assert records[STARGAN]["extractor"]["digest"] in told
    matrix = records[STARGAN]["matrices"]["reached"]
    assert matrix["rows"][:3] == ["Red", "Green", "Blue"] and [matrix["values"][i][i] for i in range(3)] == [None] * 3
    assert all((run / case["file"]).exists() for record in records.values() for case in record["cases"])
    assert {case["title"] for case in records[TRUTH]["cases"]} == {"held-out pictures", "best cases", "worst cases"}


@pytest.mark.parametrize("name", ["stargan", "quick", "truth", "stargan_v2"])
def test_every_metric_orders_copy_real_and_random_as_its_protocol_states(run: Path, oracle: None, name: str) -> None:
    """With a generator that is nearly perfect; a metric that fails its order says nothing and is not shipped."""
    (record,) = evaluate(run, protocols=[name], random=True, **CPU).values()
    assert not record["classifier"]["void"]
    assert broken_orders(record) == []
    stated = {pair for about in record["metrics"].values() for pair in map(tuple, about["order"])}
    assert stated, "a protocol states orders"
    for metric, about in record["metrics"].items():
        if metric not in ("kid spread", "diversity"):  # The one is an error bar, the other needs styles.
            assert about["order"] and values(record, "translated")[metric] is not None, metric


@pytest.mark.slow
def test_a_trained_model_keeps_every_order_that_the_protocols_state(discs: Path, tmp_path: Path) -> None:
    """Not the oracle but the real thing: colours and borders of discs, learned in 120 steps."""
    wide = {"recipe.conv_dim": 16, "recipe.discriminator_conv_dim": 16, "train.steps": 120, "train.decay_steps": 60}
    wide |= {"train.batch_size": 8, "train.evaluate_every": 0, "recipe.generator_lr": 1e-3, "recipe.discriminator_lr": 2e-3}
    wide |= {"recipe.penalty_patches": "sum", "recipe.critic_steps": 1, "recipe.targets": "permutation"}
    train("stargan", discs, tmp_path / "run", overrides=small() | wide)
    for record in evaluate(tmp_path / "run", protocols=["stargan", "truth", "stargan_v2"], random=True, **CPU).values():
        assert broken_orders(record) == []
        if record["protocol"] == "stargan":
            assert values(record, "translated")["reached"] > 0.9


def test_copying_reaches_nothing_and_keeps_everything(run: Path) -> None:
    stargan, truth = evaluate(run, random=True, **CPU).values()
    copy, real = values(stargan, "copy"), values(stargan, "real")
    assert copy["cycle ssim"] == pytest.approx(1) and copy["identity error"] == 0 and copy["reached"] < 0.1
    assert real["reached"] > 0.9 and real["cycle ssim"] is None, "there is no way back from another picture"
    assert copy["reached"] + copy["classification error"] == pytest.approx(1)
    copy, real = values(truth, "copy"), values(truth, "real")
    assert copy["error ratio"] == pytest.approx(1) and copy["error outside"] < 0.01 < copy["error inside"]
    assert real["error ratio"] == 0 and real["retrieved"] == 1 and real["psnr"] == 100


def test_numbers_do_not_depend_on_the_batch(run: Path) -> None:
    """Stated: 1e-4 relative in float32; random draws are the same, and sums are float64."""
    first, second = (evaluate(run, random=True, batch=batch, **CPU) for batch in (3, 16))
    for name, record in first.items():
        for ours, theirs in zip(record["rows"], second[name]["rows"], strict=True):
            for metric, value in ours["values"].items():
                if metric not in ("precision", "recall", "density", "coverage") or value is None:
                    assert theirs["values"][metric] == (None if value is None else pytest.approx(value, rel=1e-4, abs=1e-6))
                else:  # Counts: one picture on the edge of a ball may fall to either side.
                    assert theirs["values"][metric] == pytest.approx(value, abs=0.05)


def test_the_margin_says_how_certain_the_classifier_is_of_the_wanted_value() -> None:
    logits = torch.tensor([[3.0, 1.0, -2.0], [0.0, 4.0, -2.0]])
    wanted = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(margin(logits, wanted, 0, [1]), torch.tensor([2.0, -4.0]))  # Of two that exclude each other.
    torch.testing.assert_close(margin(logits, wanted, 2, []), torch.tensor([2.0, 2.0]))  # A label that is to be absent.


def test_a_classifier_that_is_bad_on_real_pictures_voids_the_scores(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = evaluate(run, protocols=["quick"], device="cpu", classifier=JUDGE | {"train.steps": 1, "train.seed": 3})
    said = record["quick/classifier/test/last"]["classifier"]
    assert said["void"] and said["accuracy"] < judging.NEEDED and "VOID" in capsys.readouterr().out
    assert set(said["labels"]) == {"Red", "Green", "Blue", "Border"}


def test_a_broken_picture_is_named_and_not_replaced_by_another(
    run: Path, discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training takes another picture in its place; here that one would count twice."""
    data = shutil.copytree(discs, tmp_path / "table")
    broken = data / "images" / "000144.png"
    broken.write_bytes(broken.read_bytes()[:-60])
    record = evaluate(run, protocols=["stargan"], data=[str(data)], **CPU)[STARGAN]
    assert sum(about["pictures"] for name, about in record["targets"].items() if "Border" in name) == 35
    assert "000144.png" in capsys.readouterr().out


def test_a_domain_with_one_picture_gives_what_can_be_computed(run: Path, discs: Path, tmp_path: Path) -> None:
    data = shutil.copytree(discs, tmp_path / "table")
    head, *rows = (data / "labels.csv").read_text().splitlines()
    kept, found = [], 0
    for row in rows:
        blue = row.split(",")[5] == "1"
        found += blue and ",test," in row
        if not (blue and ",test," in row) or found == 1:
            kept.append(row)
    (data / "labels.csv").write_text("\n".join([head, *kept]))
    record = evaluate(run, protocols=["stargan_v2"], data=[str(data)], **CPU)["stargan_v2/classifier/test/last"]
    alone = record["targets"]["Blue to Red"]
    assert alone["pictures"] == 1 and alone["values"]["fid"] is None and alone["values"]["reached"] is not None
    assert any("Blue to Red: no fid, kid" in note and "of 1 outputs" in note for note in record["notes"])
    assert record["matrices"]["fid"]["values"][0][1] is not None and len(record["targets"]) == 6


def test_imported_models_are_measured_on_data_with_their_labels(discs: Path, tmp_path: Path) -> None:
    """Whatever the data's folder is called, and though the words of the import do not say which labels exclude others."""
    table = shutil.copytree(discs, tmp_path / "table")
    rows = (table / "labels.csv").read_text().splitlines()
    more = [rows[0] + ",Odd,Unused"] + [f"{row},{i % 2},{i % 3 % 2}" for i, row in enumerate(rows[1:])]
    (table / "labels.csv").write_text("\n".join(more))
    space = LabelSpace.from_text("Red,Green,Blue,Border,Odd")
    import_published("stargan", [GOLDEN / "celeba-G.ckpt"], space=space, size=(64, 64), out=tmp_path / "imported")
    quick = evaluate(tmp_path / "imported", protocols=["quick"], data=[str(table)], parameters={"pictures": 6}, **CPU)
    record = next(iter(quick.values()))
    assert {"Red", "Green", "Blue", "Border=no", "Odd"} <= set(record["targets"])
    assert sum(record["targets"][name]["pictures"] for name in ("Red", "Green", "Blue")) == 12, "not to the colour it has"


def test_data_that_are_gone_or_have_other_labels_are_refused(run: Path, discs: Path, shapes_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="have the labels blue, green, red; the model knows Red, Green, Blue, Border"):
        evaluate(run, data=[str(shapes_dir)])
    data = shutil.copytree(discs, tmp_path / "table")
    (data / "labels.csv").write_text((data / "labels.csv").read_text().replace(",val,", ",test,"))
    with pytest.raises(ConfigError, match=r"no picture is in the split 'val' \(train 96, val 0, test 48\)"):
        evaluate(run, data=[str(data)], split="val")
    with pytest.raises(ConfigError, match="no protocol 'starganv2': did you mean stargan_v2"):
        evaluate(run, protocols=["starganv2"])
    with pytest.raises(ConfigError, match="no checkpoint '7'; choose one of model, last, all, 1"):
        evaluate(run, checkpoint="7")
    with pytest.raises(ConfigError, match="was not evaluated while it trained"):
        evaluate(run, checkpoint="best")
    (data / "labels.csv").write_text((data / "labels.csv").read_text().replace("identity", "whatever"))
    with pytest.raises(ConfigError, match="a column identity or pair_id in the table"):
        evaluate(run, data=[str(data)], protocols=["truth"], **CPU)
    config = json.loads((run / "config.json").read_text())
    config["data"]["sources"] = [str(tmp_path / "gone")]
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"no longer at .*gone: say where they are by --data"):
        evaluate(run)


def test_one_domain_is_refused_before_anything_is_trained(run: Path, shapes_dir: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(shapes_dir / "red", alone / "red")
    with pytest.raises(DataError):
        evaluate(run, data=[str(alone)])
    assert not (run / "classifier").exists()


def test_all_checkpoints_are_measured_each_under_its_name(discs: Path, tmp_path: Path) -> None:
    train("stargan", discs, tmp_path / "run", overrides=small(train__steps=4, train__checkpoint_every=2, train__keep=2))
    records = evaluate(tmp_path / "run", protocols=["quick"], checkpoint="all", **CPU)
    assert [(r["checkpoint"], r["step"]) for r in records.values()] == [("step_00000002", 2), ("step_00000004", 4)]
    first, second = records.values()
    assert first["model"] != second["model"] and unlike(first, second) is None
    last = evaluate(tmp_path / "run", protocols=["quick"], checkpoint="last", **CPU)["quick/classifier/test/last"]
    assert values(last, "translated") == values(second, "translated") and len(read_scores(tmp_path / "run/scores.json")) == 3


def test_ten_outputs_in_two_modes_for_recipes_with_styles(discs: Path, tmp_path: Path) -> None:
    overrides = {"recipe.capacity": 128, "recipe.max_width": 8, "recipe.mapping_width": 8, "recipe.style_dim": 4}
    overrides |= {"data.size": 32, "train.steps": 1, "train.batch_size": 2, "train.device": "cpu"}
    train("stargan_v2", discs, tmp_path / "run", overrides=overrides)
    records = evaluate(tmp_path / "run", split="val", parameters={"outputs": 3}, batch=16, **CPU)
    assert list(records) == ["stargan_v2/classifier/val/last", "truth/classifier/val/last"]
    sheets = {case["file"].rpartition("/")[2]: case for case in records["stargan_v2/classifier/val/last"]["cases"]}
    assert set(sheets) == {"held_out.png", "best.png", "worst.png", "styles.png", "references.png"}
    assert "how certain the classifier is" in sheets["best.png"]["caption"] and "first 3" in sheets["best.png"]["caption"]
    assert sheets["references.png"]["columns"] == ["source", "Red", "Green", "Blue"]
    record = records["stargan_v2/classifier/val/last"]
    assert {f"{a} to {b}, {mode}" for a, b, mode in pairs_of("Red", "Green", "Blue")} == set(record["targets"])
    assert record["parameters"]["outputs"] == 3 and record["parameters"]["diversity"].startswith("classifier ")
    latent = next(row for row in record["rows"] if row["name"] == "translated, all targets, latent")
    assert latent["values"]["diversity"] > 0 and values(record, "copy")["diversity"] == 0
    assert broken_orders({**record, "rows": [r for r in record["rows"] if r["kind"] in ("copy", "real")]}) == []
    assert "fid, reference" in record["matrices"] and any(case["title"].startswith("several") for case in record["cases"])
    settings: dict[str, Any] = {"protocols": ["stargan_v2"], "split": "val", "parameters": {"outputs": 3}, "batch": 5}
    again = evaluate(tmp_path / "run", **settings, **CPU)["stargan_v2/classifier/val/last"]
    for metric in ("diversity", "fid", "reached"):
        assert values(again, "translated")[metric] == pytest.approx(values(record, "translated")[metric], rel=1e-4)


def pairs_of(*names: str) -> Iterator[tuple[str, str, str]]:
    for a in names:
        for b in names:
            for mode in ("latent", "reference"):
                if a != b:
                    yield a, b, mode


def test_protocols_state_their_measures_once() -> None:
    for name, protocol in PROTOCOLS.items():
        measures = [m.name for m, _ in protocol.measures]
        assert protocol.name == name and len(measures) == len(set(measures)) and protocol.version >= 1
