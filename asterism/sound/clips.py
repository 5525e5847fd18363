"""The recordings of a data set: their log-mels, and how these are spread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from asterism.sound.mel import log_mel
from asterism.sound.recordings import Recording, library, read, speech
from asterism.sound.settings import Array, Sound, SoundError

AHEAD = 64
"""Recordings that are decoded side by side."""


def all_frames(
    paths: Sequence[Path], sound: Sound, told: Callable[[], None] = lambda: None
) -> Iterator[tuple[Path, tuple[Recording, Array] | SoundError]]:
    """Yield every recording with the log-mel of its speech, float32 [B, n], or why there is none; in order.

    Raises:
        SoundError: the extra `voice` is not installed.
    """
    library("soundfile"), library("librosa")  # Else every recording would be blamed.

    def attempt(path: Path) -> tuple[Recording, Array] | SoundError:
        try:
            recording = read(path)
            return recording, log_mel(speech(recording, sound), sound)
        except SoundError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for first in range(0, len(paths), AHEAD):
            chunk = paths[first : first + AHEAD]
            for path, made in zip(chunk, pool.map(attempt, chunk), strict=True):
                yield path, made
                told()


class Statistics:
    """Mean and deviation of every band over many frames, in one pass and float64."""

    def __init__(self, bands: int) -> None:
        self.count, self.total, self.squares = 0, np.zeros(bands), np.zeros(bands)

    def add(self, frames: Array) -> None:
        """Take in frames [B, n]."""
        wide = frames.astype(np.float64)
        self.count += frames.shape[1]
        self.total += wide.sum(1)
        self.squares += np.square(wide).sum(1)

    def result(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return means and deviations, of the population; a band that never changes has the deviation 1."""
        mean = self.total / self.count
        variance = np.maximum(0.0, self.squares / self.count - np.square(mean))
        deviation = np.where(variance > 1e-12, np.sqrt(variance), 1.0)
        return tuple(map(float, mean.astype(np.float32))), tuple(map(float, deviation.astype(np.float32)))


def repeated(frames: Array, least: int) -> Array:
    """Return frames [B, n], repeated in time until there are at least so many."""
    times = -(-least // frames.shape[1])
    return np.tile(frames, (1, times))[:, : max(least, frames.shape[1])] if times > 1 else frames
