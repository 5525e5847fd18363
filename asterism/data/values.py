"""What kind of pictures a model takes and makes, and the way from their stored values to floats and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from asterism.sound.settings import Sound


@dataclass(frozen=True)
class PictureFormat:
    """The pictures that a model takes; kept in the model file.

    Args:
        channels: 1..N.
        height, width: pixels that the networks see; of features rows and columns.
        low, high: stored values that map to -1 and 1 (0 and 255 for 8 bit, 0 and 65535 for 16 bit).
        depth: bits of a stored value, 8 or 16; 32 for features.
        crop: side of the centre crop before resizing; 0 takes the largest centred area of the right shape.
        classes: of a label map, whose values are class ids from 0 to classes - 1, also where they are floats. The second of two
            channels then holds the ids of instances. 0: a picture of intensities.
        source: the pictures that are translated, of the same height, width and crop, where they are of another kind than those
            that are made, which the other fields describe.
        sound: how recordings became these features, if they did.
    """

    channels: int
    height: int
    width: int
    low: float = 0.0
    high: float = 255.0
    depth: int = 8
    crop: int = 0
    classes: int = 0
    source: PictureFormat | None = None
    sound: Sound | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PictureFormat:
        """Rebuild a format from what `dataclasses.asdict` made of it."""
        source, sound = values.get("source"), values.get("sound")
        own = {"source": cls(**source) if source else None, "sound": Sound.from_json(sound) if sound else None}
        return cls(**{**values, **own})

    @property
    def taken(self) -> PictureFormat:
        """The pictures that are translated: those that are made, unless `source` says otherwise."""
        return self.source or self

    @property
    def made(self) -> PictureFormat:
        """The pictures that are made, and nothing of what they are made from."""
        return replace(self, source=None)

    @property
    def words(self) -> str:
        """What they are, for a person."""
        if self.classes:
            return f"label maps of {self.classes} classes{' with instances' if self.channels > 1 else ''}"
        channels = f"{self.channels} channel{'s' * (self.channels > 1)}"
        return f"{channels} of {self.depth} bits, values {self.low:g} to {self.high:g}"

    def little_used(self, bottom: float, top: float) -> str:
        """Say so where stored values from `bottom` to `top` use less than a quarter of the range; else nothing."""
        if top - bottom >= (self.high - self.low) / 4:
            return ""
        return f"values {bottom:,.0f} to {top:,.0f} of {self.low:,.0f} to {self.high:,.0f}"

    @property
    def planes(self) -> int:
        """Channels that networks see: of a label map one per class, and one for the edges of instances."""
        return self.classes + self.channels - 1 if self.classes else self.channels


def to_float(stored: Tensor, picture: PictureFormat) -> Tensor:
    """Return stored values [N, C, H, W] as float32 in [-1, 1]; those beyond `low`, `high` are clipped, but not of features.

    Ids of label maps stay the numbers that they are.
    """
    if picture.classes:
        return stored.to(torch.float32)
    if picture.depth == 32:
        return (stored - picture.low) * (2.0 / (picture.high - picture.low)) - 1.0
    return stored.to(torch.float32).sub_(picture.low).mul_(2.0 / (picture.high - picture.low)).sub_(1.0).clamp_(-1.0, 1.0)


def clipped(x: Tensor, picture: PictureFormat) -> Tensor:
    """Return what a network made, clamped to [-1, 1]; features as they are."""
    return x if picture.depth == 32 else x.clamp(-1, 1)


def to_stored(x: Tensor, picture: PictureFormat) -> Tensor:
    """Return float pictures [N, C, H, W], clipped to [-1, 1], as stored values: uint8, or uint16 for 16-bit data.

    Features are float32 and not clipped.
    """
    if picture.depth == 32:
        return (x.to(torch.float32) + 1.0) * ((picture.high - picture.low) / 2.0) + picture.low
    values = x.to(torch.float32).clamp(-1.0, 1.0).add_(1.0).mul_((picture.high - picture.low) / 2.0).add_(picture.low).round_()
    return values.to(torch.uint8) if picture.depth == 8 else values.to(torch.int32).to(torch.uint16)
