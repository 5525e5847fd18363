"""What passes to Gradio: the routes that the page needs, and files by the vault's names. Everything else is not there.

Uploads are checked before they are kept (kind, bytes, pixels; of what fails only the reason stays) and are held in memory.
A name in an event that the vault did not give out is refused before Gradio sees it, so that no request names a file of this
machine or an address elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from starlette.datastructures import UploadFile
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asterism.data.pictures import PictureFormat
from asterism.serving.limits import Limits, Refused
from asterism.serving.requests import read_form
from asterism.serving.uploads import check_upload
from asterism.serving.vault import Vault

UPLOAD = "/gradio_api/upload"
MAX_FILES = 500
ROUTES = {
    "GET": re.compile(
        r"/|/config|/theme\.css|/manifest\.json|/favicon\.ico|/robots\.txt|/(?:assets|static|svelte)(?:/(?!\.)[\w@.-]+)+"
        r"|/gradio_api/(?:queue/data|info|app_id|startup-events|heartbeat/\w+|theme\.css)"
    ),
    "POST": re.compile(r"/gradio_api/(?:queue/join|cancel|reset)/?"),
}
ROUTES["HEAD"] = ROUTES["GET"]


def add_file_routes(app: FastAPI, vault: Vault, limits: Limits) -> None:
    """Add the routes by which the page hands files in and takes them out, in place of Gradio's own."""

    @app.post(UPLOAD, include_in_schema=False)
    async def upload(request: Request) -> list[str]:
        form = await read_form(request, MAX_FILES, 10)
        any_model, names = PictureFormat(3, 1, 1), []
        for _, file in form.multi_items():
            if isinstance(file, UploadFile):
                content, title = file.file.read(), file.filename or ""
                try:
                    kind = await asyncio.to_thread(check_upload, content, any_model, limits, letterbox=False)
                    names.append(vault.put(content, f"image/{kind.lower()}", title))
                except Refused as refused:  # Said where the file is used, so that one among many does not stop the others.
                    names.append(vault.put(b"", "text/plain", title, refused.message))
        return names

    @app.get("/gradio_api/upload_progress", include_in_schema=False)
    async def progress() -> Response:  # Uploads are answered at once, so there is nothing to tell but their end.
        return Response('data: {"msg": "done"}\n\n', media_type="text/event-stream")

    @app.get("/gradio_api/file={name:path}", include_in_schema=False)
    async def download(name: str) -> Response:
        kept = vault.get(name) or vault.get("/" + name)
        if kept is None or kept.refusal:
            raise Refused(404, "there is no such file, or it has been let go; make it again")
        disposition = "inline" if kept.kind.startswith("image/") else "attachment"
        headers = {"content-disposition": f"{disposition}; filename*=UTF-8''{quote(kept.title)}", "cache-control": "no-store"}
        return Response(kept.content, media_type=kept.kind, headers=headers)


class StudioGate:
    """The layer, as ASGI middleware within the gate of the whole application.

    Args:
        mine: what the application's own routes begin with; they pass.
    """

    def __init__(self, app: ASGIApp, vault: Vault, mine: tuple[str, ...]) -> None:
        self.app = app
        self.vault = vault
        self.mine = mine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or self._is_mine(scope["path"]):
            await self.app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        if not (method in ROUTES and ROUTES[method].fullmatch(path)):
            raise Refused(404, "there is nothing at this address")
        if path.startswith("/gradio_api/queue/join"):
            body = await _body(receive)
            try:
                event = json.loads(body)
            except (ValueError, RecursionError) as error:
                raise Refused(400, "the event is not JSON") from error
            self._check(event)
            receive = _again(body, receive)
        await self.app(scope, receive, send)

    def _is_mine(self, path: str) -> bool:
        own = path in (UPLOAD, "/gradio_api/upload_progress") or path.startswith("/gradio_api/file=")
        return own or any(path == start or path.startswith(start + "/") for start in self.mine)

    def _check(self, root: Any) -> None:
        """Refuse an event that names a file which the vault does not hold."""
        waiting = [root]
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                if "path" in value and (not isinstance(value["path"], str) or self.vault.get(value["path"]) is None):
                    raise Refused(400, "the event names a file that is not here; upload it again")
                waiting += value.values()
            elif isinstance(value, list):
                waiting += value


async def _body(receive: Receive) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message["type"] == "http.request" and message.get("more_body", False)
    return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body that was read already."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
