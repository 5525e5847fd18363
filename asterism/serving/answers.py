"""Answers of the HTTP API: pictures and JSON, what the schema says of them, and of refusals."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import numpy as np
from fastapi import Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from asterism.data.pictures import PictureFormat
from asterism.inference.fast_png import encode_result
from asterism.inference.sheets import to_shown
from asterism.serving.hosted import Hosted
from asterism.serving.limits import Refused
from asterism.serving.requests import Format

T = TypeVar("T")
TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "tiff": "image/tiff"}
FILE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


def listing(result: dict[str, Any], required: Sequence[str], always: Sequence[str] = (), **beside: Any) -> dict[str, Any]:
    """Return the schema of an answer in JSON: the model, a list of results, and what stands beside these.

    Args:
        result: what a result holds, by name, and `required`, which of it always.
        beside: schemas by name, and `always`, which of them never lack.
    """
    items = {"type": "object", "required": list(required), "properties": result}
    listed = {"model": {"type": "string"}, "results": {"type": "array", "items": items}}
    return {"type": "object", "required": [*listed, *always], "properties": listed | beside}


def made(schema: dict[str, Any], *kinds: str, what: str = "The result.") -> dict[int | str, dict[str, Any]]:
    """Return what the schema says of success: JSON of a schema, or a file of one of these media types."""
    return {200: {"description": what, "content": {**dict.fromkeys(kinds, FILE), "application/json": {"schema": schema}}}}


def bodies(form: dict[str, Any], as_json: dict[str, Any]) -> dict[str, Any]:
    """Return what the schema says of a request that is a form or JSON, of these schemas."""
    content = {"multipart/form-data": {"schema": form}, "application/json": {"schema": as_json}}
    return {"requestBody": {"required": True, "content": content}}


PICTURE: dict[str, Any] = {
    "to": {"description": "The target as given; of a generated picture its seed or code."},
    "type": {"type": "string", "enum": list(TYPES.values())},
    "width": {"type": "integer"},
    "height": {"type": "integer"},
    "image": {"type": "string", "contentEncoding": "base64"},
}
MADE = made(listing(PICTURE, tuple(PICTURE)), *TYPES.values())
CODE: dict[str, Any] = {
    "code": {"type": "array", "items": {"type": "number"}},
    "error": {"description": "Mean squared error, of values from -1 to 1.", "type": "number"},
    "far": {"description": "Hardly nearer than one plain colour.", "type": "boolean"},
    "cost": {"description": "How far it is from what was asked for.", "type": "number"},
    **PICTURE,
}
MADE_CODES = made(
    listing(
        CODE,
        ("code", "type", "width", "height", "image"),
        always=("kind",),
        kind={"type": "string", "enum": ["latent", "style", "labels"]},
        start={"description": "The code that was edited.", "type": ["array", "null"], "items": {"type": "number"}},
        error={"description": "Of the projection that an edit began with.", "type": ["number", "null"]},
    ),
    what="Codes and their pictures.",
)
ERROR = {"application/json": {"schema": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}}}
REASONS = {
    400: "The request or its picture is malformed.",
    401: "The service needs its token.",
    403: "The request comes from a page of another origin.",
    404: "The model does not exist.",
    406: "The client accepts neither a result nor JSON.",
    408: "The request did not arrive in time.",
    413: "The request has too many bytes, pixels or seconds.",
    415: "The request is neither a form nor JSON, or its file is of a kind that is not taken.",
    421: "The service does not answer to this host name.",
    422: "A field is missing, unknown or wrong, or the file cannot be used.",
    503: "The service has no free place, or ran out of time; retry after Retry-After seconds.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what the schema says of these statuses."""
    return {status: {"description": REASONS[status], "content": ERROR} for status in (401, 421, 503, *statuses)}


class Written(Protocol):
    """What a request says of the files of its results."""

    format: Format | None
    quality: int


def wants_json(accept: str | None, results: int, kinds: Collection[str] = TYPES.values(), what: str = "picture") -> bool:
    """Say whether the answer is JSON: for several results, or where the client takes nothing else.

    Args:
        kinds: media types that a single result may have.
        what: one is called.

    Raises:
        Refused: 406, the client takes neither.
    """
    taken = [part.partition(";")[0].strip().lower() for part in (accept or "*/*").split(",")]
    families = {f"{kind.partition('/')[0]}/*" for kind in kinds}
    alone = any(kind in ("*/*", *families, *kinds) for kind in taken)
    as_json = any(kind in ("*/*", "application/*", "application/json") for kind in taken)
    if not alone and not as_json or results > 1 and not as_json:
        raise Refused(406, f"Accept: {', '.join(taken)[:80]}; one result is a {what} or JSON, several are JSON")
    return results > 1 or not alone


def writer(
    picture: PictureFormat, wanted: Written, as_json: bool
) -> tuple[str, Callable[[np.ndarray], tuple[bytes | str, tuple[int, ...]]]]:
    """Return the media type of the results, and what encodes one [H, W, C]: its content, base64 for JSON, and its shape.

    Raises:
        Refused: a format that does not hold the model's pictures.
    """
    suffix, kind = output(picture, wanted)

    def write(array: np.ndarray) -> tuple[bytes | str, tuple[int, ...]]:
        kept = array.dtype == np.uint8 or suffix == ".tif" or array.shape[2] == 1 and suffix == ".png"
        array = array if kept else to_shown(array, picture)
        content = encode_result(array, suffix, wanted.quality)
        return base64.b64encode(content).decode("ascii") if as_json else content, array.shape

    return kind, write


def output(picture: PictureFormat, wanted: Written) -> tuple[str, str]:
    """Return suffix and media type of the results."""
    wide = picture.channels > 4 or (picture.depth == 16 and picture.channels > 1)
    name = wanted.format or ("tiff" if wide else "png")
    if picture.channels > 4 and name != "tiff":
        raise Refused(422, f"format: {name} cannot hold the {picture.channels} channels of this model; use tiff")
    return {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif"}[name], TYPES[name]


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Wait for the work, and stop it when the client disconnects."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for each in (task, gone):
            each.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def answer(
    hosted: Hosted,
    named: Sequence[Any],
    stem: str,
    kind: str,
    results: list[tuple[bytes | str, tuple[int, ...]]],
    as_json: bool,
) -> Response:
    """Return the response for finished results, each of a target or of a seed; `stem` names a single one's file."""
    headers = {"cache-control": "no-store"}
    if as_json:
        listed = [
            {"to": to, "type": kind, "width": shape[1], "height": shape[0], "image": text}
            for to, (text, shape) in zip(named, results, strict=True)
        ]
        return JSONResponse({"model": hosted.name, "results": listed}, headers=headers)
    ((content, _),) = results
    headers["content-disposition"] = f"inline; filename*=UTF-8''{quote(stem)}.{kind.partition('/')[2]}"
    return Response(content, media_type=kind, headers=headers)
