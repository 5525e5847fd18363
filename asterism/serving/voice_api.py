"""The API's route for recordings."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from asterism.serving.answers import bodies, errors, listing, made, unless_gone, wants_json
from asterism.serving.requests import ConvertRequest, JsonConvertRequest, read_convert_request
from asterism.serving.service import Service
from asterism.sound.recordings import encode

KIND = "audio/wav"
RESULT: dict[str, Any] = {
    "to": {"description": "The target as given."},
    "type": {"type": "string", "enum": [KIND]},
    "rate": {"type": "integer"},
    "seconds": {"type": "number"},
    "recording": {"type": "string", "contentEncoding": "base64"},
}
MADE = made(listing(RESULT, tuple(RESULT)), KIND)


def voice_api(service: Service) -> APIRouter:
    """Return the route over a service."""
    router = APIRouter()

    @router.post(
        "/api/models/{name}/convert",
        tags=["translate"],
        summary="Translate a recording",
        description="For models of voices. One target returns a WAV file of the recording's rate and length, unless the client "
        "accepts only JSON; several targets return JSON.",
        responses=MADE | errors(400, 403, 404, 406, 408, 413, 415, 422),
        response_class=Response,
        openapi_extra=bodies(ConvertRequest.model_json_schema(), JsonConvertRequest.model_json_schema()),
    )
    async def convert(name: str, request: Request) -> Response:
        with service.place():  # Before the body is read: what finds no place costs nothing.
            hosted = service.model(name)
            wanted = await read_convert_request(request, service.limits)
            as_json = wants_json(request.headers.get("accept"), len(wanted.to), (KIND, "audio/x-wav"), "WAV file")
            results = await unless_gone(request, service.convert(hosted, wanted, _written))
        headers = {"cache-control": "no-store"}
        if as_json:
            listed = [
                {
                    "to": to,
                    "type": KIND,
                    "rate": rate,
                    "seconds": seconds,
                    "recording": base64.b64encode(content).decode("ascii"),
                }
                for to, (content, rate, seconds) in zip(wanted.to, results, strict=True)
            ]
            return JSONResponse({"model": hosted.name, "results": listed}, headers=headers)
        stem = hosted.translator.parse(wanted.to[0])[0].name
        headers["content-disposition"] = f"inline; filename*=UTF-8''{quote(stem)}.wav"
        return Response(results[0][0], media_type=KIND, headers=headers)

    return router


def _written(samples: np.ndarray, rate: int) -> tuple[bytes, int, float]:
    """Return a WAV file of samples [T], their rate, and how many seconds they last."""
    return encode(samples, rate), rate, len(samples) / rate
