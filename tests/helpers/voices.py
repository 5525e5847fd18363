"""Recordings that need no speaker: tones with overtones that rise and fall, each speaker's at another pitch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace
from asterism.recipes.model import save_model
from asterism.recipes.stargan_vc import Config, StarGANVC
from asterism.sound.settings import Array, Sound

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


def save_voices(run: Path, columns: int = 64) -> Path:
    """Write a run folder with a small StarGAN-VC of random weights for anna and bob; return the folder."""
    sound = Sound(mean=(-2.0,) * 80, deviation=(1.0,) * 80)
    picture = PictureFormat(1, 80, columns, -1, 1, depth=32, sound=sound)
    config = Config(conv_dim=8, bottleneck=4, embedding=4, discriminator_conv_dim=4)
    made = StarGANVC(config, LabelSpace.from_text("voices:one_of:anna,bob"), picture)
    save_model(run / "model.safetensors", made, "stargan_vc", made.state_dict(), info={"step": 1})
    return run


def loudness(frames: Array, sound: Sound) -> Array:
    """A vocoder that takes no time: the mean band of each frame, `hop` times."""
    return np.repeat(np.tanh(frames.mean(0)), sound.hop)
