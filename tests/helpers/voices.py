"""Recordings that need no speaker: tones with overtones that rise and fall, each speaker's at another pitch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

PITCH = {"anna": 220.0, "bob": 110.0, "carl": 160.0}


def tone(pitch: float, seconds: float = 0.8, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    """Return samples, float32 [T]: syllables of a second's fifth, of which no two sound alike."""
    time = np.arange(int(seconds * rate)) / rate
    rng = np.random.default_rng(seed)
    sung = pitch * (1 + 0.1 * np.interp(time, 0.2 * np.arange(40), rng.uniform(-1, 1, 40)))
    phase = 2 * np.pi * np.cumsum(sung) / rate
    made = sum(np.sin(k * phase) / k for k in range(1, 12))
    loud = 0.15 + 0.85 * np.square(np.sin(np.pi * time / 0.2))
    return (0.15 * made * loud + 1e-4 * rng.standard_normal(len(time))).astype(np.float32)


def speakers(root: Path, names: tuple[str, ...] = ("anna", "bob"), train: int = 4, test: int = 2, rate: int = 16_000) -> Path:
    """Write a folder for each split and speaker; recordings of `val` and `test` have equal names for all speakers."""
    for split, count in (("train", train), ("val", 1), ("test", test)):
        for number, name in enumerate(names):
            (root / split / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                seed = 100 * number + i if split == "train" else {"val": 1000, "test": 2000}[split] + i
                file = root / split / name / (f"{name}{i}.wav" if split == "train" else f"{split}{i}.wav")
                soundfile.write(file, tone(PITCH[name], 0.6 + 0.1 * (i % 3), rate, seed), rate)
    return root
