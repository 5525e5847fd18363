"""The HTTP API: models, translations, generated pictures, health, metrics, and a page that describes it."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST

from asterism.serving.answers import ERROR, MADE, answer, bodies, errors, unless_gone, wants_json, writer
from asterism.serving.limits import Refused
from asterism.serving.manifold import manifold
from asterism.serving.requests import GenerateRequest, JsonRequest, TranslateRequest, read_generate_request, read_request
from asterism.serving.service import Service


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
        openapi_extra=bodies(TranslateRequest.model_json_schema(), JsonRequest.model_json_schema()),
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
        description="For generating models. One seed or code returns a picture, or JSON on request; several return JSON.",
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
            named = [code if isinstance(code, str) else f"code{i}" for i, code in enumerate(wanted.code, start=1)]
            named = named or [f"seed{seed}" for seed in wanted.seeds]
            as_json = wants_json(request.headers.get("accept"), len(named))
            kind, write = writer(hosted.translator.model.picture, wanted, as_json)
            results = await unless_gone(request, service.generate(hosted, wanted, write))
        return answer(hosted, named, named[0], kind, results, as_json)

    router.include_router(manifold(service))

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
