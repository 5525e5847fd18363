"""The process: sockets, signals, and a shutdown that finishes accepted requests."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Sequence

import uvicorn
from starlette.types import ASGIApp

from asterism import malloc
from asterism.config import ConfigError
from asterism.serving.app import create_app
from asterism.serving.hosted import load_models
from asterism.serving.limits import Limits
from asterism.serving.service import Service


def serve(
    runs: Sequence[str],
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    token: str | None = None,
    limits: Limits | None = None,
    device: str = "auto",
    precision: str = "auto",
    vocoder: str | os.PathLike[str] | None = None,
    drain: float = 0.0,
) -> None:
    """Serve models until a signal ends it; what was accepted by then is finished first.

    Args:
        runs: run folders, model files or hub names.
        host, port: the address to bind; port 0 takes a free one.
        token: what every request must bring; needed beyond this machine.
        vocoder: of models of voices, as for `asterism.inference.voices.Voices`.
        drain: seconds after SIGTERM for which the address still answers, with 503 on /ready and to new work, so that whatever
            spreads requests over several services learns it before connections are refused.

    Raises:
        ConfigError: an address beyond this machine without a token, or one that cannot be had.
        ModelError: a model that cannot be found or used.
        SoundError: a vocoder that does not fit.
    """
    local = is_local(host)
    if token is not None and len(token) < 16:
        raise ConfigError(f"the token has {len(token)} characters; take at least 16, such as {secrets.token_urlsafe(24)}")
    if token is not None and not (token.isascii() and token.isprintable() and token == token.strip()):
        raise ConfigError("the token has characters that requests cannot send; use letters, digits, dashes, underscores")
    if not local and token is None:
        raise ConfigError(
            f"{host} can be reached from other machines, so a token is needed: --token {secrets.token_urlsafe(24)} "
            "(or the variable ASTERISM_TOKEN); without one, serve on 127.0.0.1"
        )
    malloc.behave(malloc.SHARED)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # What it remarks on broken uploads is said in the answers.
    bound = bind(host, port)
    try:
        service = Service(load_models(runs, device, precision, vocoder), limits)
        app = create_app(service, local=local, token=token)
        Server(app, service, drain).run(sockets=[bound])
    finally:
        bound.close()


def is_local(host: str) -> bool:
    """Say whether an address belongs to this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def bind(host: str, port: int) -> socket.socket:
    """Take an address.

    Raises:
        ConfigError: it cannot be had, with the reason.
    """
    if not 0 <= port < 2**16:
        raise ConfigError(f"the port is {port}; expected 0 to {2**16 - 1}, where 0 takes a free one")
    try:
        family, *_, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":  # On Windows it would take an address that another process serves on.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        return bound
    except OSError as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot serve on {host} port {port}: {reason}; give another --port, or 0 for a free one") from error


class Server(uvicorn.Server):
    """Uvicorn's server, told to finish what the service accepted."""

    def __init__(self, app: ASGIApp, service: Service, drain: float = 0.0) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=2,  # For what is left when the service has finished: answers on their way out.
                limit_concurrency=1000,
                ws="none",
            )
        )
        self.service, self.drain = service, drain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say where."""
        await super().startup(sockets)
        gc.collect()  # What was made until now stays: every later search for garbage leaves it out.
        gc.freeze()
        for bound in sockets or ():
            host, port = bound.getsockname()[:2]
            where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            models = ", ".join(self.service.models)
            print(f"serving {models} at {where}/api; Ctrl-C ends it", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more work, finish what was accepted, then close.

        After SIGTERM, which is how schedulers ask, the address answers for `drain` seconds at least, and the process ends with
        status 0: it did what it was asked for. Each request has a time limit to arrive and one to be answered, so the end comes
        within the drain and twice `Limits.seconds`.
        """
        asked = signal.SIGTERM in self._captured_signals
        self.service.closing, self.service.ready = True, False
        if self.service.taken:
            print(f"finishing {self.service.taken} accepted; Ctrl-C again drops them", file=sys.stderr, flush=True)
        least = time.monotonic() + (self.drain if asked else 0)
        await self.service.drained(lambda: self.force_exit)
        while time.monotonic() < least and not self.force_exit:
            await asyncio.sleep(0.02)
        for server in self.servers:
            server.close()
        if asked and not self.force_exit:
            self._captured_signals.clear()  # Else it is raised again, and the process would end by it.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # What is cut off now are idle connections.
        await super().shutdown(sockets)
