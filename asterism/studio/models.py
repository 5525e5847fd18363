"""The models of the studio: uploaded files in, pictures, recordings and files out. Nothing here knows of the page."""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from asterism.data.label_maps import as_made
from asterism.data.pictures import PictureError, PictureFormat, to_float
from asterism.inference.difference import difference
from asterism.inference.fast_png import encode_result
from asterism.inference.images import open_file, open_image
from asterism.inference.sheets import thumbnail, to_shown
from asterism.inference.styles import StyleSource
from asterism.inference.told_by_picture import labels_in
from asterism.inference.translator import Translator, load
from asterism.inference.voices import Voices
from asterism.runs.folder import Run, read_run
from asterism.sound.recordings import encode as encode_recording
from asterism.storage.model_file import FILE_NAME, ModelError
from asterism.storage.run_files import called, read_model

AT_ONCE, SAMPLES = 16, 24
"""Files of a batch that are translated together, and results of it that are shown."""


@dataclass(frozen=True)
class StudioModel:
    """A loaded model; several threads may call its functions, and one at a time has the network.

    Args:
        name: what the page calls it.
        run: what its file, and the run's other files where there are any, say of it.
        voices: of a model that takes recordings.
    """

    name: str
    translator: Translator
    run: Run
    voices: Voices | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def styled(self) -> bool:
        """Whether its translations have styles."""
        return self.translator.recipe.abilities.style > 0

    @property
    def reads_labels(self) -> bool:
        """Whether it can tell a picture's labels."""
        return self.translator.recipe.abilities.judges and not self.translator.model.missing

    @property
    def picture(self) -> PictureFormat:
        """The pictures that it takes and makes."""
        return self.translator.model.picture

    def open(self, path: str | None) -> np.ndarray:
        """Read a picture file: stored values [H, W, C] of the model's depth; a PictureError does not name the file."""
        if path is None:
            raise PictureError("add a picture first")
        return open_file(path, self.picture).x.permute(1, 2, 0).numpy()

    def labels_of(self, path: str) -> dict[str, float]:
        """Return what the model reads in a picture file: label -> True, False or a number."""
        picture = self.open(path)
        with self.lock:
            return labels_in(self.translator, picture)

    def translate(self, sources: Sequence[np.ndarray], target: str | Mapping[str, float], **how: Any) -> list[np.ndarray]:
        """Translate pictures, stored values [H, W, C]; `how` is as for `Translator.translate`."""
        with self.lock:
            return self.translator.translate(list(sources), target, **how)

    def change(self, source: np.ndarray, result: np.ndarray, fit: str) -> np.ndarray:
        """Return what the model changed, as `difference` does; what resampling to its size blurs is no change.

        A source of another kind is compared as `as_made` shows it.
        """
        x, back = self.translator.fitted(open_image(source, self.picture), fit, torch.device("cpu"))
        return difference(
            back(as_made(x, self.picture))[0], to_float(torch.from_numpy(result).permute(2, 0, 1)[None], self.picture)[0]
        )

    def saved(self, result: np.ndarray, name: str, target: Mapping[str, float]) -> Path:
        """Write a result to a file that holds all of it."""
        suffix = ".tif" if self.picture.channels > 4 or (self.picture.depth == 16 and self.picture.channels > 1) else ".png"
        file = new_file(f"{name}__{self._said(target)}{suffix}")
        file.write_bytes(encode_result(result, suffix))
        return file

    def kept(self, samples: np.ndarray, rate: int, name: str, target: str) -> Path:
        """Write samples [T] to a WAV file."""
        file = new_file(f"{name}__{self._said(target)}.wav")
        file.write_bytes(encode_recording(samples, rate))
        return file

    def batch(
        self,
        paths: Sequence[str],
        targets: Sequence[str],
        suffix: str,
        style: StyleSource | None = None,
        progress: Callable[[int], None] = lambda done: None,
    ) -> tuple[Path, list[tuple[Image.Image, str]], list[list[str]]]:
        """Translate picture files, each to every target; `progress` is told how many are done.

        Returns:
            A zip of the results; the first of them, as thumbnails with names; [name, reason] of every file left out.
        """
        files = list(zip(apart([Path(path).stem for path in paths]), paths, strict=True))
        made, left_out = new_file(f"{self.name}.zip"), list[list[str]]()
        samples: list[tuple[Image.Image, str]] = []
        with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
            for start in range(0, len(files), AT_ONCE):
                sources: dict[str, np.ndarray] = {}
                for name, path in files[start : start + AT_ONCE]:
                    try:
                        sources[name] = self.open(path)
                    except PictureError as error:
                        left_out.append([Path(path).name, str(error)])
                for target in targets:
                    results = self.translate(list(sources.values()), target, style=style)
                    for name, result in zip(sources, results, strict=True):
                        title = f"{name}__{self._said(target)}"
                        archive.writestr(title + suffix, self._coded(result, suffix))
                        if len(samples) < SAMPLES:
                            samples.append((thumbnail(result, self.picture, 320), title))
                progress(min(start + AT_ONCE, len(files)))
        if len(left_out) == len(files):
            raise PictureError(f"no picture could be used; {left_out[0][0]}: {left_out[0][1]}")
        return made, samples, left_out

    def _coded(self, result: np.ndarray, suffix: str) -> bytes:
        try:
            return encode_result(result, suffix)
        except PictureError:  # Such files do not hold it.
            return encode_result(to_shown(result, self.picture), suffix)

    def _said(self, target: str | Mapping[str, float]) -> str:
        return "+".join(edit.name for edit in self.translator.parse(target))


def load_models(
    runs: Sequence[str | os.PathLike[str]], device: str, precision: str, vocoder: str | os.PathLike[str] | None = None
) -> list[StudioModel]:
    """Load runs, model files or hub names, each under a name of its own; errors as for `asterism.load` and `Voices`."""
    models = []
    for given, name in zip(runs, apart([called(str(run)) for run in runs]), strict=True):
        translator = load(given, device, precision)
        if not translator.recipe.abilities.makes_pictures:
            raise ModelError(f"{given} is a {translator.model.name}, which makes no pictures: the studio has nothing to show")
        voices = Voices(translator, vocoder) if translator.model.picture.sound else None
        if voices is None and translator.model.picture.depth == 32:
            raise ModelError(
                f"{given} takes features, arrays of floats, which the studio does not show: asterism translate does"
            )
        file = translator.path
        assert file is not None
        if file.name == FILE_NAME:
            run = read_run(file.parent)
        else:
            facts = read_model(file)
            run = Run(name, {"name": facts["recipe"], "recipe": facts["config"]}, (), facts, {}, (), {})
        models.append(StudioModel(name, translator, run, voices))
    return models


def apart(names: Sequence[str]) -> list[str]:
    """Return the names, with -2, -3, ... where one was there before; to many disks, names of another case are the same."""
    made: list[str] = []
    for name in names:
        tried = itertools.chain([name], (f"{name}-{i}" for i in itertools.count(2)))
        made.append(next(new for new in tried if new.casefold() not in map(str.casefold, made)))
    return made


def new_file(name: str) -> Path:
    """Return the path of a new file among Gradio's, which shows it to nobody who was not given its name."""
    return Path(tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"])) / name
