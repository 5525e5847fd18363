"""The protocol `voice`: whole recordings against the same sentence by the target, and a report that can be heard."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asterism import train
from asterism.evaluation.evaluate import evaluate
from asterism.evaluation.summary import broken_orders
from asterism.metrics.cepstra import (
    cepstral_distortion,
    contour_correlation,
    mel_cepstra,
    modulation_distance,
    modulation_spectrum,
)
from asterism.packing import pack
from asterism.report import write_report
from tests.helpers.evaluating import CPU, values
from tests.helpers.voices import speakers
from tests.inference.test_voices import COLUMNS, TINY, config

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run of two steps on two speakers, measured by what suits the recipe."""
    root = tmp_path_factory.mktemp("voices")
    pack(config(speakers(root / "speakers", train=8)), root / "pack")
    settings = TINY | {"train.steps": 2, "train.decay_steps": 0, "train.batch_size": 4, "data.workers": 0}
    settings |= {"data.size": f"80x{COLUMNS}", "train.device": "cpu", "train.precision": "float32"}
    train("stargan_vc", root / "pack", root / "run", preset="small", overrides=settings)
    return root / "run", evaluate(root / "run", random=True, **CPU)


def test_voices_are_measured_against_the_same_sentence_by_the_target(evaluated: tuple[Path, dict[str, Any]]) -> None:
    _, records = evaluated
    assert list(records) == ["voice/classifier/test/last"]
    (record,) = records.values()
    assert [row["kind"] for row in record["rows"]] == ["translated", "copy", "real", "random"]
    assert record["classifier"]["accuracy"] > 0.9 and not [said for said in broken_orders(record) if "translated" not in said]
    copy, real = values(record, "copy"), values(record, "real")
    assert copy["reached"] == 0 and real["reached"] == 1
    assert copy["same speaker"] == 0 and copy["contour"] == pytest.approx(1) and real["contour"] < 1
    assert copy["mcd"] > 1 and values(record, "translated")["mcd"] > 1 and values(record, "random")["modulation"] > 0
    assert set(record["targets"]) == {"anna to bob", "bob to anna"}


def test_the_report_shows_spectrograms_and_can_be_heard_offline(evaluated: tuple[Path, dict[str, Any]]) -> None:
    run, records = evaluated
    (record,) = records.values()
    heard = [case for case in record["cases"] if case.get("sounds")]
    assert [[sound["name"] for sound in case["sounds"]] for case in heard] == [["source", "conversion", "truth"]] * 2
    page = write_report([run]).read_text(encoding="utf-8")
    assert len(re.findall(r'<audio controls preload="none" src="data:audio/wav;base64,[\w+/=]+">', page)) == 6
    assert not re.findall(r'src="(?!data:)', page)


# -- formulas ----------------------------------------------------------------------------------------------------------


def test_cepstra_and_their_distortion_are_the_formula() -> None:
    x = torch.from_numpy(RNG.normal(size=(80, 5)))
    for k in (1, 7, 24):
        for n in (0, 4):
            literal = 2 / 80 * sum(math.log(10) * float(x[b, n]) * math.cos(math.pi * k * (b + 0.5) / 80) for b in range(80))
            assert float(mel_cepstra(x)[k - 1, n]) == pytest.approx(literal, rel=1e-12)
    moved = x + 0.3 * torch.cos(math.pi * 3 * (torch.arange(80, dtype=torch.float64) + 0.5) / 80)[:, None]
    expected = 10 / math.log(10) * math.sqrt(2) * 0.3 * math.log(10)  # Of one cepstrum by 0.3 ln 10, wherever it lies.
    assert cepstral_distortion(x[:, :1], moved[:, :1]) == pytest.approx(expected, rel=1e-9)
    assert cepstral_distortion(x, x + 1.0) == pytest.approx(0, abs=1e-6), "how loud it is does not count"


def test_utterances_are_aligned_in_time() -> None:
    x = torch.from_numpy(RNG.normal(size=(80, 30)))
    slower = x.repeat_interleave(torch.tensor([1, 2, 3] * 10), dim=1)
    assert cepstral_distortion(x, slower) == pytest.approx(0, abs=1e-6)
    assert cepstral_distortion(x, x.flip(1)) > 1


def test_modulation_is_told_by_how_fast_cepstra_move() -> None:
    time = torch.arange(256, dtype=torch.float64)
    shape = torch.cos(math.pi * 2 * (torch.arange(80, dtype=torch.float64) + 0.5) / 80)[:, None]
    x, faster = (shape * torch.sin(2 * math.pi * k * time / 64) for k in (4, 12))
    spectrum = modulation_spectrum(x)
    assert spectrum.shape == (24, 32) and int(spectrum[1].argmax()) == 3 and int(modulation_spectrum(faster)[1].argmax()) == 11
    assert modulation_distance(x, x) == 0 and modulation_distance(x, faster) > 1
    smooth = x + 0.01 * torch.from_numpy(RNG.normal(size=(80, 256)))
    assert modulation_distance(x, smooth) > 1, "flat movements are told from lively ones"


def test_contours_go_together_or_not() -> None:
    x = torch.from_numpy(RNG.normal(size=(3, 1, 80, 40)))
    torch.testing.assert_close(contour_correlation(x, 2 * x + 1), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(contour_correlation(x, -x), -torch.ones(3, dtype=torch.float64))
    assert contour_correlation(x, x.flip(3)).abs().max() < 0.6
