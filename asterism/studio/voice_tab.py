"""The tab for models of voices: a recording, a speaker, and the result beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch
from PIL import Image

from asterism.config import ConfigError
from asterism.evaluation.voices import shown
from asterism.runs.folder import Run
from asterism.sound.recordings import read
from asterism.sound.settings import Array
from asterism.studio.layout import each, refusals
from asterism.studio.models import StudioModel

SHOWN = (800, 320)
"""Pixels of a spectrogram, whatever its length."""


def voice_tab(models: Sequence[StudioModel], chosen: gr.Dropdown) -> None:
    """Lay out the tab for recordings."""
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            source = player("Recording", "recording", sources=["upload", "microphone"], interactive=True)
            panels = []
            for model in each(models, chosen):
                labels = list(model.translator.labels)
                speaker = gr.Radio(labels, value=labels[0], label="Speaker", elem_id=f"speaker-{model.name}")
                panels.append((model, speaker, gr.Button("Translate", variant="primary")))
        with gr.Column(scale=8, min_width=320):
            with gr.Row():
                before, after = player("Source", "voice-source"), player("Result", "voice-result")
            with gr.Row():
                drawn = [_spectrogram(f"Log-mel of the {what}", f"voice-{what}-mel") for what in ("source", "result")]
            note = gr.Markdown()
    for model, speaker, go in panels:
        go.click(translating(model), [source, speaker], [before, after, *drawn, note], scroll_to_output=True)


def player(label: str, name: str | None = None, **options: Any) -> gr.Audio:
    """Return Gradio's field for a recording, whose value is a file."""
    look: dict[str, Any] = {"interactive": False, "buttons": ["download"], "editable": False}
    return gr.Audio(type="filepath", label=label, elem_id=name, **look | options)


def show_recordings(run: Run) -> None:
    """Lay out the conversions of test recordings that the evaluation of a run has kept: spectrograms, and players."""
    for sheet in [sheet for sheets in run.cases.values() for sheet in sheets if sheet.sounds]:
        with Image.open(sheet.file) as opened:
            picture = opened.convert("RGB")
        caption = f"{sheet.caption}; {', '.join(sheet.columns)}"
        gr.Image(picture, label=caption, format="png", buttons=["fullscreen"], interactive=False)
        with gr.Row():
            for title, file in sheet.sounds:
                gr.Audio(str(file), label=title, interactive=False, buttons=["download"])


def translating(model: StudioModel) -> Any:
    """Return what the button does: from a file and a speaker to source, result, both spectrograms, and words."""

    @refusals()
    def make(path: str | None, speaker: str) -> list[Any]:
        if not path:
            raise ConfigError("add a recording first")
        voices = model.voices
        assert voices is not None
        recording = read(path)
        frames = voices.heard(recording)
        with model.lock:
            made = voices.frames(frames, speaker)
        samples = voices.spoken(made, recording.rate, len(recording.samples))
        result = model.kept(samples, recording.rate, Path(path).stem, speaker)
        mixed = f"; {recording.channels} channels, mixed down to one" if recording.channels > 1 else ""
        said = (
            f"{recording.seconds:.1f} s at {recording.rate:,} samples a second{mixed}. Log-mels have time from left to right "
            "and low bands at the bottom."
        )
        return [path, result, _drawn(frames), _drawn(made), said]

    return make


def _drawn(frames: Array) -> Image.Image:
    """Return normalised log-mels [B, n] as a grey picture that fills its field."""
    grey = (shown(torch.from_numpy(np.ascontiguousarray(frames))).clamp(-1, 1) + 1) * 127.5
    picture = Image.fromarray(grey.round().byte().numpy())
    return picture.resize(SHOWN, Image.Resampling.BICUBIC)


def _spectrogram(label: str, name: str) -> gr.Image:
    return gr.Image(label=label, elem_id=name, format="png", buttons=["fullscreen"], interactive=False)
