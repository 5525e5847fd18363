"""The corpus of voices: nobody says in training what another voice says, and everything held out is said by all."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
import soundfile

from tests.helpers.tools import tool as made_by


@pytest.fixture(scope="module")
def tool():
    return made_by("make_voices")


def test_training_sentences_are_of_one_voice_and_held_out_ones_of_all(tool) -> None:
    sentences = [line for line in tool.SENTENCES.read_text(encoding="utf-8").splitlines() if line]
    assert len(sentences) >= 200 and len(set(sentences)) == len(sentences) and len(tool.VOICES) == 8
    voices = list(tool.VOICES)[:4]
    spoken = list(tool.plan(sentences, voices, val=8, test=24))
    counts = Counter((split, voice) for split, voice, _, _ in spoken)
    assert all(counts["val", voice] == 8 and counts["test", voice] == 24 and counts["train", voice] >= 40 for voice in voices)
    said = {split: [sentence for part, _, _, sentence in spoken if part == split] for split in ("train", "val", "test")}
    assert len(set(said["train"])) == len(said["train"]), "no two voices say the same"
    assert not set(said["train"]) & {*said["val"], *said["test"]} and not set(said["val"]) & set(said["test"])
    assert set(sentences) == {*said["train"], *said["val"], *said["test"]}
    with pytest.raises(ValueError, match="3 sentences are too few for 4 voices and 32 held-out"):
        list(tool.plan(sentences[:3], voices, 8, 24))


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_voices_speak(tool, tmp_path: Path) -> None:
    for voice in ("bruno", "clara"):
        tool.speak("Slow but steady wins the race.", voice, 165, tmp_path / voice / "a.wav")
    (low, rate), (high, _) = (soundfile.read(tmp_path / voice / "a.wav") for voice in ("bruno", "clara"))
    assert rate > 16_000 and 1 < len(low) / rate < 4 and abs(len(low) - len(high)) < 0.2 * len(low)
