"""What the studio's tabs are laid out with."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gradio as gr

from asterism.studio.models import StudioModel


def each(models: Sequence[StudioModel], chosen: gr.Dropdown) -> Iterator[StudioModel]:
    """Go through the models, each in a column that is there while the model is chosen."""
    columns = []
    for model in models:
        with gr.Column(visible=model.name == chosen.value) as column:
            yield model
        columns.append(column)

    def switch(name: str) -> Any:
        seen = [gr.update(visible=model.name == name) for model in models]
        return seen if len(seen) > 1 else seen[0]  # Gradio takes the list of a single one for its value.

    chosen.change(switch, chosen, columns)


@contextmanager
def refusals() -> Iterator[None]:
    """Say on the page what the library refuses."""
    try:
        yield
    except (ValueError, OSError) as error:
        message = html.escape(str(error))
        raise gr.Error(message[:1].upper() + message[1:], duration=12, print_exception=False) from error


def gallery(label: str, name: str) -> gr.Gallery:
    """Return a field for pictures with captions, three in a row, the most that a telephone has room for."""
    look: dict[str, Any] = {"columns": 3, "fit_columns": False, "object_fit": "contain", "height": "fit-content"}
    return gr.Gallery(label=label, elem_id=name, format="png", buttons=["download", "fullscreen"], **look)
