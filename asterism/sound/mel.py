"""From samples to log-mels and back.

Shapes: T samples, B bands, n frames: T / hop + 1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from asterism.sound.recordings import library
from asterism.sound.settings import Array, Sound

FLOOR = 1e-10
"""Of what the logarithm is taken at least."""

AT_ONCE = 4096
"""Frames whose spectrum is held at once; that of an hour would take gigabytes."""

ROUNDS = 60
"""Of Griffin and Lim's algorithm."""


def log_mel(samples: Array, sound: Sound) -> Array:
    """Return the log-mel of samples [T], float32 [B, n]; normalised where the settings know mean and deviation."""
    count, hop = len(samples) // sound.hop + 1, sound.hop
    padded = np.pad(samples, sound.fft // 2, mode="reflect")
    frames = np.empty((sound.bands, count), np.float32)
    for first in range(0, count, AT_ONCE):
        last = min(first + AT_ONCE, count)
        spectrum = np.abs(_transform(padded[first * hop : (last - 1) * hop + sound.fft], sound))
        frames[:, first:last] = np.log10(np.maximum(FLOOR, filters(sound) @ spectrum))
    return normalised(frames, sound)


def normalised(frames: Array, sound: Sound) -> Array:
    """Return frames [B, n] less the mean of each band, divided by its deviation."""
    if not sound.mean:
        return frames
    mean, deviation = (np.array(values, np.float32)[:, None] for values in (sound.mean, sound.deviation))
    return (frames - mean) / deviation


def denormalised(frames: Array, sound: Sound) -> Array:
    """Return what `normalised` was made of: log10 of the mel bands, [B, n]."""
    if not sound.mean:
        return frames
    mean, deviation = (np.array(values, np.float32)[:, None] for values in (sound.mean, sound.deviation))
    return frames * deviation + mean


def griffin_lim(frames: Array, sound: Sound) -> Array:
    """Return samples, float32 [(n - 1) hop], whose log-mel is near the normalised frames [B, n].

    Magnitudes are the non-negative ones nearest to the bands; phases are found in rounds, from zeros, so that the same frames
    always sound the same (Griffin and Lim 1984, with momentum: Perraudin et al. 2013).
    """
    mel = 10.0 ** denormalised(frames, sound).astype(np.float64)
    magnitudes = np.maximum(0.0, _inverse(sound) @ mel)
    samples: Array = library("librosa").griffinlim(
        magnitudes.astype(np.float32),
        n_iter=ROUNDS,
        hop_length=sound.hop,
        win_length=sound.fft,
        n_fft=sound.fft,
        pad_mode="reflect",
        init="random",
        random_state=0,
    )
    return samples.astype(np.float32)


@lru_cache(maxsize=4)
def filters(sound: Sound) -> Array:
    """Return the mel filters, float32 [B, fft / 2 + 1]."""
    made: Array = library("librosa").filters.mel(
        sr=sound.rate, n_fft=sound.fft, n_mels=sound.bands, fmin=sound.low, fmax=sound.high
    )
    return made


@lru_cache(maxsize=4)
def _inverse(sound: Sound) -> Array:
    return np.linalg.pinv(filters(sound).astype(np.float64))


def _transform(samples: Array, sound: Sound) -> Array:
    """Return the spectrum of the windows that lie in samples [T] whole."""
    made: Array = library("librosa").stft(
        samples, n_fft=sound.fft, hop_length=sound.hop, win_length=sound.fft, window="hann", center=False
    )
    return made
