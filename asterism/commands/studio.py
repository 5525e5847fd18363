"""`asterism studio`: a page in the browser."""

from __future__ import annotations

import argparse
import math
import os
from importlib.util import find_spec

from asterism.commands.flags import add_machine
from asterism.config import ConfigError
from asterism.signals import on_signal

ABOUT = "use models on a page in the browser"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "runs", nargs="*", default=["demo"], metavar="RUN", help="runs, model files or hub names [demo: the bundled model]"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on [127.0.0.1: this machine only]")
    parser.add_argument("--port", type=int, help="port [the first free one from 7860]")
    parser.add_argument(
        "--login", metavar="NAME:PASSWORD", help="login for the page; required beyond this machine [variable ASTERISM_LOGIN]"
    )
    parser.add_argument("--max-upload", type=float, default=64, metavar="MB", help="size of one uploaded file [64]")
    parser.add_argument(
        "--vocoder", metavar="FILE", help="models of voices: a vocoder, .onnx or .pt2 [Griffin and Lim's algorithm]"
    )
    add_machine(parser)


def run(args: argparse.Namespace) -> int:
    """Serve the page."""
    if not 0 < args.max_upload < math.inf:
        args.parser.error(f"--max-upload is {args.max_upload:g}; expected a number above 0")
    if args.port is not None and not 0 < args.port < 2**16:
        args.parser.error(f"--port is {args.port}; expected 1 to {2**16 - 1}")
    if find_spec("gradio") is None:
        raise ConfigError('the studio needs gradio: pip install "asterism[studio]"')
    from asterism.studio import serve

    with on_signal(""):
        serve(
            args.runs,
            host=args.host,
            port=args.port,
            login=args.login or os.environ.get("ASTERISM_LOGIN"),
            max_upload=args.max_upload,
            device=args.device,
            precision=args.precision,
            vocoder=args.vocoder,
        )
    return 0
