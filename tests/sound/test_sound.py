"""Recordings to log-mels by the published formula, and back to samples; what cannot be used is explained."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asterism.sound.clips import Statistics, all_frames
from asterism.sound.mel import filters, griffin_lim, log_mel
from asterism.sound.recordings import encode, read, resampled, speech
from asterism.sound.settings import Sound, SoundError
from asterism.sound.waveform import FADE, cuts_of, samples_of
from tests.helpers.voices import tone


def test_a_log_mel_is_the_published_formula() -> None:
    """log10 of the mel-weighted magnitudes of centred, reflected, Hann-windowed frames; written out here frame by frame."""
    sound, samples = Sound(), tone(200, 0.5)
    found = log_mel(samples, sound)
    assert found.shape == (80, len(samples) // 128 + 1) and found.dtype == np.float32
    padded = np.pad(samples.astype(np.float64), 512, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    for n in (0, 7, found.shape[1] - 1):
        magnitudes = np.abs(np.fft.rfft(window * padded[128 * n : 128 * n + 1024]))
        expected = np.log10(np.maximum(1e-10, filters(sound).astype(np.float64) @ magnitudes))
        np.testing.assert_allclose(found[:, n], expected, rtol=0, atol=2e-4)  # Theirs is computed in float32.


def test_a_log_mel_is_made_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    sound, samples = Sound(), tone(200, 2.0)
    whole = log_mel(samples, sound)
    monkeypatch.setattr("asterism.sound.mel.AT_ONCE", 37)
    np.testing.assert_allclose(log_mel(samples, sound), whole, rtol=0, atol=2e-5)


def test_filters_are_slaneys_each_of_area_one() -> None:
    """Linear below 1 kHz and logarithmic above; of a triangle of area 1 the height is 2 / width."""
    weights, hertz = filters(Sound()).astype(np.float64), np.fft.rfftfreq(1024, 1 / 16_000)
    mel = np.interp([80, 7600], *_mel_table())
    edges = np.interp(np.linspace(*mel, 82), *_mel_table()[::-1])
    left, centre, right = edges[40], edges[41], edges[42]
    triangle = np.clip(np.minimum((hertz - left) / (centre - left), (right - hertz) / (right - centre)), 0, None)
    np.testing.assert_allclose(weights[40], 2 / (right - left) * triangle, rtol=1e-3, atol=1e-6)


def _mel_table() -> tuple[np.ndarray, np.ndarray]:
    hertz = np.concatenate([np.linspace(0, 1000, 100, endpoint=False), np.geomspace(1000, 8000, 4000)])
    return hertz, np.where(hertz < 1000, hertz * 3 / 200, 15 + np.log(np.maximum(hertz, 1000) / 1000) * 27 / np.log(6.4))


def test_statistics_are_those_of_all_frames_together() -> None:
    parts = [np.random.default_rng(i).normal(i, 2, (3, 40 + i)).astype(np.float32) for i in range(4)]
    statistics = Statistics(3)
    for part in parts:
        statistics.add(part)
    whole = np.concatenate(parts, 1).astype(np.float64)
    mean, deviation = statistics.result()
    np.testing.assert_allclose(mean, whole.mean(1), rtol=1e-6)
    np.testing.assert_allclose(deviation, whole.std(1), rtol=1e-6)


def test_samples_of_a_log_mel_sound_like_it() -> None:
    """Griffin and Lim's phases are found again: the log-mel of what they give is near, and the same call gives the same."""
    sound, samples = Sound(), tone(150, 0.8)
    frames = log_mel(samples, sound)
    made = griffin_lim(frames, sound)
    again = log_mel(made, sound)[:, : frames.shape[1]]
    loud = frames > frames.max() - 2
    assert np.abs(again - frames[:, : again.shape[1]])[loud[:, : again.shape[1]]].mean() < 0.1
    assert np.array_equal(made, griffin_lim(frames, sound))


def test_windows_meet_where_it_is_quiet_and_nobody_hears_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a seam the log-mel is as near to the wanted one as elsewhere."""
    import asterism.sound.waveform as waveform

    monkeypatch.setattr(waveform, "WINDOW", 130)
    monkeypatch.setattr(waveform, "REACH", 40)
    sound, samples = Sound(), tone(150, 4.0)
    frames = log_mel(samples, sound)
    cuts = cuts_of(frames, sound)
    assert len(cuts) >= 2 and all(frames[:, cut].max() <= np.median(frames.max(0)) for cut in cuts)
    made = samples_of(frames, sound, griffin_lim)
    assert len(made) == (frames.shape[1] - 1) * sound.hop
    error = np.abs(log_mel(made, sound) - frames).mean(0)
    seams = np.concatenate([error[cut - FADE : cut + FADE] for cut in cuts])
    assert seams.mean() < error.mean() + 2 * error.std()


def test_windows_of_a_perfect_vocoder_give_what_one_window_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vocoder whose samples depend on their own frame alone is not changed by windows: the two weights sum to one."""
    import asterism.sound.waveform as waveform

    def vocode(frames: np.ndarray, sound: Sound) -> np.ndarray:
        return np.repeat(frames[0], sound.hop)

    sound, frames = Sound(), np.random.default_rng(0).normal(size=(80, 700)).astype(np.float32)
    whole = samples_of(frames, sound, vocode)
    monkeypatch.setattr(waveform, "WINDOW", 200)
    monkeypatch.setattr(waveform, "REACH", 50)
    assert len(cuts_of(frames, sound)) == 3
    np.testing.assert_allclose(samples_of(frames, sound, vocode), whole, atol=1e-5)


@pytest.mark.parametrize(
    ("samples", "rate", "reason"),
    [
        (tone(200, 0.1), 16_000, r"it is 0.10 s long; at least 0.3 s are needed"),
        (tone(200, 1, 8000), 8000, r"8,000 samples a second, which hold no sound above 4 kHz; record it with 16,000 or more"),
        (np.zeros(16_000, np.float32), 16_000, "it is silent"),
        (np.full(16_000, np.nan, np.float32), 16_000, "infinite or not numbers"),
    ],
)
def test_what_cannot_be_used_is_explained(tmp_path: Path, samples: np.ndarray, rate: int, reason: str) -> None:
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    with pytest.raises(SoundError, match=reason):
        read(tmp_path / "a.wav")


def test_what_is_no_recording_is_explained(tmp_path: Path) -> None:
    for content, reason in ((b"", "the file is empty"), (b"\x89PNG\r\n", "it is not a readable recording")):
        (tmp_path / "a.wav").write_bytes(content)
        with pytest.raises(SoundError, match=reason):
            read(tmp_path / "a.wav")
    with pytest.raises(SoundError, match="there is no such file"):
        read(tmp_path / "b.wav")
    soundfile.write(tmp_path / "c.wav", np.concatenate([np.zeros(16_000), tone(200, 0.2), np.zeros(16_000)]), 16_000)
    with pytest.raises(SoundError, match=r"without the silence at its ends it is 0.\d\d s long"):
        speech(read(tmp_path / "c.wav"), Sound())


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_recordings_of_every_kind_are_mixed_down_and_resampled(tmp_path: Path, suffix: str) -> None:
    both = np.stack([tone(200, 1, 44_100), 0.5 * tone(200, 1, 44_100)], 1)
    soundfile.write(tmp_path / f"a{suffix}", both, 44_100)
    held = read(tmp_path / f"a{suffix}")
    assert (held.rate, held.channels) == (44_100, 2) and held.seconds == pytest.approx(1, abs=0.1)
    sixteen = resampled(held.samples, held.rate, 16_000)
    expected = 0.75 * tone(200, 1, 44_100)[: len(held.samples)]
    if suffix in (".wav", ".flac"):
        np.testing.assert_allclose(held.samples, expected, atol=1e-4)
    assert len(sixteen) == pytest.approx(len(held.samples) * 16_000 / 44_100, abs=2)
    assert np.sqrt(np.mean(sixteen**2)) == pytest.approx(np.sqrt(np.mean(expected**2)), rel=0.05)


def test_settings_survive_json_and_name_their_differences() -> None:
    sound = Sound(mean=(0.5,) * 80, deviation=(2.0,) * 80)
    assert Sound.from_json(asdict(sound)) == sound
    assert sound.differences({"rate": 22_050, "hop": 128, "bands": 80}) == ["rate 22050, not 16000"]
    assert encode(np.array([2.0, -2.0], np.float32), 16_000)[-4:] == b"\xff\x7f\x00\x80", "clipped, not wrapped round"


def test_a_missing_library_is_named_once_and_no_recording_is_blamed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)  # As where it is not installed.
    with pytest.raises(SoundError, match=r"recordings need soundfile .*pip install 'asterism\[voice\]'"):
        next(all_frames([tmp_path / "a.wav"], Sound()))
