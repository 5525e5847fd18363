"""Videos and animations frame by frame, with their sound, and how much a translation flickers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageSequence
from torch import Tensor

from asterism.config import ConfigError
from asterism.data.pictures import PictureError, explaining, from_pil, to_pil
from asterism.inference.images import Picture, open_image, to_array
from asterism.inference.outcome import FolderError, Summary, unwritable
from asterism.inference.source_labels import stated
from asterism.inference.styles import Target
from asterism.inference.translator import Translator
from asterism.storage.whole import writing
from asterism.wording import some

ANIMATED = (".gif", ".webp", ".png", ".apng")
"""Endings of pictures that may hold several frames; results end alike."""

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
    """Translate videos to `<stem>__<target>.mp4`, with their rate and sound, and animations to files of their own kind.

    Notes in `summary` how much each flickers, and leaves out animations that are damaged.

    Raises:
        ConfigError: the extra `video` is not installed, or a model of other than pictures of 8 bits, grey or colour.
        FolderError: a file that is no video, or results that are there already.
    """
    picture = translator.model.picture
    if picture.source or picture.depth != 8 or picture.channels not in (1, 3):
        raise ConfigError(f"videos are of 8 bits in grey or colour, and this model makes {picture.made.words}")
    (own,) = stated(translator.model.space, labels, 1)
    ending = {v: v.suffix.lower() if v.suffix.lower() in ANIMATED else ".mp4" for v in videos}
    results = {(v, name): out / f"{v.stem}__{name}{ending[v]}" for v in videos for name in targets}
    if len(results) == 1 and out.suffix.lower() in ending.values():
        results = dict.fromkeys(results, out)
    elif out.suffix.lower() in (*VIDEOS, *ANIMATED):
        raise FolderError(f"{out} looks like a file; --out must be a folder unless there is one video and one target")
    if len({*results.values()}) < len(results):
        raise FolderError(f"{some([str(v) for v in videos], 'videos')} would be written to one file: rename one")
    there = [str(path) for path in results.values() if path.exists()]
    if there and not (overwrite or skip_existing):
        raise FolderError(f"{there[0]} would be replaced: give another --out, or say --overwrite or --skip-existing")
    for (video, name), path in results.items():
        if skip_existing and path.exists():
            summary.kept.append(path)
            continue
        flicker = Flicker()

        def translated(
            frames: Iterator[Picture], target: Target = targets[name], seen: Flicker = flicker
        ) -> Iterator[Image.Image]:
            opened = (replace(frame, labels=own) for frame in frames)
            for frame, (y,) in translator.stream(opened, [target], fit=fit, batch_size=batch_size):
                seen.add(frame.x.float() / 127.5 - 1, y.cpu())
                yield to_pil(to_array(y, picture)).convert("RGB")

        try:
            with writing(path) as partial:
                (_write_animation if ending[video] in ANIMATED else _write_video)(partial, video, translator, translated)
        except PictureError as error:
            summary.skipped.append((video, str(error)))
            continue
        except OSError as error:
            raise unwritable(path, error) from error
        summary.written.append(path)
        summary.notes.append(
            f"{path.name}: {flicker.mean:.2%} flicker: by so much of the value range the result changes from frame to frame "
            "where the source does not"
        )


Translate = Callable[[Iterator[Picture]], Iterator[Image.Image]]


def _write_animation(path: Path, source: Path, translator: Translator, translated: Translate) -> None:
    """Write the frames of a GIF, APNG or WebP, each as long as its source is shown."""
    durations: list[int] = []

    def frames(image: Image.Image) -> Iterator[Picture]:
        with explaining(source):
            for frame in ImageSequence.Iterator(image):
                durations.append(frame.info.get("duration", 100))
                yield _opened(frame.copy(), translator)

    with Image.open(source) as image:
        first, *rest = translated(frames(image))
        first.save(path, save_all=True, append_images=rest, duration=durations, loop=image.info.get("loop", 0))


def _write_video(path: Path, source: Path, translator: Translator, translated: Translate) -> None:
    """Write the frames of a video with its sound."""
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise ConfigError('videos are read and written by the video extra: pip install "asterism[video]"') from error
    frames = imageio_ffmpeg.read_frames(str(source))
    try:
        about = next(frames)
    except (OSError, RuntimeError, StopIteration) as error:
        raise FolderError(f"{source} cannot be read as a video ({str(error).splitlines()[-1][:200]})") from error
    sound = {"audio_path": str(source), "audio_codec": "copy"} if about.get("audio_codec") else {}
    images = translated(_opened(Image.frombytes("RGB", about["size"], data), translator) for data in frames)
    written = None
    for image in images:
        if written is None:
            written = imageio_ffmpeg.write_frames(str(path), image.size, fps=about["fps"], macro_block_size=2, **sound)
            written.send(None)
        written.send(image.tobytes())
    if written is None:
        raise FolderError(f"{source} holds no frames")
    written.close()


def _opened(frame: Image.Image, translator: Translator) -> Picture:
    return open_image(np.squeeze(from_pil(frame, translator.model.picture.channels)), translator.model.picture)
