"""Evaluation: what is measured, on which pictures; that nothing is lost, mixed or measured by a half-trained judge."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asterism import train
from asterism.cli import main
from asterism.config import ConfigError
from asterism.data.collection import DataError
from asterism.engine.trainer import Outcome, Trainer
from asterism.evaluation import evaluate as evaluating
from asterism.evaluation import judge as judging
from asterism.evaluation import session
from asterism.evaluation.cache import cache_folder, read_tensor, weights_folder, write_tensor
from asterism.evaluation.evaluate import evaluate
from asterism.evaluation.extractors import ALEXNET, INCEPTION, LPIPS, extractor, load_lpips
from asterism.evaluation.protocols import PROTOCOLS
from asterism.evaluation.summary import broken_orders
from asterism.evaluation.systems import Generator
from asterism.evaluation.tasks import Task
from asterism.inference.import_ import import_published
from asterism.labels import LabelSpace
from asterism.machine import Machine
from asterism.metrics.accuracy import agreement, margin
from asterism.metrics.alexnet import CHANNELS, AlexNet
from asterism.run_folder import read_scores, unlike
from tests.conftest import COLOURS, draw
from tests.test_engine import small

GOLDEN = Path(__file__).parent / "golden" / "stargan"
JUDGE = {"recipe.width": 4, "train.steps": 60, "train.decay_steps": 60, "recipe.lr": 3e-3}
"""Right on nearly all the discs, and trained in seconds."""
CPU: dict[str, Any] = {"device": "cpu", "classifier": JUDGE}
STARGAN, TRUTH = "stargan/classifier/test/last", "truth/classifier/test/last"


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of discs: 96 for training, 12 for validation, 36 for testing; six of a kind differ in labels only."""
    root, names = tmp_path_factory.mktemp("discs") / "table", list(COLOURS)
    (root / "images").mkdir(parents=True)
    lines = ["file,split,identity," + ",".join([*names, "Border"])]
    for i in range(144):
        colour, border, kind = names[i % 3], i // 3 % 2 == 0, i // 6
        file = f"images/{i + 1:06}.png"
        draw(random.Random(kind), COLOURS[colour], border).save(root / file)
        split = "train" if i < 96 else "val" if i < 108 else "test"
        values = ["1" if name == colour else "-1" for name in names] + ["1" if border else "-1"]
        lines.append(",".join([file, split, str(kind), *values]))
    (root / "labels.csv").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def trained(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step on the discs; copied by tests that write into it."""
    out = tmp_path_factory.mktemp("trained") / "run"
    train("stargan", discs, out, overrides=small(train__steps=1))
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


def values(record: dict[str, Any], kind: str) -> dict[str, float | None]:
    """The row of a kind over all targets."""
    return [row["values"] for row in record["rows"] if row["kind"] == kind][-1]


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
@pytest.mark.timeout(1800)
def test_a_trained_model_keeps_every_order_that_the_protocols_state(discs: Path, tmp_path: Path) -> None:
    """Not the oracle but the real thing: colours and borders of discs, learned in 400 steps."""
    wide = {"recipe.conv_dim": 16, "recipe.discriminator_conv_dim": 16, "train.steps": 400, "train.decay_steps": 200}
    wide |= {"train.batch_size": 8, "train.evaluate_every": 0, "recipe.generator_lr": 1e-3, "recipe.discriminator_lr": 2e-3}
    wide |= {"recipe.penalty_patches": "sum", "recipe.critic_steps": 1, "recipe.targets": "permutation"}
    train("stargan", discs, tmp_path / "run", overrides=small() | wide)
    for record in evaluate(tmp_path / "run", protocols=["stargan", "truth", "stargan_v2"], random=True, **CPU).values():
        assert broken_orders(record) == []
        if record["protocol"] == "stargan":
            assert values(record, "translated")["reached"] > 0.5


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


def test_a_signal_ends_an_evaluation_with_a_sentence(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SIGTERM is what schedulers send; SIGINT counts although the shell of a background job had it ignored."""

    def killed(number: int) -> Any:
        def kill(*_: Any) -> None:
            os.kill(os.getpid(), number)
            time.sleep(5)

        return kill

    words = ["evaluate", str(run), "--protocol", "quick", "--device", "cpu"]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for number, where, told in (
            (signal.SIGTERM, "open_data", "nothing was measured yet"),
            (signal.SIGINT, "one", f"what is measured is kept in {run}"),
            (signal.SIGTERM, "one", f"what is measured is kept in {run}"),
        ):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    judging, "classifier_settings", lambda s, n, _, make=judging.classifier_settings: make(s, n, JUDGE)
                )
                patch.setattr(evaluating, where, killed(number))
                assert main(words) == 128 + number
            said = capsys.readouterr().err
            assert said.startswith("asterism: stopped. ") and told in said and "same command" in said
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN, "as it was"
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupted_evaluation_goes_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "SAVE_SECONDS", 0)
    translate, made, most = Generator.translate, [], [10**6]

    def counted(self: Generator, x: Tensor, *rest: Any) -> Tensor:
        if sum(made) >= most[0]:
            raise KeyboardInterrupt
        made.append(len(x))
        return translate(self, x, *rest)

    monkeypatch.setattr(Generator, "translate", counted)
    both: dict[str, Any] = {"protocols": ["quick", "stargan"], "parameters": {"pictures": 30}}
    whole = evaluate(run, batch=8, **both, **CPU)[STARGAN]
    everything, most[0] = sum(made), sum(made) * 3 // 4  # In the second protocol.
    made.clear()
    with pytest.raises(KeyboardInterrupt, match="the same command goes on"):
        evaluate(run, batch=8, **both, **CPU)
    assert read_scores(run / "scores.json")[STARGAN] == json.loads(json.dumps(whole)), "the older scores stand"
    most[0] = 10**6
    again = evaluate(run, batch=16, **both, **CPU)[STARGAN]
    assert everything <= sum(made) <= everything + 80, "at most a batch, and the sheets, are translated twice"
    for metric, value in values(whole, "translated").items():
        assert values(again, "translated")[metric] == pytest.approx(value, rel=1e-4)
    assert not list((run / "samples").glob(".partial*"))


def test_records_of_other_protocols_and_extractors_stand_beside_one_another(run: Path) -> None:
    evaluate(run, protocols=["quick"], **CPU)
    evaluate(run, protocols=["quick"], features="tests.test_evaluation:Means", **CPU)
    records = read_scores(run / "scores.json")
    one, two = records["quick/classifier/test/last"], records["quick/tests.test_evaluation:Means/test/last"]
    assert two["extractor"]["dims"] == 3 and values(one, "copy")["fid"] != values(two, "copy")["fid"]
    assert "extractor classifier" in (unlike(one, two) or "") and unlike(one, one) is None
    evaluate(run, protocols=["quick"], parameters={"pictures": 6}, **CPU)
    fewer = read_scores(run / "scores.json")["quick/classifier/test/last"]
    assert unlike(one, fewer) == "pictures 64 and 6"


class Means(nn.Module):
    """An extractor of a user's own: mean colours."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def test_an_exported_program_is_an_extractor(run: Path, tmp_path: Path) -> None:
    example = torch.zeros(2, 3, 32, 32)
    batch = torch.export.Dim("batch", min=1, max=1024)
    program = torch.export.export(Means(), (example,), dynamic_shapes={"x": {0: batch}})
    torch.export.save(program, tmp_path / "means.pt2")
    record = evaluate(run, protocols=["quick"], features=str(tmp_path / "means.pt2"), **CPU)["quick/means.pt2/test/last"]
    assert record["extractor"]["dims"] == 3 and record["extractor"]["digest"]
    named = evaluate(run, protocols=["quick"], features="tests.test_evaluation:Means", **CPU)
    other = next(iter(named.values()))
    assert values(record, "copy")["fid"] == pytest.approx(values(other, "copy")["fid"], rel=1e-4)


def test_extractors_that_are_not_there_are_refused_with_the_remedy(run: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.pt2").write_bytes(b"nothing")
    for name, words in (
        ("inception", r"pip install \"asterism\[inception\]\"|weights of the inception extractor are not at"),
        ("incepton", "no extractor 'incepton': classifier, inception, a file written by torch.export.save"),
        (str(tmp_path / "none.pt2"), "there is no extractor file"),
        (str(tmp_path / "bad.pt2"), "is no exported program"),
        ("tests.test_evaluation:Missing", "expected module:Class"),
        ("tests.test_evaluation:Path", "is no torch.nn.Module"),
    ):
        with pytest.raises(ConfigError, match=words):
            evaluate(run, features=name, **CPU)


def test_a_damaged_cache_is_computed_again_with_a_word(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = evaluate(run, protocols=["quick"], **CPU)
    capsys.readouterr()
    for path in (cache_folder() / "features").iterdir():
        content = bytearray(path.read_bytes())
        content[-1] ^= 1  # Still a safetensors file.
        path.write_bytes(content)
    classifiers = list((cache_folder() / "classifiers").iterdir())
    for path in classifiers:
        path.write_bytes(path.read_bytes()[:100])
    again = evaluate(run, protocols=["quick"], **CPU)
    told = capsys.readouterr().out
    assert "does not match its hash" in told and "training it again" in told
    assert [values(r, "copy") for r in again.values()] == [values(r, "copy") for r in whole.values()]
    evaluate(run, protocols=["quick"], **CPU)
    assert "again" not in capsys.readouterr().out


def test_a_tensor_of_the_cache_is_read_back_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "a" / "tensor"
    assert read_tensor(file) is None
    write_tensor(file, torch.arange(6.0).view(2, 3))
    assert torch.equal(read_tensor(file), torch.arange(6.0).view(2, 3))
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ValueError):
        read_tensor(file)


def test_the_classifier_is_trained_once_for_all_runs_on_the_same_data(run: Path, discs: Path, tmp_path: Path) -> None:
    first = evaluate(run, protocols=["quick"], **CPU)["quick/classifier/test/last"]
    moved = shutil.copytree(discs, tmp_path / "elsewhere" / "table")
    shutil.rmtree(run / "classifier", ignore_errors=True)
    second = evaluate(run, protocols=["quick"], data=[str(moved)], **CPU)["quick/classifier/test/last"]
    assert not (run / "classifier").exists(), "the cache had it"
    assert unlike(first, second) is None
    (moved / "images" / "000001.png").write_bytes((moved / "images" / "000002.png").read_bytes())
    evaluate(run, protocols=["quick"], data=[str(moved)], **CPU)
    assert (run / "classifier").exists(), "other pictures, another classifier"


def test_an_interrupted_classifier_is_not_kept(run: Path, discs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_whole = Trainer.train

    def stopped(self: Trainer) -> Outcome:
        return Outcome(train_whole(self).step, signal=2)

    other = {"device": "cpu", "classifier": JUDGE | {"train.seed": 7}}
    known = set((cache_folder() / "classifiers").glob("*"))
    monkeypatch.setattr(Trainer, "train", stopped)
    with pytest.raises(KeyboardInterrupt, match=r"is kept at step 60 of 60 in .*: the same command goes on from there"):
        evaluate(run, protocols=["quick"], **other)
    assert set((cache_folder() / "classifiers").glob("*")) == known and not (run / "scores.json").exists()
    monkeypatch.setattr(Trainer, "train", train_whole)
    evaluate(run, protocols=["quick"], **other)
    assert len(set((cache_folder() / "classifiers").glob("*")) - known) == 1


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


class PublishedInception(nn.Module):
    """The interface of torch-fidelity's network: a list of features wanted, a file; a tuple for bytes, strictly RGB."""

    def __init__(self, name: str, features_list: list[str], feature_extractor_weights_path: str) -> None:
        super().__init__()
        assert features_list == ["2048"]
        self.layer = nn.Linear(3, 2048, bias=False)
        self.load_state_dict(torch.load(feature_extractor_weights_path))

    def forward(self, x: Tensor) -> tuple[Tensor]:
        assert x.dtype == torch.uint8 and x.shape[1] == 3
        return (self.layer(x.float().mean((2, 3))),)


def test_inception_is_asked_as_torch_fidelity_wants_it(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, network = ModuleType("torch_fidelity"), ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    network.FeatureExtractorInceptionV3 = PublishedInception  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, network.__name__, network)
    machine, weights = Machine.choose("cpu", "float32"), weights_folder() / INCEPTION
    with pytest.raises(ConfigError, match=f"Put the file from github.com/toshas/torch-fidelity/.*{INCEPTION} there"):
        extractor("inception", None, machine, 3, (32, 32))  # type: ignore[arg-type]
    weights.parent.mkdir(parents=True, exist_ok=True)
    layer = torch.zeros(2048, 3)
    layer[:3] = torch.eye(3)
    try:
        torch.save({"layer.weight": layer}, weights)
        compute = extractor("inception", None, machine, 1, (32, 32))  # type: ignore[arg-type]
        made = compute(torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8))
        assert made[:, :3].tolist() == [[0.0] * 3, [128.0] * 3, [255.0] * 3] and compute.dims == made.shape[1] == 2048
        weights.write_bytes(b"cut short")
        with pytest.raises(ConfigError, match="cannot be read from .*: take the file from github.com/toshas"):
            extractor("inception", None, machine, 3, (32, 32))  # type: ignore[arg-type]
    finally:
        weights.unlink()


def test_lpips_weights_are_read_from_the_published_files_or_refused(tmp_path: Path) -> None:
    network = AlexNet()
    backbone, linear = tmp_path / ALEXNET, tmp_path / LPIPS
    torch.save(network.state_dict() | {"classifier.1.weight": torch.zeros(2)}, backbone)  # It holds more than is used.
    layers = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate(CHANNELS)}
    torch.save(layers, linear, _use_new_zipfile_serialization=False)  # As old as the published file.
    read, weights = load_lpips(backbone, linear)
    assert torch.equal(read.features[0].weight, network.features[0].weight) and [len(w) for w in weights] == list(CHANNELS)
    torch.save({}, linear)
    with pytest.raises(ConfigError, match="lpips/weights/v0.1/alex.pth"):
        load_lpips(backbone, linear)


def test_protocols_state_their_measures_once() -> None:
    for name, protocol in PROTOCOLS.items():
        measures = [m.name for m, _ in protocol.measures]
        assert protocol.name == name and len(measures) == len(set(measures)) and protocol.version >= 1
