"""Access control and limits: a layer around the whole application.

- A service without a token answers only to names of this machine (Host), so that no web page elsewhere reaches it through a
  name that it points here; with a token, every address but /health and /ready needs it.
- A page of another origin is refused (Origin), with a token or without, whatever it asks.
- A body is counted while it arrives and has a time limit, whatever its Content-Length claims; all bodies together have a bound.
- Every answer tells the browser to load nothing from elsewhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asterism.serving.limits import Limits, Refused
from asterism.serving.metrics import Metrics

log = logging.getLogger(__name__)

Reply = Callable[[Send], Awaitable[None]]

OPEN = ("/health", "/ready")
COOKIE = "asterism"
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")

POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "frame-ancestors 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Gate:
    """The layer, as ASGI middleware.

    Args:
        local: the service is bound to this machine alone.
        token: what every request must bring; none asks for nothing.
    """

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics, local: bool, token: str | None) -> None:
        self.app = app
        self.limits = limits
        self.metrics = metrics
        self.local = local
        self.token = token
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            else:  # Nothing here speaks over websockets.
                await send({"type": "websocket.close", "code": 1008})
            return
        start, status, body = time.perf_counter(), 0, _Body(self, scope, receive)

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            reply = self._refusal(scope)
            if reply is None:
                body.check_length()
                await self.app(scope, body, answer)
            else:
                await reply(answer)
        except Refused as refused:
            await _send_error(answer, refused.status, refused.message, refused.retry_after)
        except ClientDisconnect:
            await _send_error(answer, 408, "the client went away", None)  # Nobody reads it; it ends the request.
        except Exception:
            log.exception("a request failed")
            if status:
                raise
            await _send_error(answer, 503, "the server failed to answer this request; its log says why", 5)
        finally:
            self.held -= body.seen
            route = getattr(scope.get("route"), "path", "") or "other"
            self.metrics.answered(route, status, time.perf_counter() - start)

    def _refusal(self, scope: Scope) -> Reply | None:
        """Return what answers a request that may not pass, or none."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.local and self.token is None and _name(host) not in LOCAL_NAMES:
            raise Refused(
                421, "this service answers to localhost and 127.0.0.1 only; start it with --token to allow other names"
            )
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise Refused(403, "requests from pages of other origins are refused")
        if self.token is not None and scope["path"] not in OPEN:
            return self._without_token(scope, headers)
        return None

    def _without_token(self, scope: Scope, headers: Headers) -> Reply | None:
        assert self.token is not None
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _same(given.strip(), self.token):
            return None
        cookies = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            pass
        seal = _seal(self.token)
        own = f"{COOKIE}-{seal[:8]}"  # Browsers send a host's cookies to all of its ports.
        if own in cookies and _same(cookies[own].value, seal):
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=100) if scope["query_string"] else {}
        asked = query.pop("token", [""])[0]
        if scope["method"] == "GET" and scope["path"] == "/" and _same(asked, self.token):

            async def enter(send: Send) -> None:  # Out of the address bar, into a cookie that scripts cannot read.
                cookie = f"{own}={seal}; HttpOnly; SameSite=Strict; Path=/"
                where = "/" + (f"?{urlencode(query, doseq=True)}" if query else "")
                await _send(send, 303, b"", [("location", where), ("set-cookie", cookie), ("cache-control", "no-store")])

            return enter

        async def ask(send: Send) -> None:
            message = "this service requires its token: send 'Authorization: Bearer TOKEN', or open /?token=TOKEN in a browser"
            await _send_error(send, 401, message, None, [("www-authenticate", "Bearer")])

        return ask


class _Body:
    """A request's `receive`, with a bound on the bytes and on the time of the body."""

    def __init__(self, gate: Gate, scope: Scope, receive: Receive) -> None:
        self.gate = gate
        self.receive = receive
        self.length = Headers(scope=scope).get("content-length", "0")
        self.bound = gate.limits.body_bytes
        self.deadline = asyncio.get_running_loop().time() + gate.limits.seconds
        self.seen = 0
        self.whole = False

    def check_length(self) -> None:
        """Refuse what says itself that it is too long, before any of it is read."""
        if not re.fullmatch(r"\d{1,15}", self.length):
            raise Refused(400, "the Content-Length is not a number")
        if int(self.length) > self.bound:
            raise Refused(413, self._too_large())

    async def __call__(self) -> Message:
        if self.whole:
            return await self.receive()  # The body is there; what is left to hear is that the client goes.
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self.receive()
        except TimeoutError as error:
            raise HTTPException(408, f"the request did not arrive within {self.gate.limits.seconds:g} s") from error
        size = len(message.get("body", b""))
        self.seen += size
        self.gate.held += size
        self.whole = message["type"] != "http.request" or not message.get("more_body", False)
        if self.seen > self.bound:
            raise HTTPException(413, self._too_large())
        if self.gate.held > self.gate.limits.held_bytes:
            raise HTTPException(503, "too many bytes of other requests are waiting; ask again", {"retry-after": "1"})
        return message

    def _too_large(self) -> str:
        return f"the request has more than {self.bound:,} bytes, the maximum"


def error_body(message: str) -> bytes:
    """Return the body of every error: {"error": "..."}, in ASCII, since clients may send what is no Unicode."""
    return json.dumps({"error": message}).encode("ascii")


async def _send_error(
    send: Send, status: int, message: str, retry_after: int | None, headers: list[tuple[str, str]] | None = None
) -> None:
    extra = [("content-type", "application/json"), *(headers or [])]
    extra += [("retry-after", str(retry_after))] if retry_after else []
    await _send(send, status, error_body(message), extra)


async def _send(send: Send, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
    coded = [(name.encode(), value.encode("latin-1")) for name, value in [*headers, ("content-length", str(len(body)))]]
    await send({"type": "http.response.start", "status": status, "headers": coded})
    await send({"type": "http.response.body", "body": body})


def _name(host: str) -> str:
    """Return the name of a Host header without its port."""
    return re.sub(r":\d*$", "", host.lower())


def _same(given: str, expected: str) -> bool:
    """Compare in a time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode("utf-8"))


def _seal(token: str) -> str:
    """Return what the cookie holds: not the token itself, so that a browser's files do not give it away."""
    return hashlib.sha256(b"asterism cookie\0" + token.encode("utf-8")).hexdigest()
