"""How recordings become log-mels; kept in packs and model files, so that what was made of a sound can be made a sound again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from asterism.errors import AsterismError

Array = np.ndarray[Any, Any]


class SoundError(AsterismError, ValueError):
    """A recording that cannot be read, used or written; the message is the reason, without the file's name."""


@dataclass(frozen=True)
class Sound:
    """The settings of a log-mel; the defaults are those of StarGAN-VC's published code.

    A frame is log10(max(1e-10, M |X|)), X the short-time Fourier transform (Hann window, centred, edges reflected) and M the
    triangular filters of Slaney's mel scale, each of area 1; then every band less its mean, divided by its deviation.

    Args:
        rate: samples a second.
        fft: samples of a window.
        hop: samples from one frame to the next.
        bands: mel bands, the rows of features.
        low, high: in Hz, where they begin and end.
        trim: quieter than the loudest frame by more than this, in dB, is cut off both ends.
        mean, deviation: of each band over all training frames; empty: frames stay as they are.
    """

    rate: int = 16_000
    fft: int = 1024
    hop: int = 128
    bands: int = 80
    low: float = 80.0
    high: float = 7600.0
    trim: float = 30.0
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Sound:
        """Rebuild settings from what `dataclasses.asdict` made of them."""
        return cls(**{**values, "mean": tuple(values["mean"]), "deviation": tuple(values["deviation"])})

    def seconds(self, frames: int) -> float:
        """Return how long so many frames last."""
        return frames * self.hop / self.rate

    def differences(self, others: Mapping[str, Any]) -> list[str]:
        """Say in which settings of the log-mel others differ: 'hop 256, not 128'; those that they do not state do not."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("trim", "mean", "deviation")}
        return [f"{key} {others[key]:g}, not {value:g}" for key, value in own.items() if others.get(key, value) != value]
