"""Is it fake? Judges whose scores are known, on fakes that are known; and what is said where nobody can know."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from asterism import train
from asterism.cli import main
from asterism.config import ConfigError, DataConfig
from asterism.data.dataset import open_data
from asterism.data.reading import load_rows
from asterism.evaluation.forensics import judge, verdict
from asterism.recipes.model import load_model, save_model
from asterism.recipes.stargan import StarGAN
from asterism.storage.model_file import ModelError
from tests.helpers.recipes import some_space, tiny
from tests.helpers.runs import small, state
from tests.metrics.test_ranking import by_pairs

OWN, JPEG = "its own fakes", "both as JPEG, quality 75"
CPU: dict[str, Any] = {"device": "cpu"}


@pytest.fixture
def held_out(discs: Path) -> Tensor:
    """The pictures of the split test as they are stored: uint8 [36, 3, 32, 32]."""
    datasets = open_data(DataConfig(sources=(str(discs),), size=(32, 32)))
    return load_rows(datasets.splits["test"][0], range(36), datasets.picture)


def becomes(monkeypatch: pytest.MonkeyPatch, translate: Any) -> None:
    monkeypatch.setattr(StarGAN, "translate", lambda self, x, told, s=None, masks=(): translate(x))


def brightness(x: Tensor) -> Tensor:
    return x.double().flatten(1).mean(1)


def saved(x: Tensor) -> Tensor:
    """As JPEG files of quality 75 hold it."""
    read = []
    for picture in x:
        file = io.BytesIO()
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=75)
        read.append(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1))
    return torch.stack(read)


def test_a_judge_of_brightness_finds_darkened_fakes_as_often_as_pairs_say(
    run: Path, held_out: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    becomes(monkeypatch, lambda x: x - 0.2)
    monkeypatch.setattr(StarGAN, "realness", lambda self, x: x.double().flatten(1).mean(1))
    said = judge(run, **CPU)
    fake = ((held_out.float() / 127.5 - 1.2).clamp(-1, 1) + 1).mul(127.5).round().to(torch.uint8)
    measured = said["judges"]["discriminator"]
    assert measured[OWN]["auroc"] == pytest.approx(by_pairs(brightness(held_out), brightness(fake)), abs=1e-3)
    assert measured[JPEG]["auroc"] == pytest.approx(by_pairs(brightness(saved(held_out)), brightness(saved(fake))), abs=1e-3)
    assert 0.6 < measured[OWN]["auroc"] < 0.9 and (measured[OWN]["real"], measured[OWN]["fake"]) == (36, 36)
    assert said["verdicts"][0].startswith("this discriminator is no forensic detector: of a real picture and a fake")
    assert (said["checkpoint"], said["step"]) == ("last", 1)


def test_a_trained_detector_finds_a_pattern_and_guesses_where_there_is_none(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run's generator, whose weights are zeroed, changes nothing: its fakes equal real pictures, as many as pairs."""
    other = shutil.copytree(run, tmp_path / "other")
    (file,) = (other / "checkpoints").glob("step_*.pt")
    kept = torch.load(file, weights_only=True)
    for part in ("networks", "average"):
        kept[part] |= {key: w * 0 for key, w in kept[part].items() if key.startswith("generator.") and w.is_floating_point()}
    torch.save(kept, file)
    pattern = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 0.5 - 0.25

    def translate(self: StarGAN, x: Tensor, told: Tensor, s: Any = None, masks: Any = ()) -> Tensor:
        return x + pattern * bool(self.generator.main[0].weight.any())

    monkeypatch.setattr(StarGAN, "translate", translate)
    alone = judge(run, train=True, steps=40, **CPU)
    assert alone["judges"]["detector"][OWN]["auroc"] > 0.99
    said = judge(run, train=True, against=[other], steps=40, **CPU)
    detector = said["judges"]["detector"]
    assert detector[OWN] == alone["judges"]["detector"][OWN], "nothing is drawn but by seeds"
    assert detector["fakes of other"]["auroc"] == 0.5
    assert "no forensic detector" in said["verdicts"][1] and "50% of all pairs (fakes of other)" in said["verdicts"][1]


def test_every_picture_gets_a_line_and_broken_ones_a_reason(
    run: Path, discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the discriminator of the checkpoint, in float32, which the model file holds in float16."""
    folder = tmp_path / "seen"
    folder.mkdir()
    for number, file in enumerate(sorted((discs / "images").glob("*.png"))[:3]):
        shutil.copy(file, folder / f"{number}.png")
    Image.new("RGB", (64, 48), (9, 9, 9)).save(folder / "wide.png")
    (folder / "broken.png").write_bytes(b"nothing")
    words = ["judge", str(run), str(folder), "--device", "cpu", "--count", "9"]
    assert main([*words, "--out", str(tmp_path / "said.csv")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"left out: {folder / 'broken.png'}: it is not a readable picture" in told and "no forensic detector" in told
    rows = list(csv.DictReader((tmp_path / "said.csv").open()))
    assert [Path(row["file"]).name for row in rows] == ["0.png", "1.png", "2.png", "wide.png"]
    recipe = load_model(run / "model.safetensors").recipe
    recipe.load_state_dict(state(run)["networks"] | state(run)["average"])
    x = torch.from_numpy(np.array(Image.open(folder / "1.png"))).permute(2, 0, 1)[None].float() / 127.5 - 1
    assert float(rows[1]["discriminator_score"]) == pytest.approx(float(recipe.discriminator(x)[0].mean()), rel=1e-4)
    assert all(0 <= float(row["discriminator_real_below"]) <= 1 for row in rows)
    assert main([*words, "--out", str(tmp_path / "said.json")]) == 0
    said = json.loads((tmp_path / "said.json").read_text())
    assert said["left_out"] == [[str(folder / "broken.png"), "it is not a readable picture"]]
    assert said["judges"]["discriminator"][OWN]["real"] == 9
    assert main(["judge", str(run), str(folder / "broken.png"), "--device", "cpu"]) == 1


def test_what_cannot_be_judged_is_said_in_words(run: Path, discs: Path, tmp_path: Path) -> None:
    model = load_model(run / "model.safetensors")
    alone, weights = tmp_path / "alone.safetensors", model.recipe.state_dict()
    made = {key: tensor for key, tensor in weights.items() if key.startswith("generator.")}
    save_model(alone, model.recipe, "stargan", made, info={"step": 1})
    with pytest.raises(ModelError, match="holds no discriminator.*give the folder of the run that trained it"):
        judge(alone, **CPU)
    with pytest.raises(ConfigError, match="is no run folder, whose config.json says which pictures were held out"):
        judge(alone, train=True, **CPU)
    whole = tmp_path / "whole.safetensors"
    save_model(whole, model.recipe, "stargan", weights, info={"step": 1})
    said = judge(whole, [discs / "images" / "000001.png"], **CPU)
    assert said["pictures"][0]["discriminator"]["real_below"] is None and said["checkpoint"] == "model"
    assert said["verdicts"] == [
        "a discriminator is no forensic detector, and nothing here says how far this one's scores can be trusted"
    ]
    pairs = tmp_path / "pairs.safetensors"
    recipe = tiny("pix2pix", some_space("pix2pix"))
    save_model(pairs, recipe, "pix2pix", recipe.state_dict(), info={"step": 1})
    with pytest.raises(ModelError, match="the discriminator of pix2pix judges no picture alone.*--train trains a detector"):
        judge(pairs, **CPU)
    train("stargan", discs, tmp_path / "small", overrides=small(train__steps=1) | {"data.size": 24})
    with pytest.raises(ConfigError, match="makes pictures of 24x24 pixels.*expected those of .*: 32x32 pixels"):
        judge(run, against=[tmp_path / "small"], **CPU)


def test_a_verdict_needs_more_than_a_lucky_few() -> None:
    """0.95 of few pictures may be chance, 0.95 of many is none; the worst case decides."""
    lucky = {"its own fakes": {"auroc": 0.95, "error": 0.04}}
    sure = {"its own fakes": {"auroc": 0.95, "error": 0.01}}
    assert "no forensic detector" in verdict("detector", lucky) and "tells these fakes" in verdict("detector", sure)
    assert "70% of all pairs (as JPEG)" in verdict("detector", sure | {"as JPEG": {"auroc": 0.7, "error": 0.01}})
