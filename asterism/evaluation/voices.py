"""Measures of whole recordings, whose lengths differ, and recordings to hear beside the scores.

The true conversion of a recording is the one of the same name, in the same split, by the speaker that it is converted to.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from asterism.data.pictures import to_float, write
from asterism.data.reading import read_picture
from asterism.data.sheets import grid
from asterism.evaluation.candidates import Generator
from asterism.evaluation.measures import MADE, Measure, MeasureContext, Outputs
from asterism.evaluation.pictures import Pictures
from asterism.metrics.cepstra import cepstral_distortion, contour_correlation, modulation_distance
from asterism.sound.mel import denormalised, griffin_lim
from asterism.sound.recordings import encode
from asterism.sound.settings import Sound
from asterism.sound.waveform import samples_of
from asterism.storage.whole import write_whole

LEAST = 64
"""Frames: shorter recordings say nothing about movements."""

SHOWN = 3.0
"""Deviations from the mean that are white, or black."""

CASES = 4
"""Conversions that can be heard in a report."""


def whole(pictures: Pictures, row: int) -> Tensor:
    """Return a recording's normalised log-mel, all of it: float32 [1, 1, B, n]."""
    held = read_picture(pictures.set, row, pictures.picture, fitted=False)
    return to_float(torch.from_numpy(np.array(held))[None], pictures.picture)


def true_row(pictures: Pictures, row: int, wanted: Tensor) -> int | None:
    """Return the recording of the same name that has the labels wanted [L], if there is one."""
    name = pictures.set.paths[row].stem
    same = (pictures.labels == wanted).all(1).tolist()
    return next((i for i, path in enumerate(pictures.set.paths) if same[i] and path.stem == name), None)


def convert(system: Generator, x: Tensor, labels: Tensor, wanted: Tensor, dataset: int) -> Tensor:
    """Return a log-mel [1, 1, B, n] converted from labels to labels [1, L]; frames that the network lacks are repeated."""
    count, multiple = x.shape[3], system.recipe.abilities.side_multiple or x.shape[3]
    padded = functional.pad(x, (0, max(2 * multiple, -(-count // multiple) * multiple) - count, 0, 0), mode="replicate")
    return system.translate(padded, labels, wanted, dataset)[..., :count]


def _compared(o: Outputs, distance: Callable[[Tensor, Tensor], float]) -> Tensor:
    """Return the distances of whole outputs from their truth, [N]; NaN where there is none, or too little of it."""
    pictures, values = o.bench.sets[o.task.pictures], []
    sound = pictures.picture.sound
    assert sound is not None
    for i, row in enumerate(o.rows):
        true = true_row(pictures, row, o.wanted[i])
        made = None if true is None else _made(o, pictures, i, true)
        if true is None or made is None or min(made.shape[3], (truth := whole(pictures, true)).shape[3]) < LEAST:
            values.append(torch.nan)
        else:
            values.append(distance(_plain(made, sound), _plain(truth, sound)))
    return torch.tensor(values, dtype=torch.float64)


def _made(o: Outputs, pictures: Pictures, i: int, true: int) -> Tensor | None:
    """Return what the system makes of a whole source; of real recordings, another one of the target."""
    if o.system.kind == "real":
        others = [row for row in pictures.set.holding(o.task.index or 0).nonzero()[:, 0].tolist() if row != true]
        return whole(pictures, others[o.rows[i] % len(others)]) if others else None
    x = whole(pictures, o.rows[i])
    if not isinstance(o.system, Generator):
        return x
    return convert(o.system, x, o.labels[i : i + 1], o.wanted[i : i + 1], o.dataset)


def _plain(x: Tensor, sound: Sound) -> Tensor:
    return torch.from_numpy(denormalised(x[0, 0].numpy(), sound))


DISTORTION = Measure(
    "mcd",
    "lower",
    "dB",
    "mel-cepstral distortion to the same sentence by the target, aligned in time; of real: to another sentence of the target",
    lambda o: _compared(o, cepstral_distortion),
)
MODULATION = Measure(
    "modulation",
    "lower",
    "dB",
    "distance of the modulation spectra, how cepstra move, from those of the same sentence by the target",
    lambda o: _compared(o, modulation_distance),
)
CONTOUR = Measure(
    "contour",
    "higher",
    "",
    "correlation of the loudness over time with that of the source: whether the words stay where they are",
    lambda o: contour_correlation(o.y, o.x),
)
SAME = Measure(
    "same speaker",
    "lower",
    "",
    "mean absolute change of log-mels translated to their own speaker, in deviations of a band",
    lambda o: (o.y.double() - o.x.double()).abs().flatten(1).mean(1),
    own=True,
    kinds=MADE,
)


def shown(x: Tensor) -> Tensor:
    """Return normalised log-mels [..., B, n] as grey pictures in [-1, 1], low bands at the bottom."""
    return (x / SHOWN).flip(-2)


def recordings(run: Path, folder: Path, bench: MeasureContext, system: Generator) -> list[dict[str, Any]]:
    """Write some conversions as spectrograms and WAV files below a folder of the run; return what scores.json says of them."""
    pictures = bench.sets[0]
    sound, cases = pictures.picture.sound, list[dict[str, Any]]()
    assert sound is not None
    domains = bench.space.domains(pictures.set.dataset)
    for number, target in enumerate(domains[:CASES]):
        source = domains[(number + 1) % len(domains)]
        rows = pictures.set.holding(source).nonzero()[:, 0].tolist()
        if not rows:
            continue
        row = rows[number % len(rows)]
        wanted = torch.zeros_like(pictures.labels[:1])
        wanted[0, target] = 1
        x, true = whole(pictures, row), true_row(pictures, row, wanted[0])
        made = convert(system, x, pictures.labels[row : row + 1], wanted, pictures.set.dataset)
        parts = {"source": x, "conversion": made} | ({} if true is None else {"truth": whole(pictures, true)})
        widest = max(part.shape[3] for part in parts.values())
        sheet = torch.cat([functional.pad(part, (0, widest - part.shape[3]), value=-SHOWN) for part in parts.values()])
        stem = folder / f"recording{number + 1}"
        write(run / f"{stem}.png", grid(shown(sheet)[None]))
        sounds = []
        for name, part in parts.items():
            file = f"{stem}-{name}.wav"
            write_whole(run / file, encode(samples_of(part[0, 0].numpy(), sound, griffin_lim), sound.rate))
            sounds.append({"name": name, "file": file})
        cases.append(
            {
                "title": "recordings",
                "file": f"{stem}.png",
                "columns": list(parts),
                "caption": f"{pictures.set.paths[row].stem}, {bench.space.names[source]} to {bench.space.names[target]}; "
                "log-mels, and their samples by Griffin and Lim's algorithm",
                "sounds": sounds,
            }
        )
    return cases
