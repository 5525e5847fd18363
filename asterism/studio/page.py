"""The page: a tab for each thing that models can be asked for, and one for what they are."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from asterism.inference.card import write_card
from asterism.inference.difference import FULL_COLOUR, heat_map
from asterism.inference.sheets import thumbnail
from asterism.sound.recordings import LEAST_RATE
from asterism.storage.model_file import DEMO
from asterism.studio.controls import Controls, Given, make_controls, picture_field, words
from asterism.studio.edit_tabs import edit_tab, generate_tab
from asterism.studio.layout import each, gallery, refusals
from asterism.studio.models import StudioModel
from asterism.studio.voice_tab import show_recordings, voice_tab

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif"}
TABLES = ".prose table { display: block; overflow-x: auto; border: 0 !important } .prose td, .prose th { white-space: nowrap }"
LARGEST = 1024
"""Pixels of the longer side of what is shown; what is saved has the picture's own size."""


def lay_out(models: Sequence[StudioModel]) -> gr.Blocks:
    """Return the app."""
    names = [model.name for model in models]
    with gr.Blocks(title="asterism studio", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        with gr.Row():
            gr.Markdown("## asterism")
            several: dict[str, Any] = {"visible": len(names) > 1, "container": False, "scale": 0, "min_width": 200}
            chosen = gr.Dropdown(names, value=names[0], label="Model", elem_id="model", **several)
        speaking = [model for model in models if model.voices is not None]
        translating = [model for model in models if model.translator.recipe.abilities.translates and model.voices is None]
        generating = [model for model in models if model.translator.recipe.abilities.generates]
        if translating:
            with gr.Tab("Translate"):
                _translate_tab(translating, chosen)
            with gr.Tab("Batch"):
                _batch_tab(translating, chosen)
        if speaking:
            with gr.Tab("Voice"):
                voice_tab(speaking, chosen)
        if generating:
            with gr.Tab("Generate"):
                generate_tab(generating, chosen)
            with gr.Tab("Edit"):
                edit_tab(generating, chosen)
        with gr.Tab("Model"):
            for model in each(models, chosen):
                _card(model)
            gr.HTML(f"<style>{TABLES}</style>")
    page.queue(max_size=64)
    return page


def _translate_tab(models: Sequence[StudioModel], chosen: gr.Dropdown) -> None:
    """Lay out the tab for one picture."""
    panels = []
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            source = picture_field(label="Picture", height=300, elem_id="source")
            if any(model.translator.path == DEMO for model in models):
                drawings = [[str(file)] for file in sorted(DEMO.with_name("drawings").glob("*.jpg"))]
                gr.Examples(drawings, source, label="Drawings for the bundled model")
            for model in each(models, chosen):
                controls, own = make_controls(model), gr.State({})
                if model.reads_labels and not model.styled:
                    with gr.Accordion("Like another picture", open=False):
                        like = picture_field(label="Its labels are asked for", height=160, elem_id="alike")
                    like.change(_asking_like(controls), like, controls.asking, show_progress="hidden")
                with gr.Row():
                    go = gr.Button("Translate", variant="primary", min_width=120)
                    every = gr.Button("Every target", min_width=120)
                panels.append((controls, own, go, every))
        with gr.Column(scale=8, min_width=320):
            result, note = gallery("Result", "result"), gr.Markdown()
            download = gr.DownloadButton("Download the result", interactive=False)
            strip = gallery("Every target", "strip")
    for controls, own, go, every in panels:
        _connect(controls, own, source, chosen, go, every, [result, note, download], strip)


def _asking_like(controls: Controls) -> Any:
    """Return what sets the controls of labels to those that the model reads in a picture."""

    @refusals()
    def ask(path: str | None) -> list[Any]:
        return controls.as_read(controls.model.labels_of(path)) if path else [gr.skip()] * len(controls.asking)

    return ask


def _connect(
    controls: Controls, own: Any, source: Any, chosen: Any, go: Any, every: Any, results: Sequence[Any], strip: Any
) -> None:
    """Connect the controls of a model with what they make."""
    model, looks = controls.model, controls.looks

    @refusals()
    def read(name: str, path: str | None) -> Any:
        labels = model.labels_of(path) if path and name == model.name else {}
        held = controls.as_read(labels)[len(controls.sets) :]  # Choices stay at what is asked for.
        return [labels, *(gr.update(value=of) if labels else gr.skip() for of in held)] if held else labels

    @refusals()
    def one(given: Given) -> list[Any]:
        picture, target, fit = model.open(given[source]), controls.target(given, given[own]), given[looks["fit"]]
        (result,) = model.translate([picture], target, labels=given[own] or None, fit=fit, **controls.how(given))
        change = model.change(picture, result, fit)
        unchanged = all(given[own].get(label) == value for label, value in target.items())
        side, changed = min(LARGEST, max(picture.shape[:2])), Image.fromarray(heat_map(change))
        changed.thumbnail((side, side))
        shown = [
            (thumbnail(picture, model.picture.taken, side), "source"),
            (thumbnail(result, model.picture, side), "labels unchanged" if unchanged else words(target)),
            (changed, "change"),
        ]
        said = (
            f"{picture.shape[1]} × {picture.shape[0]} pixels; mean change {np.abs(change).mean():.1%} of the value range. "
            f"What got brighter is red, what got darker blue; a change of {FULL_COLOUR:.0%} and more has the full colour."
        )
        return [shown, said, gr.update(value=model.saved(result, Path(given[source]).stem, target), interactive=True)]

    @refusals()
    def all_targets(given: Given) -> list[tuple[Image.Image, str]]:
        picture, made = model.open(given[source]), []
        how = controls.how(given) | {"labels": given[own] or None, "fit": given[looks["fit"]]}
        for target in controls.every_target(given[own]):
            (result,) = model.translate([picture], target, **how)
            made.append((thumbnail(result, model.picture, 320), words(target)))
        return made

    if model.reads_labels:
        shown = controls.asking[len(controls.sets) :]
        gr.on([source.change, chosen.change], read, [chosen, source], [own, *shown], show_progress="hidden")
    inputs = {source, own, *controls.components}
    sliders = [looks[name].release for name in ("strength", "truncation", "weight") if name in looks]
    gr.on([go.click, *sliders], one, inputs, results, trigger_mode="always_last", scroll_to_output=True)
    every.click(all_targets, inputs, strip, scroll_to_output=True)


def _batch_tab(models: Sequence[StudioModel], chosen: gr.Dropdown) -> None:
    """Lay out the tab for many pictures."""
    by_name = {model.name: model for model in models}
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            types = [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"]
            pictures = gr.File(label="Pictures", file_count="multiple", file_types=types, height=260, elem_id="pictures")
            targets = gr.CheckboxGroup(_targets(models[0]), label="Targets", elem_id="targets")
            kind = gr.Radio(list(SUFFIXES), value="png", label="Format")
            seed = gr.Number(1, label="Style seed", precision=0, minimum=0, visible=models[0].styled)
            go = gr.Button("Translate all", variant="primary")
        with gr.Column(scale=8, min_width=320):
            note = gr.Markdown("Many pictures in, one zip out.")
            download = gr.DownloadButton("Download the zip", interactive=False)
            left_out = gr.Dataframe(headers=["left out", "reason"], wrap=True, visible=False, elem_id="left-out")
            first = gallery("The first results", "first")

    def switch(name: str) -> tuple[Any, Any]:
        if name not in by_name:  # It generates.
            return gr.update(choices=[], value=[]), gr.update(visible=False)
        return gr.update(choices=_targets(by_name[name]), value=[]), gr.update(visible=by_name[name].styled)

    @refusals()
    def translate_all(
        name: str,
        paths: list[str] | None,
        to: list[str],
        kind: str,
        seed: int | None,
        progress: Any = gr.Progress(),  # noqa: B008 (Gradio finds it by the default)
    ) -> list[Any]:
        if not paths or not to:
            raise ValueError("add pictures and choose at least one target of a model that translates")
        model, count = by_name[name], len(paths)
        style = model.translator.style(seed=max(0, int(seed or 0))) if model.styled else None
        file, samples, missing = model.batch(paths, to, SUFFIXES[kind], style, lambda done: progress((done, count)))
        said = f"{count - len(missing)} of {count} pictures, each to {len(to)} of the targets"
        return [said, gr.update(value=file, interactive=True), gr.update(value=missing, visible=bool(missing)), samples]

    chosen.change(switch, chosen, [targets, seed], show_progress="hidden")
    inputs = [chosen, pictures, targets, kind, seed]
    go.click(translate_all, inputs, [note, download, left_out, first], scroll_to_output=True)


def _targets(model: StudioModel) -> list[tuple[str, str]]:
    """Return the targets of a batch: every label and, where no other takes its place, its absence; both ends of numbers."""
    space, targets = model.translator.model.space, []
    for name in model.translator.labels:
        index = space.names.index(name)
        low, high = space.ranges[index]
        for value in [high] if space.siblings(index) else [high, low]:
            targets.append((words({name: value if index in space.numbers else bool(value)}), space.say(index, value)))
    return targets


def _card(model: StudioModel) -> None:
    """Lay out what a model is: its card, and a sheet of its work."""
    picture, runs_on = model.picture, model.translator.machine.reason
    sheet = model.run.held_out or next(iter(model.run.previews[-1:]), None)
    card = write_card(model.run, model.name, None, model.translator.recipe.abilities).partition("\n---\n")[2]
    from_other = f"{picture.taken.words} to " if picture.source else ""
    words = f"Recordings, {LEAST_RATE:,} samples a second or more" if model.voices else picture.words
    card += f"\nFrom {from_other}{words}; runs on {runs_on}." if from_other else f"\n{words}; runs on {runs_on}."
    gr.Markdown(html.escape(card, quote=False).replace("![", "["))  # A model's own words may be anybody's: they load nothing.
    show_recordings(model.run)
    if sheet is not None:
        with Image.open(sheet.file) as opened:
            shown = opened.convert("RGB")
        gr.Image(shown, label="Samples", format="png", buttons=["fullscreen"], interactive=False)
        gr.Markdown(html.escape(f"{sheet.caption}. Columns: {', '.join(sheet.columns) or 'not named'}").replace("![", "["))
