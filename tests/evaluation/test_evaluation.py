"""Evaluation: what is measured, on which pictures, and that every metric orders what is good and what is not."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from asterism import train
from asterism.config import ConfigError, DataConfig
from asterism.data.dataset import open_data
from asterism.data.listing import DataError
from asterism.data.pictures import write
from asterism.evaluation import judge as judging
from asterism.evaluation.candidates import Generator
from asterism.evaluation.evaluate import evaluate
from asterism.evaluation.measures import agreement, margin
from asterism.evaluation.pictures import Pictures
from asterism.evaluation.protocols import PROTOCOLS
from asterism.evaluation.run_data import differing
from asterism.evaluation.summary import broken_orders, set_names
from asterism.evaluation.tasks import Task
from asterism.inference.published.importing import import_published
from asterism.labels import LabelGroup, LabelSpace
from asterism.machine import Machine
from asterism.networks.resnet import ResNet18
from asterism.recipes.base import Abilities
from asterism.recipes.classifier import Classifier
from asterism.recipes.stargan import StarGAN
from asterism.runs.scores import read_scores, why_not_comparable
from tests.helpers.evaluating import CPU, JUDGE, STARGAN, TRUTH, values
from tests.helpers.recipes import tiny
from tests.helpers.runs import small

GOLDEN = Path(__file__).parents[1] / "golden" / "stargan"


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

    def there_and_back(self: Generator, x: Tensor, y: Tensor, *rest: Any) -> Tensor:
        if self.kind == "random":
            return back(self, x, y, *rest)
        return (x + 0.02 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))).clamp(-1, 1)

    monkeypatch.setattr(Generator, "outputs", outputs)
    monkeypatch.setattr(Generator, "back", there_and_back)


def test_only_known_labels_that_the_edit_leaves_count_as_preserved() -> None:
    decided = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    labels = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    known = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(agreement(decided == labels, known), torch.tensor([1 / 2, 2 / 3, math.nan]), equal_nan=True)


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
    assert "fid (classifier): Fréchet distance" in told, "not Inception's, which the name alone would mean"
    assert records[STARGAN]["extractor"]["digest"] in told
    matrix = records[STARGAN]["matrices"]["reached"]
    assert matrix["rows"][:3] == ["Red", "Green", "Blue"] and [matrix["values"][i][i] for i in range(3)] == [None] * 3
    assert all((run / case["file"]).exists() for record in records.values() for case in record["cases"])
    assert {case["title"] for case in records[TRUTH]["cases"]} == {"held-out pictures", "best cases", "worst cases"}


@pytest.mark.parametrize("name", ["stargan", "quick", "truth", "pairs", "stargan_v2"])
def test_every_metric_orders_copy_real_and_random_as_its_protocol_states(run: Path, oracle: None, name: str) -> None:
    """With a generator that is nearly perfect; a metric that fails its order says nothing and is not shipped."""
    (record,) = evaluate(run, protocols=[name], random=True, **CPU).values()
    assert not record["classifier"]["void"]
    assert broken_orders(record) == []
    stated = {pair for about in record["metrics"].values() for pair in map(tuple, about["order"])}
    assert stated, "a protocol states orders"
    for metric, about in record["metrics"].items():
        if metric not in ("kid spread", "diversity", "lpips"):  # An error bar; what needs styles; what needs weight files.
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
    """Random draws are the same, and sums are float64. In float32, rounding by the batch may turn single verdicts over."""
    first, second = (evaluate(run, random=True, batch=batch, precision="float64", **CPU) for batch in (3, 16))
    assert (
        sum(value is not None for record in first.values() for row in record["rows"] for value in row["values"].values()) > 30
    )
    for name, record in first.items():
        for ours, theirs in zip(record["rows"], second[name]["rows"], strict=True):
            for metric, value in ours["values"].items():
                if metric not in ("precision", "recall", "density", "coverage") or value is None:
                    assert theirs["values"][metric] == (None if value is None else pytest.approx(value, rel=1e-6, abs=1e-6))
                else:  # Counts: one picture on the edge of a ball may fall to either side.
                    assert theirs["values"][metric] == pytest.approx(value, abs=0.05)


def test_the_margin_says_how_certain_the_classifier_is_of_the_wanted_value() -> None:
    logits = torch.tensor([[3.0, 1.0, -2.0], [0.0, 4.0, -2.0]])
    wanted = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    space = LabelSpace(
        [LabelGroup("a", ("x", "y", "z"), "binary", (("x", "y"),)), LabelGroup("a", ("n",), "number", low=0, high=5)]
    )
    logits, wanted = torch.cat([logits, torch.tensor([[0.5], [0.5]])], 1), torch.cat([wanted, torch.tensor([[2.25], [4.0]])], 1)
    torch.testing.assert_close(margin(space, logits, wanted, 0), torch.tensor([2.0, -4.0]))  # Of two that exclude each other.
    torch.testing.assert_close(margin(space, logits, wanted, 2), torch.tensor([2.0, 2.0]))  # A label that is to be absent.
    torch.testing.assert_close(margin(space, logits, wanted, 3), torch.tensor([0.05, -0.2]))  # Within a tenth of the range.


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


@pytest.mark.parametrize("colours", [("Red", "Green", "Blue"), ("Black_Hair", "Blond_Hair", "Brown_Hair")])
def test_imported_models_are_measured_on_data_with_their_labels(discs: Path, tmp_path: Path, colours: tuple[str, ...]) -> None:
    """Whatever the data's folder is called, and whether the model or the table says which labels exclude others.

    Of discs the words of the import do not say it and every row does; of hair the words do, and a training picture is bald.
    One picture has an opacity, which the model's number of channels settles.
    """
    hair = "Black_Hair" in colours
    table, imported = shutil.copytree(discs, tmp_path / "table"), tmp_path / "imported"
    rows = (table / "labels.csv").read_text().replace("Red,Green,Blue", ",".join(colours)).splitlines()
    rows[1] = rows[1].replace(",1,-1,-1", ",-1,-1,-1") if hair else rows[1]
    more = [rows[0] + ",Odd,Unused"] + [f"{row},{i % 2},{i % 3 % 2}" for i, row in enumerate(rows[1:])]
    (table / "labels.csv").write_text("\n".join(more))
    file = table / rows[1].split(",")[0]
    Image.open(file).convert("RGBA").save(file)
    space = LabelSpace.from_text(",".join([*colours, "Border", "Odd"]))
    import_published("stargan", [GOLDEN / "celeba-G.ckpt"], space=space, size=(64, 64), out=imported)
    config = json.loads((imported / "config.json").read_text())
    assert config["data"]["exclusive"] == (",".join(colours) if hair else ""), "further training sees the same space"
    config["data"]["exclusive"] = ""  # As runs have it that were imported before; the model knows better.
    (imported / "config.json").write_text(json.dumps(config))
    quick = evaluate(imported, protocols=["quick"], data=[str(table)], parameters={"pictures": 6}, **CPU)
    record = next(iter(quick.values()))
    assert {*colours, "Border=no", "Odd"} <= set(record["targets"]) and not {f"{c}=no" for c in colours} & set(
        record["targets"]
    )
    assert sum(record["targets"][name]["pictures"] for name in colours) == 12, "not to the colour it has"
    assert any(row["name"] == f"translated, {'Hair' if hair else 'Red, Green, Blue'}" for row in record["rows"])


def test_pictures_without_identity_have_no_partner_and_any_of_the_identity_is_found(
    run: Path, discs: Path, tmp_path: Path
) -> None:
    """Test pictures 109 to 132 are of nobody in particular, 133 to 138 of one thing, and 139 to 144 of it once more."""
    data = shutil.copytree(discs, tmp_path / "table")
    head, *rows = (data / "labels.csv").read_text().splitlines()
    for i in range(108, 144):
        file, split, _, *labels = rows[i].split(",")
        rows[i] = ",".join([file, split, "" if i < 132 else "twice", *labels])
    for i in range(138, 144):
        shutil.copy(data / rows[i - 6].split(",")[0], data / rows[i].split(",")[0])
    other = [",".join([file, "test", "other", *labels]) for file, _, _, *labels in (row.split(",") for row in rows[96:102])]
    (data / "labels.csv").write_text("\n".join([head, *rows[:96], *other, *rows[102:]]))
    (record,) = evaluate(run, protocols=["truth"], data=[str(data)], **CPU).values()
    assert sum(about["pictures"] for about in record["targets"].values()) == 3 * (12 + 6), "two colours and a border of each"
    assert values(record, "real")["error ratio"] == 0 and values(record, "real")["retrieved"] == 1
    sheet = next(case for case in record["cases"] if case["title"] == "held-out pictures")
    assert Image.open(run / sheet["file"]).height // 32 == 6, "those of nobody are not one"


def test_data_without_true_pictures_or_real_ones_of_a_target_give_what_can_be_computed(
    run: Path, discs: Path, tmp_path: Path
) -> None:
    """Every picture is of another thing, the partner of nothing but itself; and no test picture has a border."""
    data = shutil.copytree(discs, tmp_path / "table")
    head, *rows = (line.split(",") for line in (data / "labels.csv").read_text().splitlines())
    for i, row in enumerate(rows):
        row[2] = str(i)
        row[-1] = "-1" if row[1] == "test" else row[-1]
    (data / "labels.csv").write_text("\n".join(map(",".join, [head, *rows])))
    records = evaluate(run, data=[str(data)], **CPU)
    assert list(records) == [STARGAN] and set(records[STARGAN]["targets"]) == {"Red", "Green", "Blue", "Border"}
    counts = {row["kind"]: row["pictures"] for row in records[STARGAN]["rows"] if row["name"] != "translated, Red, Green, Blue"}
    assert counts == {"translated": 72 + 36, "copy": 72 + 36, "real": 72}
    assert any("no real picture of Border is in the split" in note for note in records[STARGAN]["notes"])


def test_float32_is_exact_in_all_that_is_computed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's TF32, 10 bits of mantissa, is allowed by PyTorch's default: translations, verdicts and features go without."""
    allowed: dict[str, set[bool]] = {}

    def note(owner: Any, name: str) -> None:
        compute = getattr(owner, name)

        def noted(self: Any, *args: Any, **rest: Any) -> Any:
            allowed.setdefault(name, set()).add(torch.backends.cudnn.allow_tf32)
            return compute(self, *args, **rest)

        monkeypatch.setattr(owner, name, noted)

    for owner, name in ((StarGAN, "translate"), (Classifier, "classify"), (ResNet18, "features")):
        note(owner, name)
    evaluate(run, protocols=["quick"], parameters={"pictures": 2}, **CPU)
    assert allowed == {"translate": {False}, "classify": {False}, "features": {False}} and torch.backends.cudnn.allow_tf32


def test_weights_that_have_diverged_are_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In measures NaN means that one does not apply."""
    translate = StarGAN.translate
    monkeypatch.setattr(StarGAN, "translate", lambda self, *args, **rest: translate(self, *args, **rest) * math.nan)
    with pytest.raises(ConfigError, match="NaN values: these weights have diverged"):
        evaluate(run, protocols=["truth"], **CPU)
    assert not (run / "scores.json").exists()


def test_an_order_is_held_to_in_every_mode() -> None:
    about = {"reached": {"better": "higher", "order": [["real", "copy"], ["translated", "copy"]]}}
    reached = {"translated, all targets, latent": 0.0, "translated, all targets, reference": 0.9, "translated, Hair": 0.0}
    reached |= {"copy the input": 0.0, "real pictures of the target": 1.0}
    rows = [{"name": name, "kind": name.split()[0].strip(","), "values": {"reached": v}} for name, v in reached.items()]
    assert broken_orders({"metrics": about, "rows": rows}) == ["reached: translated, latent 0 is not better than copy 0"]


def test_sets_of_labels_have_names_of_their_own() -> None:
    joined = "a:one_of:Black_Hair,Red_Hair;b:one_of:Black_Hair,Gray_Hair;c:one_of:Big_Nose,Small_Nose;d:one_of:happy,sad"
    names = ["a:Black_Hair, Red_Hair", "b:Black_Hair, Gray_Hair", "Nose", "happy, sad"]
    assert set_names(LabelSpace.from_text(joined)) == names


def test_labels_of_another_kind_are_told_apart() -> None:
    data, model = LabelSpace.from_text("faces:binary:happy,sad"), LabelSpace.from_text("faces:one_of:happy,sad")
    assert differing(data, model) == ("the binary labels happy, sad of faces", "the one_of labels happy, sad of faces")
    more = LabelSpace.from_text("faces:binary:happy,sad;busts:one_of:old,young")
    assert differing(more, data) == ("the one_of labels old, young of busts", "no more labels")


def test_without_domains_there_are_no_pairs_of_them() -> None:
    sets: Any = [SimpleNamespace(set=SimpleNamespace(dataset=0))]
    recipe: Any = SimpleNamespace(abilities=Abilities(translates=True, style=4))
    protocol = PROTOCOLS["stargan_v2"]
    with pytest.raises(ConfigError, match="needs domains, .* there are none among A, B: .*--data.exclusive"):
        protocol.tasks(sets, LabelSpace.from_text("A,B"), [], recipe, protocol.parameters)


def test_data_that_are_gone_or_have_other_labels_are_refused(
    run: Path, discs: Path, shapes_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        ConfigError, match="the one_of labels blue, green, red of shapes; .* knows the binary labels Red, Green"
    ):
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
    with monkeypatch.context() as patch, pytest.raises(ConfigError, match="a column identity or pair_id in the table"):
        patch.setattr("asterism.evaluation.evaluate.trained_judge", None)  # It is said before minutes go into a classifier.
        evaluate(run, data=[str(data)], protocols=["truth"], **CPU)
    write(data / "images" / "deep.tif", np.zeros((32, 32, 3), np.uint16))
    (data / "labels.csv").write_text((data / "labels.csv").read_text().replace("000001.png", "deep.tif"))
    with pytest.raises(ConfigError, match="have 16 bits with values 0 to 65535; the model knows 8 bits with values 0 to 255"):
        evaluate(run, data=[str(data)], **CPU)
    config = json.loads((run / "config.json").read_text())
    config["data"]["sources"] = [str(tmp_path / "gone")]
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"have moved from .*gone: give their location with --data"):
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
    assert first["model"] != second["model"] and why_not_comparable(first, second) is None
    last = evaluate(tmp_path / "run", protocols=["quick"], checkpoint="last", **CPU)["quick/classifier/test/last"]
    assert values(last, "translated") == values(second, "translated") and len(read_scores(tmp_path / "run/scores.json")) == 3


def test_ten_outputs_in_two_modes_for_recipes_with_styles(discs: Path, tmp_path: Path) -> None:
    overrides = {"recipe.capacity": 128, "recipe.max_width": 8, "recipe.mapping_width": 8, "recipe.style_dim": 4}
    overrides |= {"data.size": 32, "train.steps": 1, "train.batch_size": 2, "train.device": "cpu"}
    train("stargan_v2", discs, tmp_path / "run", overrides=overrides)
    exact = CPU | {"precision": "float64"}
    records = evaluate(tmp_path / "run", split="val", parameters={"outputs": 3}, batch=16, **exact)
    assert list(records) == ["stargan_v2/classifier/val/last", "truth/classifier/val/last"]
    sheets = {case["file"].rpartition("/")[2]: case for case in records["stargan_v2/classifier/val/last"]["cases"]}
    assert set(sheets) == {"held_out.png", "best.png", "worst.png", "styles.png", "references.png"}
    assert "certainty of the target" in sheets["best.png"]["caption"] and "first 3" in sheets["best.png"]["caption"]
    assert sheets["references.png"]["columns"] == ["source", "Red", "Green", "Blue"]
    record = records["stargan_v2/classifier/val/last"]
    assert {f"{a} to {b}, {mode}" for a, b, mode in pairs_of("Red", "Green", "Blue")} == set(record["targets"])
    assert record["parameters"]["outputs"] == 3 and record["parameters"]["diversity"].startswith("classifier ")
    latent = next(row for row in record["rows"] if row["name"] == "translated, all targets, latent")
    assert latent["values"]["diversity"] > 0 and values(record, "copy")["diversity"] < 1e-28  # As in tests/metrics.
    assert values(record, "real")["preserved"] is None, "other pictures of the target were never to keep the border"
    assert broken_orders({**record, "rows": [r for r in record["rows"] if r["kind"] in ("copy", "real")]}) == []
    assert "fid, reference" in record["matrices"] and any(case["title"].startswith("several") for case in record["cases"])
    settings: dict[str, Any] = {"protocols": ["stargan_v2"], "split": "val", "parameters": {"outputs": 3}, "batch": 5}
    again = evaluate(tmp_path / "run", **settings, **exact)["stargan_v2/classifier/val/last"]
    for metric in ("diversity", "fid", "reached"):
        assert values(again, "translated")[metric] == pytest.approx(values(record, "translated")[metric], rel=1e-6)


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


def test_the_best_checkpoint_of_a_recipe_with_styles_is_judged_by_styles_from_noise(discs: Path) -> None:
    """By mean styles, a model whose styles have all become alike would be as good as another."""
    held = open_data(DataConfig(sources=(str(discs),), size=(32, 32)))
    sets = [Pictures(s, held.picture, print) for s in held.splits["val"]]
    styled, plain = (tiny(name, held.space) for name in ("stargan_v2", "stargan"))
    quick = PROTOCOLS["quick"]
    made = {recipe: quick.tasks(sets, held.space, [], recipe, quick.parameters) for recipe in (styled, plain)}
    assert {task.mode for task in made[styled]} == {"latent"} and {task.mode for task in made[plain]} == {"label"}
    edits = [task for task in made[styled] if task.index is not None]
    assert edits and all(task.outputs == 2 for task in edits)
    assert {held.space.names[task.index] for task in edits} == set(held.space.domain_names), "it knows no other labels"
    generator = Generator("translated", styled, Machine.choose("cpu", "float32"), sets, 0)
    task, row = edits[0], edits[0].rows[0]
    with torch.no_grad():
        for parameter in styled.parameters():  # A new generator hardly listens to its style.
            parameter.mul_(3)
    one, two = generator.outputs(task, [row], sets[0].load([row]), task.wanted[:1])
    assert not torch.equal(one, two)
