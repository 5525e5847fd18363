"""Videos frame by frame, with their sound, and how much a translation flickers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asterism.config import ConfigError
from asterism.data.pictures import from_pil, to_pil
from asterism.inference.images import Picture, open_image, to_array
from asterism.inference.outcome import FolderError, Summary, unwritable
from asterism.inference.source_labels import stated
from asterism.inference.styles import Target
from asterism.inference.translator import Translator
from asterism.storage.whole import writing

VIDEOS = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi")
"""Endings of videos; results are .mp4."""


@dataclass
class Flicker:
    """How far a translation moves where its source does not: mean of |(y_t - y_t-1) - (x_t - x_t-1)|, of the value range."""

    total: float = 0.0
    count: int = 0
    before: tuple[Tensor, Tensor] | None = None

    def add(self, x: Tensor, y: Tensor) -> None:
        """Count a frame and its translation, both in [-1, 1] and of one size."""
        if self.before is not None:
            change = (y - self.before[1]) - (x - self.before[0])
            self.total += float(change.abs().sum(dtype=torch.float64)) / 2
            self.count += change.numel()
        self.before = (x, y)

    @property
    def mean(self) -> float:
        """The share; 0 for one frame."""
        return self.total / max(1, self.count)


def translate_videos(
    translator: Translator,
    videos: Sequence[Path],
    targets: dict[str, Target],
    out: Path,
    summary: Summary,
    *,
    labels: Any = None,
    fit: str = "letterbox",
    batch_size: int = 16,
    overwrite: bool = False,
    skip_existing: bool = False,
) -> None:
    """Translate videos to `<stem>__<target>.mp4`, with their rate and sound, and note in `summary` how much each flickers.

    Raises:
        ConfigError: the extra `video` is not installed, or a model of other than pictures of 8 bits, grey or colour.
        FolderError: a file that is no video, or results that are there already.
    """
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise ConfigError('videos are read and written by the video extra: pip install "asterism[video]"') from error
    picture = translator.model.picture
    if picture.source or picture.depth != 8 or picture.channels not in (1, 3):
        raise ConfigError(f"videos are of 8 bits in grey or colour, and this model makes {picture.made.words}")
    (own,) = stated(translator.model.space, labels, 1)
    results = {(v, name): out / f"{v.stem}__{name}.mp4" for v in videos for name in targets}
    there = [str(path) for path in results.values() if path.exists()]
    if there and not (overwrite or skip_existing):
        raise FolderError(f"{there[0]} would be replaced: give another --out, or say --overwrite or --skip-existing")
    for (video, name), path in results.items():
        if skip_existing and path.exists():
            summary.kept.append(path)
            continue
        try:
            about = next(imageio_ffmpeg.read_frames(str(video)))
        except (OSError, RuntimeError, StopIteration) as error:
            raise FolderError(f"{video} cannot be read as a video ({str(error).splitlines()[-1][:200]})") from error
        flicker = Flicker()
        sound = {"audio_path": str(video), "audio_codec": "copy"} if about.get("audio_codec") else {}
        try:
            with writing(path) as partial:
                written, told = None, about["source_size"]
                opened = (replace(frame, labels=own) for frame in _frames(video, translator))
                for frame, (y,) in translator.stream(opened, [targets[name]], fit=fit, batch_size=batch_size):
                    array = np.asarray(to_pil(to_array(y, picture)).convert("RGB"))
                    if written is None:
                        told = array.shape[1::-1]
                        written = imageio_ffmpeg.write_frames(str(partial), told, fps=about["fps"], macro_block_size=2, **sound)
                        written.send(None)
                    written.send(np.ascontiguousarray(array))
                    flicker.add(frame.x.float() / 127.5 - 1, y.cpu())
                if written is None:
                    raise FolderError(f"{video} holds no frames")
                written.close()
        except OSError as error:
            raise unwritable(path, error) from error
        summary.written.append(path)
        summary.notes.append(
            f"{path.name}: {flicker.mean:.2%} flicker: by so much of the value range the result changes from frame to frame "
            "where the source does not"
        )


def _frames(path: Path, translator: Translator) -> Iterator[Picture]:
    """Yield the frames of a video as the model takes them, upright."""
    import imageio_ffmpeg
    from PIL import Image

    frames = imageio_ffmpeg.read_frames(str(path))
    about = next(frames)
    width, height = about["size"]
    for data in frames:
        image = Image.frombytes("RGB", (width, height), data)
        yield open_image(np.squeeze(from_pil(image, translator.model.picture.channels)), translator.model.picture)
