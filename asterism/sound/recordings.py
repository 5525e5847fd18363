"""Recordings as files and as samples, by the libraries of the extra `voice`.

Samples are float32 [T], mono, 1 being full scale.
"""

from __future__ import annotations

import importlib
import io
import math
import os
from contextlib import nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import IO

import numpy as np

from asterism.sound.settings import Array, Sound, SoundError

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
"""Endings of recordings."""

LEAST_SECONDS = 0.3
"""Shorter ones hold less than a syllable."""

LEAST_RATE = 12_000
"""Below this, half of the mel bands of 16 kHz would be empty."""

BLOCK = 2**16
"""Samples of each channel that are decoded at once."""

STREAMED = 0x7FFF0000
"""Bytes; more than this stands in the headers of WAV files whose writer did not know their length."""

SILENT = 1e-4
"""A recording whose loudest sample is below this, -80 dB, holds no speech."""


@dataclass(frozen=True)
class Recording:
    """What a file holds, mixed down.

    Args:
        samples: float32 [T], as in the file and whole.
        rate: samples a second.
        channels: that were mixed.
        clipped: share of the samples at full scale.
    """

    samples: Array
    rate: int
    channels: int
    clipped: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate


def is_recording(path: str | os.PathLike[str]) -> bool:
    """Say whether a file is a recording by its name."""
    return os.fspath(path).lower().endswith(SUFFIXES)


def library(name: str) -> ModuleType:
    """Import a library of the extra `voice`.

    Raises:
        SoundError: it is not installed; says what to install.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise SoundError(f"recordings need {name.partition('.')[0]} ({error}): pip install 'asterism[voice]'") from error


def read(path: str | os.PathLike[str]) -> Recording:
    """Read a recording.

    Raises:
        SoundError: it cannot be decoded or used; the reason.
    """
    library("soundfile")
    if not os.path.isfile(path):
        raise SoundError("there is no such file")
    if os.path.getsize(path) == 0:
        raise SoundError("the file is empty")
    return decoded(os.fspath(path))


def decoded(file: str | IO[bytes], most: float = math.inf) -> Recording:
    """Decode a recording in blocks, each mixed down at once; from a path or from an open file.

    Args:
        most: seconds; what is longer is not decoded further.

    Raises:
        SoundError: as `read`, or it is longer.
    """
    soundfile = library("soundfile")
    _check_whole(file)
    blocks, clipped, count = list[Array](), 0.0, 0
    try:
        with soundfile.SoundFile(file) as opened:
            rate, channels = opened.samplerate, opened.channels
            while count <= most * rate and len(block := opened.read(BLOCK, dtype="float32", always_2d=True)):
                clipped += float((np.abs(block) >= 1 - 2**-15).sum()) / channels
                with np.errstate(invalid="ignore"):  # What is no number is refused below.
                    blocks.append(block.mean(1))
                count += len(block)
    except (soundfile.LibsndfileError, RuntimeError, MemoryError) as error:
        reason = getattr(error, "error_string", "") or type(error).__name__
        raise SoundError(f"it is not a readable recording ({reason.removeprefix('Error : ').rstrip('.')})") from error
    if count > most * rate:
        raise SoundError(f"it is longer than {most:g} s")
    return checked(np.concatenate(blocks or [np.zeros(0, np.float32)]), rate, channels, clipped / max(1, count))


def _check_whole(file: str | IO[bytes]) -> None:
    """Refuse a WAV file that is shorter than its header says; decoders take what there is.

    Raises:
        SoundError: it is cut short.
    """
    with open(file, "rb") if isinstance(file, str) else nullcontext(file) as opened:
        head, size = opened.read(8), opened.seek(0, io.SEEK_END)
        opened.seek(0)
    said = 8 + int.from_bytes(head[4:], "little")
    if head[:4] == b"RIFF" and size + 1 < said < STREAMED:
        raise SoundError(f"it is cut short: its header says {said:,} bytes, and there are {size:,}; copy it again")


def checked(samples: Array, rate: int, channels: int = 1, clipped: float = 0.0) -> Recording:
    """Return samples [T] as a recording.

    Raises:
        SoundError: too short, too low a rate, silence, or samples that are no numbers.
    """
    if not np.isfinite(samples).all():
        raise SoundError("it holds samples that are infinite or not numbers (NaN); export it again")
    if len(samples) < LEAST_SECONDS * rate:
        raise SoundError(f"it is {len(samples) / rate:.2f} s long; at least {LEAST_SECONDS:g} s are needed")
    if rate < LEAST_RATE:
        raise SoundError(
            f"it has {rate:,} samples a second, which hold no sound above {rate / 2000:g} kHz; record it with 16,000 or more"
        )
    if float(np.abs(samples).max()) < SILENT:
        raise SoundError("it is silent; leave it out, or record it again")
    return Recording(np.ascontiguousarray(samples, np.float32), rate, channels, clipped)


def resampled(samples: Array, rate: int, wanted: int) -> Array:
    """Return samples [T] at another rate."""
    if rate == wanted:
        return samples
    made: Array = library("librosa").resample(samples, orig_sr=rate, target_sr=wanted, res_type="soxr_hq")
    return made


def speech(recording: Recording, sound: Sound) -> Array:
    """Return the samples at the rate of the settings, without silence at both ends.

    Raises:
        SoundError: less than a syllable is left.
    """
    samples = resampled(recording.samples, recording.rate, sound.rate)
    kept, _ = library("librosa").effects.trim(samples, top_db=sound.trim, frame_length=sound.fft, hop_length=sound.hop)
    if len(kept) < LEAST_SECONDS * sound.rate:
        raise SoundError(
            f"without the silence at its ends it is {len(kept) / sound.rate:.2f} s long; at least {LEAST_SECONDS:g} s are "
            "needed"
        )
    return np.ascontiguousarray(kept)


def encode(samples: Array, rate: int) -> bytes:
    """Return samples [T] as a WAV file of 16 bits; what is louder than full scale is clipped."""
    file = io.BytesIO()
    library("soundfile").write(file, np.clip(samples, -1, 1), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()
