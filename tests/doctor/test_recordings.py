"""The doctor on recordings: what there is, what cannot be used, and what may spoil training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asterism.cli import main
from tests.helpers.voices import speakers, tone


def test_the_doctor_knows_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = speakers(tmp_path / "speakers")
    held = root / "train" / "anna"
    soundfile.write(held / "loud.wav", np.clip(20 * tone(220, 1.0, seed=7), -1, 1), 16_000)
    soundfile.write(held / "pause.wav", np.concatenate([tone(220, 0.8, seed=8), np.zeros(48_000)]), 44_100)
    soundfile.write(held / "copy.ogg", soundfile.read(held / "anna1.wav")[0] / 2, 16_000)
    soundfile.write(held / "dull.wav", tone(220, 0.8, 12_000, seed=9), 12_000)
    soundfile.write(held / "long.wav", tone(220, 7.6, 16_000, seed=10), 16_000)
    soundfile.write(held / "brief.wav", tone(220, 0.1), 16_000)
    (held / "picture.png").write_bytes(b"\x89PNG")
    assert main(["doctor", str(root), "--recipe", "stargan_vc", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (report,) = told["datasets"]
    assert told["ok"] and report["pictures"] == {"train": 13, "val": 2, "test": 4}
    assert report["formats"] == {
        "16,000 samples a second, 1 channel": 17,
        "44,100 samples a second, 1 channel": 1,
        "12,000 samples a second, 1 channel": 1,
    }
    assert report["what"] == "recordings"
    assert [name for name, _ in report["unreadable"]] == ["train/anna/brief.wav"]
    assert report["stray"] == ["train/anna/picture.png"] and {label["name"]: label["train"] for label in report["labels"]} == {
        "anna": 9,
        "bob": 4,
    }
    for words in (
        "recordings that cannot be used, left out: 1 (train/anna/brief.wav)",
        "clipped recordings: 1 (train/anna/loud.wav",
        "mostly silent: 1 (train/anna/pause.wav)",
        "less than 60 s of training speech: 2 (anna",
        "sound the same: 1 (train/anna/anna1.wav = train/anna/copy.ogg)",
        "fewer than 16,000 samples a second, whose upper bands are empty: 1 (train/anna/dull.wav 12,000)",
        "times as long as most, which is the room that each takes in a pack: cut them: 1 (train/anna/long.wav",
    ):
        assert any(words in warning for warning in told["warnings"]), (words, told["warnings"])


def test_a_speaker_without_recordings_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = speakers(tmp_path / "speakers", test=0, train=2)
    for file in (root / "train" / "bob").iterdir():
        soundfile.write(file, np.zeros(16_000), 16_000)
    assert main(["doctor", str(root), "--recipe", "stargan_vc"]) == 1
    told = capsys.readouterr().out
    assert "bob has no training recording that can be used" in told and "no test recordings" in told
