"""A vocoder given as an exported file: ONNX, or what `torch.export` saves.

It takes log-mels, float32 [1, B, n], and gives samples. What log-mels it was made for stands in its metadata under the key
`mel`, or beside it in a file of the same name with `.json` added, as JSON:

    rate, fft, hop, bands, low, high   as in `asterism.sound.settings.Sound`
    log                                10, or "e" for the natural logarithm
    normalised                         true: it takes this data set's normalised frames; false: the logarithm itself
    mean, deviation                    of its own normalisation, a number a band; they take the place of `normalised`
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from asterism.sound.mel import denormalised
from asterism.sound.settings import Array, Sound, SoundError

KEY = "mel"
NEEDED = ("rate", "fft", "hop", "bands", "low", "high")


class Vocoder:
    """A vocoder that fits the log-mels of a model.

    Args:
        path: .onnx or .pt2.
        sound: of the model.

    Raises:
        SoundError: a file that cannot be read, that does not say what it takes, or that takes other log-mels; says which
            settings differ.
    """

    def __init__(self, path: str | os.PathLike[str], sound: Sound) -> None:
        self.path, suffix = Path(path), Path(path).suffix.lower()
        if suffix not in (".onnx", ".pt2"):
            raise SoundError(f"{path} is no vocoder: expected an ONNX file (.onnx) or one of torch.export (.pt2)")
        if not self.path.is_file():
            raise SoundError(f"there is no file {path}")
        try:
            self._run, stated = (_open_onnx if suffix == ".onnx" else _open_archive)(self.path)
        except (ImportError, RuntimeError, ValueError, OSError) as error:
            raise SoundError(f"the vocoder {path} cannot be opened: {error}") from error
        beside = self.path.with_name(self.path.name + ".json")
        text = stated or (beside.read_text(encoding="utf-8") if beside.is_file() else "")
        try:
            self.settings: dict[str, Any] = json.loads(text or "{}")
        except ValueError as error:
            raise SoundError(f"what {path} says of its log-mels is no JSON: {error}") from error
        if missing := [key for key in NEEDED if key not in self.settings]:
            raise SoundError(
                f"the vocoder {path} does not say which log-mels it takes ({', '.join(missing)}): write them to {beside.name} "
                "beside it"
            )
        if different := sound.differences(self.settings):
            raise SoundError(f"the vocoder {path} takes other log-mels than this model makes: {'; '.join(different)}")

    def __call__(self, frames: Array, sound: Sound) -> Array:
        """Return samples, float32 [T], of normalised frames [B, n].

        Raises:
            SoundError: it fails, or gives samples that are no numbers.
        """
        given = np.ascontiguousarray(self._own(frames, sound)[None], np.float32)
        try:
            samples = np.asarray(self._run(given), np.float32).ravel()
        except Exception as error:  # A runtime's failures are of many kinds.
            raise SoundError(f"the vocoder {self.path} fails on log-mels {list(given.shape)}: {error}") from error
        if not np.isfinite(samples).all():
            raise SoundError(f"the vocoder {self.path} gives samples that are infinite or not numbers (NaN)")
        return samples

    def _own(self, frames: Array, sound: Sound) -> Array:
        """Return normalised frames as the vocoder takes them."""
        if self.settings.get("normalised") and "mean" not in self.settings:
            return frames
        plain = denormalised(frames, sound) * (math.log(10) if self.settings.get("log") == "e" else 1.0)
        if "mean" not in self.settings:
            return plain
        mean, deviation = (np.asarray(self.settings[key], np.float32)[:, None] for key in ("mean", "deviation"))
        return (plain - mean) / deviation


Run = Callable[[Array], Any]


def _open_onnx(path: Path) -> tuple[Run, str]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0], session.get_modelmeta().custom_metadata_map.get(KEY, "")


def _open_archive(path: Path) -> tuple[Run, str]:
    import torch

    held = {f"{KEY}.json": ""}
    module = torch.export.load(path, extra_files=held).module()

    def run(x: Array) -> Any:
        with torch.no_grad():
            return module(torch.from_numpy(x)).numpy()

    return run, held[f"{KEY}.json"] or ""
