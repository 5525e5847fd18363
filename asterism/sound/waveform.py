"""From log-mels of any length to samples: in windows that meet where it is quietest.

Phases that are found for one window differ from those of the next, so that two windows cannot be blended where there is sound.
Windows therefore end at the quietest frame near their nominal end, and there one is faded into the other.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from asterism.sound.mel import denormalised
from asterism.sound.settings import Array, Sound

Vocode = Callable[[Array, Sound], Array]
"""From normalised frames [B, n] to samples, hop of them for each frame, or for all but the last."""

WINDOW = 2500
"""Frames of a window, 20 s by the usual settings: what is made at once has to fit into memory."""

REACH = 250
"""Frames before the nominal end of a window among which the quietest is looked for."""

FADE = 8
"""Frames on each side of a cut over which one window is faded into the next; as many beyond them are thrown away."""


def samples_of(frames: Array, sound: Sound, vocode: Vocode) -> Array:
    """Return the samples, float32 [(n - 1) hop], of normalised frames [B, n]."""
    count, hop = frames.shape[1], sound.hop
    cuts = cuts_of(frames, sound)
    made = np.zeros((count - 1) * hop, np.float32)
    for start, stop in zip([0, *cuts], [*cuts, count], strict=True):
        first, last = max(0, start - 2 * FADE), min(count, stop + 2 * FADE)
        length = (last - first - 1) * hop
        place = first + np.arange(length, dtype=np.float32) / hop  # Of each sample, in frames.
        rise = np.clip((place - start + FADE) / (2 * FADE), 0, 1) if start else 1.0
        fall = np.clip((stop + FADE - place) / (2 * FADE), 0, 1) if stop < count else 1.0
        made[first * hop : first * hop + length] += fitted(vocode(frames[:, first:last], sound), length) * rise * fall
    return made


def cuts_of(frames: Array, sound: Sound) -> list[int]:
    """Return the frames at which windows of normalised frames [B, n] meet, each the quietest within `REACH`."""
    count, cuts = frames.shape[1], list[int]()
    loudness = denormalised(frames, sound).max(0)
    while count - (cuts[-1] if cuts else 0) > WINDOW + REACH:
        nominal = (cuts[-1] if cuts else 0) + WINDOW
        cuts.append(nominal - REACH + int(loudness[nominal - REACH : nominal].argmin()))
    return cuts


def fitted(samples: Array, length: int) -> Array:
    """Return samples [T], cut or lengthened by silence to a length."""
    return np.pad(samples[:length], (0, max(0, length - len(samples)))).astype(np.float32)
