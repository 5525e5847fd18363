"""The tabs for models that generate: pictures of seeds, and editing by strokes in Gradio's image editor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
from PIL import Image

from asterism.config import ConfigError
from asterism.inference.generator import read_seeds
from asterism.studio import edits
from asterism.studio.layout import each, gallery, refusals
from asterism.studio.models import StudioModel
from asterism.studio.warp_pad import renewed, warp_pad, warps

MOST = 64
"""Pictures that are generated at once."""
BRUSHES = {"colour": "paint", "lines": "sketch", "a warp": "warp"}


def generate_tab(models: Sequence[StudioModel], chosen: gr.Dropdown) -> None:
    """Lay out the tab for pictures of seeds."""
    for model in each(models, chosen):
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                seeds = gr.Textbox("0..15", label="Seeds", info="7 or 1,5,9 or 0..31")
                truncation = gr.Slider(0, 1, 1, step=0.05, label="Variety", info="0 is the mean picture")
                to = _target(model)
                go = gr.Button("Generate", variant="primary")
            with gr.Column(scale=8, min_width=320):
                result = gallery("Pictures", "generated")
        go.click(_generated(model), [seeds, truncation, to], result)


def _generated(model: StudioModel) -> Any:
    @refusals()
    def make(words: str, truncation: float, to: str | None) -> list[tuple[Image.Image, str]]:
        seeds = read_seeds(words)
        if len(seeds) > MOST:
            raise ConfigError(f"{len(seeds)} pictures are more than a page shows: give at most {MOST} seeds")
        with model.lock:
            made = model.translator.generate(seeds=seeds, to=to or None, truncation=truncation)
        return [(edits.enlarged(model, picture), f"seed {seed}") for seed, picture in zip(seeds, made, strict=True)]

    return make


def _target(model: StudioModel) -> gr.Dropdown:
    labels = list(model.translator.labels)
    return gr.Dropdown(labels, value=labels[0] if labels else None, label="Target", visible=bool(labels))


def edit_tab(models: Sequence[StudioModel], chosen: gr.Dropdown) -> None:
    """Lay out the tab for editing."""
    for model in each(models, chosen):
        desk = gr.State(None)
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                with gr.Row():
                    photo = gr.Image(type="filepath", label="Photograph (or none: a seed)", height=180, elem_id="photograph")
                    with gr.Column():
                        seed = gr.Number(0, label="Seed", precision=0)
                        to = _target(model)
                        start = gr.Button("Begin", variant="primary", elem_id="begin")
                brush = gr.Brush(colors=["#e6c83c", "#202020", "#c03020", "#3060c0", "#ffffff"], default_size=24)
                canvas = gr.ImageEditor(
                    label="Draw what is wanted", type="numpy", brush=brush, eraser=gr.Eraser(), height=460, elem_id="canvas"
                )
                pad = warp_pad("pad")
                kind = gr.Radio(list(BRUSHES), value="colour", label="Strokes are", elem_id="brush")
                go = gr.Button("Edit", variant="primary", elem_id="edit")
            with gr.Column(scale=7, min_width=320):
                candidates = gallery("Candidates: choose one to go on from", "candidates")
                share = gr.Slider(0, 1, 1, step=0.05, label="From the source to the result", elem_id="share")
                way = gr.Image(label="On the way", format="png", interactive=False, height=300, elem_id="way")
                done = gr.Button("Do it to the photograph")
                download = gr.DownloadButton("Download the photograph", interactive=False)
                whole = gr.Image(label="The photograph, edited", format="png", interactive=False, elem_id="whole")
        begin, edit, choose, slide, finish = _steps(model)
        start.click(begin, [photo, seed, to], [desk, canvas, pad, candidates])
        kind.change(_fields, kind, [canvas, pad], show_progress="hidden")
        go.click(edit, [desk, canvas, pad, kind], [desk, candidates])
        candidates.select(choose, [desk], [desk, canvas, pad, way])
        share.release(slide, [desk, share], way)
        done.click(finish, [desk], [whole, download])


def _fields(kind: str) -> tuple[Any, Any]:
    """Show the field that the kind of strokes is drawn on."""
    return gr.update(visible=BRUSHES[kind] != "warp"), gr.update(visible=BRUSHES[kind] == "warp")


def _steps(model: StudioModel) -> tuple[Any, Any, Any, Any, Any]:
    """Return what the tab's buttons do, in the order of use."""

    def on(desk: edits.Desk | None) -> edits.Desk:
        if desk is None:
            raise ConfigError("begin with a photograph or a seed first")
        return desk

    @refusals()
    def begin(photo: str | None, seed: int | None, to: str | None) -> tuple[Any, Any, Any, Any]:
        desk = edits.begin(model, photo, int(seed or 0), to or None)
        picture = edits.shown(model, desk)
        return desk, picture, renewed(picture), []

    @refusals()
    def edit(desk: edits.Desk | None, canvas: dict[str, Any] | None, pad: str | None, kind: str) -> tuple[Any, Any]:
        desk = on(desk)
        if BRUSHES[kind] == "warp":
            desk = edits.with_strokes(model, desk, warp=warps(pad, model.picture.height, model.picture.width))
        else:
            layers = (canvas or {}).get("layers") or []
            strokes: dict[str, Any] = {BRUSHES[kind]: edits.drawn(layers)}
            desk = edits.with_strokes(model, desk, **strokes)
        assert desk.edited is not None
        shown = [edits.enlarged(model, picture) for picture in desk.edited.pictures]
        return desk, [(picture, f"{cost:.2f}") for picture, cost in zip(shown, desk.edited.costs, strict=True)]

    @refusals()
    def choose(desk: edits.Desk | None, event: gr.SelectData) -> tuple[Any, Any, Any, Any]:
        desk = edits.chosen(on(desk), event.index)
        picture = edits.shown(model, desk)
        return desk, picture, renewed(picture), picture

    @refusals()
    def slide(desk: edits.Desk | None, share: float) -> Image.Image:
        return edits.between(model, on(desk), share)

    @refusals()
    def finish(desk: edits.Desk | None) -> tuple[Any, Any]:
        file = edits.photograph(model, on(desk))
        with Image.open(file) as made:
            return made.convert("RGB"), gr.update(value=file, interactive=True)

    return begin, edit, choose, slide, finish
