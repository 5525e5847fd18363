"""The studio page: a picture in, translations out, one by one or many at once, over the same service as the API."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from typing import Any, TypeVar

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Before Gradio is imported: nothing is to leave this machine.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio as gr
import numpy as np
from fastapi import FastAPI

from asterism.data.pictures import FAST, encode
from asterism.inference.sheets import to_shown
from asterism.serving import studio_html
from asterism.serving.hosted import Hosted, Wish
from asterism.serving.limits import Refused
from asterism.serving.service import Service
from asterism.serving.studio_controls import (
    Controls,
    from_vault,
    make_controls,
    sentence,
    target_name,
    vault_files,
    vault_image,
)
from asterism.serving.studio_gate import MAX_FILES, UPLOAD, StudioGate, add_file_routes
from asterism.serving.uploads import read_upload
from asterism.serving.vault import Vault, safe_title

CAPACITY = 512 * 2**20
"""Bytes that the page's files may take in memory; the oldest ones go first."""

T = TypeVar("T")

SHOWN = 24
"""Results of a batch that the page shows."""

AT_ONCE = 8
"""Pictures of one batch that are in work at a time, so that a long batch leaves room for others."""

SHOW = "() => {{ document.getElementById('{}').scrollIntoView({{behavior: 'smooth', block: 'nearest'}}) }}"
"""On a narrow page, what comes of a button is below it."""

UNSEEN: dict[str, Any] = {"api_visibility": "private"}


def add_studio(app: FastAPI, service: Service) -> dict[str, int]:
    """Mount the page at `/` of an application.

    Returns:
        The paths whose bodies may hold many files, with the bytes that they may have.
    """
    # Gradio takes names below its folder for uploads without looking for them; this one is never made.
    vault = Vault(
        os.path.join(os.environ.get("GRADIO_TEMP_DIR") or os.path.join(tempfile.gettempdir(), "gradio"), "vault"), CAPACITY
    )
    add_file_routes(app, vault, service.limits)
    page = Studio(service, vault).page()
    page.queue(max_size=service.limits.places, default_concurrency_limit=16, api_open=False)
    gr.mount_gradio_app(
        app,
        page,
        "/",
        show_error=False,
        footer_links=[],
        run_history=False,
        theme=theme(),
        css=(files("asterism") / "assets" / "studio.css").read_text(encoding="utf-8"),
        head='<link rel="icon" href="data:,">',
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
    )
    app.add_middleware(StudioGate, vault=vault, mine=("/api", "/health", "/ready", "/metrics"))
    return {UPLOAD: service.limits.upload_bytes * 16}


def theme() -> gr.themes.Base:
    """Return the look: the colours of the report, and fonts that are on the machine."""
    sans = [gr.themes.Font(name) for name in ("ui-sans-serif", "system-ui", "Segoe UI", "Inter", "Roboto", "sans-serif")]
    mono = [gr.themes.Font(name) for name in ("ui-monospace", "Menlo", "Consolas", "monospace")]
    blue = gr.themes.Color(*"#f2f6fd #e3ecfa #bfd1ee #9cb8e6 #6f95d6 #4878c4 #2f5fb3 #274f95 #213f76 #1c345f #152646".split())
    stone = gr.themes.Color(*"#fcfbf9 #f5f3ef #e4e1db #d0ccc4 #a7a49d #7d7b78 #5f6068 #45464d #2e3037 #1b1d22 #15161a".split())
    base = gr.themes.Base(primary_hue=blue, secondary_hue=blue, neutral_hue=stone, font=sans, font_mono=mono, radius_size="sm")
    return base.set(
        body_background_fill="#fcfbf9",
        body_background_fill_dark="#15161a",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1b1d22",
        block_border_color="#e4e1db",
        block_border_color_dark="#2e3037",
        block_shadow="none",
        button_primary_background_fill="#2f5fb3",
        button_primary_background_fill_hover="#274f95",
        button_primary_text_color="#ffffff",
    )


class Studio:
    """The page over a service; its functions run in the service's event loop."""

    def __init__(self, service: Service, vault: Vault) -> None:
        self.service = service
        self.vault = vault

    def page(self) -> gr.Blocks:
        """Lay out the page and connect it."""
        models = list(self.service.models.values())
        names = [hosted.name for hosted in models]
        with gr.Blocks(title="asterism studio", analytics_enabled=False, fill_width=False) as page:
            with gr.Row(elem_classes="top"):
                gr.HTML(studio_html.BRAND, padding=False)
                chosen = gr.Dropdown(names, value=names[0], label="Model", visible=len(names) > 1, elem_id="model")
            with gr.Tabs():
                with gr.Tab("Translate", id="translate"):
                    self._translate_tab(models, chosen)
                with gr.Tab("Batch", id="batch"):
                    self._batch_tab(models, chosen)
                with gr.Tab("Model", id="about"):
                    about = gr.HTML(studio_html.model_page(models[0]), padding=False)
            chosen.change(lambda name: studio_html.model_page(self.service.model(name)), chosen, about, **UNSEEN)
        return page

    # -- one picture ---------------------------------------------------------------------------------------------------

    def _translate_tab(self, models: Sequence[Hosted], chosen: gr.Dropdown) -> None:
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                source = vault_image(
                    self.vault,
                    label="Picture",
                    sources=["upload", "clipboard", "webcam"],
                    height=300,
                    elem_id="source",
                    buttons=["fullscreen"],
                    webcam_options=gr.WebcamOptions(mirror=True),
                )
                columns, panels, states, buttons = [], [], [], []
                for hosted in models:
                    with gr.Column(visible=hosted is models[0], elem_classes="controls") as column:
                        panels.append(make_controls(hosted, self.vault))
                        states.append(gr.State({}))
                        with gr.Row():
                            go = gr.Button("Translate", variant="primary", elem_classes="go")
                            every = gr.Button("Every target", elem_classes="every")
                    columns.append(column)
                    buttons.append((go, every))
            with gr.Column(scale=8, min_width=320, elem_classes="results"):
                result = gr.HTML(studio_html.EMPTY.format("Add a picture, choose, translate."), elem_id="result", padding=False)
                strip = gr.HTML("", elem_id="strip", padding=False)
        chosen.change(
            lambda name: [gr.update(visible=hosted.name == name) for hosted in models],
            chosen,
            columns,
            show_progress="hidden",
            **UNSEEN,
        )
        for controls, state, (go, every) in zip(panels, states, buttons, strict=True):
            self._connect(controls, state, source, chosen, result, strip, go, every)

    def _connect(
        self, controls: Controls, state: Any, source: Any, chosen: Any, result: Any, strip: Any, go: Any, every: Any
    ) -> None:
        picture_format = controls.hosted.translator.model.picture
        hosted, switches = controls.hosted, [component for _, component in controls.switches]

        async def read(name: str, picture: bytes | None) -> Any:
            """Set the switches to what the picture shows."""
            if picture is None or name != hosted.name:
                own, shown = {}, [gr.skip() for _ in switches]
            else:
                own = await self._asked(self.service.labels(hosted, picture))
                shown = [own.get(label, False) for label, _ in controls.switches]
            return [own, *shown] if switches else own

        async def one(picture: bytes | None, own: dict[str, bool], *values: Any) -> str:
            upload, wish = _given(picture), _wish(controls, values, own)
            title = controls.title(wish, own)

            def show(result: np.ndarray) -> str:
                suffix = _suffix(result)
                kind = {".png": "image/png", ".tif": "image/tiff"}[suffix]
                content = encode(result, suffix, compression=FAST)
                address = self.vault.put(content, kind, f"{safe_title(title)}{suffix}")
                source = read_upload(upload, picture_format, self.service.limits)
                return studio_html.triptych(source, result, picture_format, title, studio_html.download(address, "Download"))

            (shown,) = await self._translate(hosted, upload, wish, show)
            return shown

        async def all_targets(picture: bytes | None, own: dict[str, bool], *values: Any) -> str:
            targets = controls.every_target(own)[: self.service.limits.results]
            upload, wish = _given(picture), _wish(controls, values, own, targets)
            shown = await self._translate(hosted, upload, wish, partial(studio_html.as_sample, picture=picture_format))
            return studio_html.strip(list(zip(map(target_name, targets), shown, strict=True)))

        outputs = [state, *switches]
        source.change(read, [chosen, source], outputs, show_progress="hidden", **UNSEEN)
        chosen.change(read, [chosen, source], outputs, show_progress="hidden", **UNSEEN)
        inputs = [source, state, *controls.fields]
        go.click(one, inputs, result, trigger_mode="always_last", **UNSEEN).success(None, js=SHOW.format("result"), **UNSEEN)
        every.click(all_targets, inputs, strip, **UNSEEN).success(None, js=SHOW.format("strip"), **UNSEEN)
        for component, (kind, what) in zip(controls.fields, controls.kinds, strict=True):
            if kind == "look" and what in ("weight", "strength", "truncation"):
                component.release(one, inputs, result, trigger_mode="always_last", show_progress="minimal", **UNSEEN)

    async def _translate(self, hosted: Hosted, picture: bytes, wish: Wish, finish: Callable[[np.ndarray], T]) -> list[T]:
        async def work() -> list[T]:
            with self.service.place():
                return await self.service.translate(hosted, picture, wish, finish)

        return await self._asked(work())

    async def _asked(self, work: Any) -> Any:
        """Wait for the service, and say on the page what it refuses."""
        try:
            return await work
        except Refused as refused:
            raise gr.Error(sentence(refused.message), duration=12) from refused

    # -- many pictures -------------------------------------------------------------------------------------------------

    def _batch_tab(self, models: Sequence[Hosted], chosen: gr.Dropdown) -> None:
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                pictures = vault_files(
                    self.vault,
                    label=f"Pictures, up to {MAX_FILES}",
                    file_types=[".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"],
                    height=260,
                    elem_id="pictures",
                )
                targets = gr.CheckboxGroup(_targets(models[0]), label="Targets", elem_id="targets")
                kind = gr.Radio(["png", "jpeg", "webp"], value="png", label="Format")
                seed = gr.Number(
                    1, label="Style seed", precision=0, minimum=0, visible=bool(models[0].translator.recipe.abilities.style)
                )
                go = gr.Button("Translate all", variant="primary", elem_id="batch-go")
            with gr.Column(scale=8, min_width=320, elem_classes="results"):
                out = gr.HTML(studio_html.EMPTY.format("Many pictures in, one zip out."), elem_id="batch-result", padding=False)

        def switch(name: str) -> tuple[Any, Any]:
            hosted = self.service.model(name)
            return gr.update(choices=_targets(hosted), value=[]), gr.update(
                visible=bool(hosted.translator.recipe.abilities.style)
            )

        chosen.change(switch, chosen, [targets, seed], show_progress="hidden", **UNSEEN)
        inputs = [chosen, pictures, targets, kind, seed]
        done = go.click(self._batch, inputs, out, concurrency_limit=2, **UNSEEN)
        done.success(None, js=SHOW.format("batch-result"), **UNSEEN)

    async def _batch(
        self,
        name: str,
        given: list[tuple[str, str]],
        to: list[str],
        kind: str,
        seed: int,
        progress: Any = gr.Progress(),  # noqa: B008 (Gradio finds it by the default)
    ) -> str:
        if not given or not to:
            raise gr.Error("Add pictures and choose at least one target.", duration=6)
        hosted = self.service.model(name)
        wish = Wish(to=to, style=max(0, int(seed or 0)) if hosted.translator.recipe.abilities.style else None)
        suffix = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}[kind]
        archive, names, room = io.BytesIO(), stems([title for title, _ in given]), asyncio.Semaphore(AT_ONCE)
        left_out: dict[int, str] = {}
        shown: list[tuple[int, str, str]] = []
        progress(0, desc="translating")

        async def one(number: int, where: str) -> tuple[int, list[tuple[bytes, str]] | str]:
            async with room:
                try:
                    content = from_vault(self.vault, where)
                    return number, await self._patiently(hosted, content, wish, suffix, shown=number < SHOWN // len(to))
                except (Refused, gr.Error) as error:
                    return number, str(error)

        tasks = [asyncio.ensure_future(one(i, where)) for i, (_, where) in enumerate(given)]
        try:
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as zipped:
                for done, finished in enumerate(asyncio.as_completed(tasks), 1):
                    number, results = await finished
                    progress((done, len(given)), desc="translating", unit="pictures")
                    if isinstance(results, str):
                        left_out[number] = results
                        continue
                    for target, (content, sample) in zip(to, results, strict=True):
                        zipped.writestr(f"{names[number]}__{safe_title(target.replace('=no', '-no'))}{suffix}", content)
                        if sample:
                            shown.append((number, f"{names[number]}, {target_name(_said(target))}", sample))
                    if archive.tell() > CAPACITY // 2:
                        too_large = "The results are larger than the page holds; translate fewer pictures at a time."
                        raise gr.Error(too_large, duration=12)
        finally:
            for task in tasks:
                task.cancel()
        missing = [(given[number][0], reason) for number, reason in sorted(left_out.items())]
        if len(missing) == len(given):
            raise gr.Error(f"No picture could be used. {missing[0][0]}: {missing[0][1]}", duration=12)
        samples = [(title, sample) for _, title, sample in sorted(shown, key=lambda entry: entry[0])]
        address = self.vault.put(archive.getvalue(), "application/zip", f"{hosted.name}.zip")
        link = studio_html.download(address, "Download zip")
        return studio_html.batch(len(given) - len(missing), len(to), missing, link, samples)

    async def _patiently(
        self, hosted: Hosted, content: bytes, wish: Wish, suffix: str, *, shown: bool
    ) -> list[tuple[bytes, str]]:
        """Translate one picture of a batch into files, and samples for the page; where there is no place, wait for one."""
        picture = hosted.translator.model.picture

        def finish(array: np.ndarray) -> tuple[bytes, str]:
            held = array.shape[2] == 1 and suffix == ".png" or array.shape[2] <= 4 and array.dtype == np.uint8
            content = encode(array if held else to_shown(array, picture), suffix, compression=FAST)
            return content, studio_html.as_sample(array, picture) if shown else ""

        while True:
            try:
                with self.service.place():
                    return await self.service.translate(hosted, content, wish, finish)
            except Refused as refused:
                if refused.status != 503 or self.service.closing:
                    raise
                await asyncio.sleep(0.2)


def _given(picture: bytes | None) -> bytes:
    if picture is None:
        raise gr.Error("Add a picture first.", duration=6)
    return picture


def _wish(controls: Controls, values: Sequence[Any], own: dict[str, bool], to: Sequence[Any] = ()) -> Wish:
    """Return what the controls say, or say on the page what is missing."""
    try:
        return controls.wish(values, own, to)
    except Refused as refused:
        raise gr.Error(sentence(refused.message), duration=8) from refused


def stems(titles: Sequence[str]) -> list[str]:
    """Return what the results of files are called: their names without suffix, numbered where they would be the same.

    Names that differ by case alone are the same to many file systems.
    """
    made: list[str] = []
    taken: set[str] = set()
    for title in titles:
        stem = os.path.splitext(title)[0]
        name = next(n for i in itertools.count(1) if (n := stem if i == 1 else f"{stem}-{i}").casefold() not in taken)
        taken.add(name.casefold())
        made.append(name)
    return made


def _targets(hosted: Hosted) -> list[tuple[str, str]]:
    """Return the choices of a batch: every label set and, where it can be, switched off."""
    space = hosted.translator.model.space
    either = {space.names[i] for choice in space.alternatives for i in choice}
    targets = [
        [(name, name)] if name in either else [(name, name), (f"no {name}", f"{name}=no")] for name in hosted.translator.labels
    ]
    return [(shown.replace("_", " "), said) for pair in targets for shown, said in pair]


def _said(target: str) -> dict[str, bool]:
    name, _, value = target.partition("=")
    return {name: value != "no"}


def _suffix(array: np.ndarray) -> str:
    wide = array.shape[2] > 4 or (array.dtype == np.uint16 and array.shape[2] > 1)
    return ".tif" if wide else ".png"
