"""The HTTP API: models, translations, health, metrics, and a page that describes it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Collection, Sequence
from importlib.resources import files
from typing import Any, TypeVar
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import ClientDisconnect

from asterism.data.pictures import FAST, PictureFormat, encode
from asterism.inference.sheets import to_shown
from asterism.serving.hosted import Hosted
from asterism.serving.limits import Refused
from asterism.serving.requests import GenerateRequest, JsonRequest, TranslateRequest, read_generate_request, read_request
from asterism.serving.service import Service

T = TypeVar("T")
TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "tiff": "image/tiff"}
PICTURES: dict[str, Any] = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in TYPES.values()}
RESULTS: dict[str, Any] = {
    "type": "object",
    "required": ["model", "results"],
    "properties": {
        "model": {"type": "string"},
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["to", "type", "width", "height", "image"],
                "properties": {
                    "to": {"description": "The target as given, or the seed and number of a generated picture."},
                    "type": {"type": "string", "enum": list(TYPES.values())},
                    "width": {"type": "integer"},
                    "height": {"type": "integer"},
                    "image": {"type": "string", "contentEncoding": "base64"},
                },
            },
        },
    },
}
MADE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The result.", "content": {**PICTURES, "application/json": {"schema": RESULTS}}}
}
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


def api(service: Service) -> APIRouter:
    """Return the routes over a service."""
    router = APIRouter()

    @router.get("/api/models", tags=["models"], responses=errors(), summary="The models of this service")
    async def models() -> dict[str, list[dict[str, Any]]]:
        return {"models": [hosted.summary() for hosted in service.models.values()]}

    @router.get("/api/models/{name}", tags=["models"], responses=errors(404), summary="One model: labels, sizes, data, scores")
    async def model(name: str) -> dict[str, Any]:
        limits = service.limits
        bounds = {key: getattr(limits, key) for key in ("upload_bytes", "pixels", "recording_seconds", "results", "seconds")}
        return {**service.model(name).description(), "limits": bounds}

    @router.post(
        "/api/models/{name}/translate",
        tags=["translate"],
        summary="Translate a picture",
        description="One target returns a picture, unless the client accepts only JSON; several targets return JSON.",
        responses=MADE | errors(400, 403, 404, 406, 408, 413, 415, 422),
        response_class=Response,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "multipart/form-data": {"schema": TranslateRequest.model_json_schema()},
                    "application/json": {"schema": JsonRequest.model_json_schema()},
                },
            }
        },
    )
    async def translate(name: str, request: Request) -> Response:
        with service.place():  # Before the body is read: what finds no place costs nothing.
            hosted = service.model(name)
            if hosted.voices is not None:
                raise Refused(422, f"{name} takes recordings, not pictures: send them to its route convert")
            wanted = await read_request(request, service.limits)
            as_json = wants_json(request.headers.get("accept"), len(wanted.to))
            kind, write = writer(hosted.translator.model.picture, wanted, as_json)
            results = await unless_gone(request, service.translate(hosted, wanted, write))
        stem = "" if as_json else hosted.translator.parse(wanted.to[0])[0].name
        return answer(hosted, wanted.to, stem, kind, results, as_json)

    @router.post(
        "/api/models/{name}/generate",
        tags=["generate"],
        summary="Make pictures of latents",
        description="For generating models. One seed returns a picture, or JSON on request; several return JSON.",
        responses=MADE | errors(400, 403, 404, 406, 408, 413, 422),
        response_class=Response,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": GenerateRequest.model_json_schema()}},
            }
        },
    )
    async def generate(name: str, request: Request) -> Response:
        with service.place():
            hosted = service.model(name)
            wanted = await read_generate_request(request, service.limits)
            as_json = wants_json(request.headers.get("accept"), len(wanted.seeds))
            kind, write = writer(hosted.translator.model.picture, wanted, as_json)
            results = await unless_gone(request, service.generate(hosted, wanted, write))
        named = [f"seed{seed}" for seed in wanted.seeds]
        return answer(hosted, named, named[0], kind, results, as_json)

    @router.get("/health", tags=["operation"], summary="The process lives")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @router.get(
        "/ready", tags=["operation"], responses={503: {"description": "Not now.", "content": ERROR}}, summary="It serves"
    )
    async def ready() -> dict[str, str]:
        if not service.ready:
            raise Refused(503, "shutting down" if service.closing else "the models are warming up")
        return {"status": "ready"}

    @router.get("/metrics", tags=["operation"], response_class=PlainTextResponse, responses=errors(), summary="For Prometheus")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @router.get("/", include_in_schema=False)
    async def root() -> Response:
        return RedirectResponse("/api")

    @router.get("/api", include_in_schema=False)
    async def page() -> Response:
        return HTMLResponse((files("asterism") / "assets" / "api.html").read_text(encoding="utf-8"))

    return router


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
    picture: PictureFormat, wanted: TranslateRequest | GenerateRequest, as_json: bool
) -> tuple[str, Callable[[np.ndarray], tuple[bytes | str, tuple[int, ...]]]]:
    """Return the media type of the results, and what encodes one [H, W, C]: its content, base64 for JSON, and its shape.

    Raises:
        Refused: a format that does not hold the model's pictures.
    """
    suffix, kind = output(picture, wanted)

    def write(array: np.ndarray) -> tuple[bytes | str, tuple[int, ...]]:
        kept = array.dtype == np.uint8 or suffix == ".tif" or array.shape[2] == 1 and suffix == ".png"
        array = array if kept else to_shown(array, picture)
        content = encode(array, suffix, wanted.quality, compression=FAST)
        return base64.b64encode(content).decode("ascii") if as_json else content, array.shape

    return kind, write


def output(picture: PictureFormat, wanted: TranslateRequest | GenerateRequest) -> tuple[str, str]:
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
