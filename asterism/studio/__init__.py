"""The studio: trained models on a page in the browser, as a Gradio app. A leaf: only its command imports it.

from asterism.studio import build

build(["model.safetensors"]).launch()
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asterism.config import ConfigError
from asterism.studio.models import load_models

if TYPE_CHECKING:
    import gradio as gr

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


def build(
    runs: Sequence[str | os.PathLike[str]],
    device: str = "auto",
    precision: str = "auto",
    vocoder: str | os.PathLike[str] | None = None,
) -> gr.Blocks:
    """Return the app over models; its `launch` serves it.

    What people upload and what is made for them stays for a day at most, in a folder that goes with the process. By variables
    of the environment, Gradio's statistics are off and the hub is asked for nothing from here on.

    Args:
        runs: run folders, model files or hub names.
        device, precision: as for `asterism.load`.
        vocoder: of models of voices, as for `asterism.inference.voices.Voices`.

    Raises:
        ModelError: there is no such model, or it makes no pictures.
        SoundError: a vocoder that does not fit.
        ConfigError: a device that is not there.
    """
    models = load_models(runs, device, precision, vocoder)  # Downloads hub names; after this nothing leaves the machine.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    if not os.environ.get("GRADIO_TEMP_DIR"):  # Gradio's own is one for everybody on the machine.
        os.environ["GRADIO_TEMP_DIR"] = tempfile.mkdtemp(prefix="asterism-studio-")
        atexit.register(shutil.rmtree, os.environ["GRADIO_TEMP_DIR"], ignore_errors=True)
    from asterism.studio.page import lay_out  # Imports Gradio, which takes seconds and reads these variables.

    return lay_out(models)


def serve(
    runs: Sequence[str],
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    login: str | None = None,
    max_upload: float = 64,
    device: str = "auto",
    precision: str = "auto",
    vocoder: str | os.PathLike[str] | None = None,
) -> None:
    """Serve the app until a signal ends it.

    Args:
        runs, device, precision, vocoder: as for `build`.
        host, port: the address to bind; without a port the first free one from 7860.
        login: `NAME:PASSWORD`, which the page asks for; needed beyond this machine.
        max_upload: megabytes of one uploaded file.

    Raises:
        ConfigError: a login that is missing or not of that form, or an address that cannot be had.
        ModelError, SoundError: as for `build`.
    """
    name, _, password = (login or "").partition(":")
    if login is not None and not (name and password):
        raise ConfigError("the login lacks its name or its password; expected --login NAME:PASSWORD")
    if login is None and host not in LOOPBACK:
        raise ConfigError(f"{host} can be reached from other machines, so a login is needed: --login NAME:PASSWORD")
    app = build(runs, device, precision, vocoder)
    try:
        _, address, _ = app.launch(
            server_name=host,
            server_port=port,
            auth=(name, password) if login else None,
            max_file_size=round(max_upload * 10**6),
            show_error=True,
            run_history=False,
            footer_links=[],
            share=False,
            inline=False,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise ConfigError(f"cannot serve on {host} port {port or 'from 7860'}; give another --host or --port") from error
    print(f"studio at {address} (Ctrl-C ends it)", flush=True)
    threading.Event().wait()
