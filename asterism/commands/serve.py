"""`asterism serve`: an HTTP API."""

from __future__ import annotations

import argparse
import math
import os
import signal

from asterism.commands.flags import add_machine
from asterism.config import ConfigError

ABOUT = "serve models on this machine as an HTTP API; for a page in the browser: asterism studio"

RETIRED = {"--no-studio": "serve has no page in the browser any more, so leave it out; asterism studio opens that page"}


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="runs, model files or hub names")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on [127.0.0.1: this machine only]")
    parser.add_argument("--port", type=int, default=7860, help="port; 0 takes a free one [7860]")
    parser.add_argument("--token", help="token that requests must send; required beyond this machine [variable ASTERISM_TOKEN]")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="pictures at once on the device [16]")
    parser.add_argument("--max-upload", type=float, default=16, metavar="MB", help="size of one uploaded picture [16]")
    parser.add_argument("--max-pixels", type=float, default=25, metavar="MP", help="millions of pixels of a picture [25]")
    parser.add_argument("--max-seconds", type=float, default=30, metavar="S", help="length of an uploaded recording [30]")
    parser.add_argument(
        "--places",
        type=int,
        default=128,
        metavar="N",
        help="results waiting or in progress before the service answers 503 [128]",
    )
    parser.add_argument("--timeout", type=float, default=60, metavar="S", help="seconds until a request must be answered [60]")
    parser.add_argument(
        "--vocoder", metavar="FILE", help="models of voices: a vocoder, .onnx or .pt2 [Griffin and Lim's algorithm]"
    )
    parser.add_argument(
        "--drain",
        type=float,
        default=0,
        metavar="S",
        help="seconds after SIGTERM for which /ready answers 503 before the address closes [0]",
    )
    add_machine(parser)


def run(args: argparse.Namespace) -> int:
    """Serve models."""
    for name in ("max_upload", "max_pixels", "max_seconds", "timeout"):
        if not 0 < getattr(args, name) < math.inf:
            args.parser.error(f"--{name.replace('_', '-')} is {getattr(args, name):g}; expected a number above 0")
    if not 0 <= args.drain < math.inf:
        args.parser.error(f"--drain is {args.drain:g}; expected 0 or more seconds")
    try:
        from asterism.serving.limits import Limits
        from asterism.serving.server import serve
    except ImportError as error:
        raise ConfigError(f'serving needs {error.name}: pip install "asterism[serve]"') from error

    limits = Limits(
        upload_bytes=round(args.max_upload * 10**6),
        pixels=round(args.max_pixels * 10**6),
        recording_seconds=args.max_seconds,
        results=min(64, args.places),
        places=args.places,
        seconds=args.timeout,
        batch_size=args.batch_size,
    )
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # Scripts have it so in what they start in the background.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    serve(
        args.runs,
        host=args.host,
        port=args.port,
        token=args.token or os.environ.get("ASTERISM_TOKEN"),
        limits=limits,
        device=args.device,
        precision=args.precision,
        vocoder=args.vocoder,
        drain=args.drain,
    )
    return 0
