"""The manifold of a model over HTTP: codes of pictures, and edits by strokes. Both are searches, which end after some time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from torch import Tensor

from asterism.inference.editing import Edited
from asterism.inference.projecting import Projected
from asterism.serving.answers import MADE_CODES, errors, unless_gone, writer
from asterism.serving.hosted import Hosted
from asterism.serving.limits import Limits, Refused
from asterism.serving.manifold_requests import EditRequest, ProjectRequest, read_search, schema_of
from asterism.serving.service import Service
from asterism.serving.uploads import read_strokes, read_upload

SEARCHED = errors(400, 403, 404, 408, 413, 415, 422)


def manifold(service: Service) -> APIRouter:
    """Return the routes over a service."""
    router = APIRouter()

    @router.post(
        "/api/models/{name}/project",
        tags=["manifold"],
        summary="Find the code of a picture",
        description="The code whose picture is most like the given one, what the model makes of it, and how far that is off.",
        responses=MADE_CODES | SEARCHED,
        openapi_extra=schema_of(ProjectRequest),
    )
    async def project(name: str, request: Request) -> JSONResponse:
        with service.place():
            hosted = service.model(name)
            wanted = await read_search(ProjectRequest, request, service.limits)
            answer = await unless_gone(request, _projected(service, hosted, wanted))
        return JSONResponse(answer, headers={"cache-control": "no-store"})

    @router.post(
        "/api/models/{name}/edit",
        tags=["manifold"],
        summary="Edit by strokes",
        description="Codes near the start whose pictures have what was drawn, the best first; each may be edited further.",
        responses=MADE_CODES | SEARCHED,
        openapi_extra=schema_of(EditRequest),
    )
    async def edit(name: str, request: Request) -> JSONResponse:
        with service.place():
            hosted = service.model(name)
            wanted = await read_search(EditRequest, request, service.limits)
            with service.place(wanted.shown - 1):
                answer = await unless_gone(request, _edited(service, hosted, wanted))
        return JSONResponse(answer, headers={"cache-control": "no-store"})

    return router


async def _projected(service: Service, hosted: Hosted, wanted: ProjectRequest) -> dict[str, Any]:
    """Project the picture of a request, and return the answer as JSON values."""
    kind, write = writer(hosted.translator.model.picture, wanted, as_json=True)
    read = hosted.projector if wanted.by in ("network", "hybrid", None) else None
    if read is None and wanted.by in ("network", "hybrid"):
        raise Refused(422, f"by: this model has no projector, so {wanted.by} cannot be had; leave it out")
    alone = wanted.by == "network"
    picture = await service.in_thread(lambda: _uploaded(hosted, wanted.image, wanted.fit, service.limits))

    def work(pause: Callable[[], None]) -> Projected:
        return hosted.translator.project(
            picture,
            to=wanted.to,
            labels=wanted.labels,
            starts=1 if alone else wanted.starts,
            steps=0 if alone else wanted.steps,
            read=read,
            seed=wanted.seed,
            fit=wanted.fit,
            pause=pause,
        )

    found = await service.search(hosted, work)
    made = await service.in_thread(lambda: _shown(found.pictures[0], kind, write))
    result = {"code": found.codes[0].tolist(), "error": found.errors[0], "far": found.far[0], **made}
    return {"model": hosted.name, "kind": found.kind, "results": [result]}


async def _edited(service: Service, hosted: Hosted, wanted: EditRequest) -> dict[str, Any]:
    """Edit as a request says, and return the answer as JSON values."""
    model, kinds = hosted.translator, hosted.decodes
    kind, write = writer(model.model.picture, wanted, as_json=True)
    if kinds in ("style", "labels") and wanted.image is None:
        raise Refused(422, f"image: the codes of this model are {kinds}, which need the picture that is translated")
    if kinds == "latent" and wanted.code is not None and wanted.image is not None:
        raise Refused(422, "image: give a code to start from, or a picture that is projected first, not both")

    def uploads() -> tuple[np.ndarray | None, ...]:
        image = None if wanted.image is None else _uploaded(hosted, wanted.image, wanted.fit, service.limits)
        made = model.model.picture.made
        drawn = (None if data is None else read_strokes(data, made, service.limits) for data in (wanted.paint, wanted.sketch))
        return image, *drawn

    image, paint, sketch = await service.in_thread(uploads)
    shared: dict[str, Any] = {"to": wanted.to, "labels": wanted.labels, "seed": wanted.seed, "fit": wanted.fit}

    def work(pause: Callable[[], None]) -> tuple[Edited, float | None]:
        start: Tensor | str | None = torch.tensor(wanted.code) if isinstance(wanted.code, list) else wanted.code
        error: float | None = None
        if image is not None and kinds == "latent":
            found = model.project(image, read=hosted.projector, pause=pause, **shared)
            start, error = found.codes[0], found.errors[0]
        edited = model.edit(
            start,
            paint=paint,
            sketch=sketch,
            warp=wanted.warp,
            source=image if kinds != "latent" else None,
            candidates=wanted.candidates,
            steps=wanted.steps,
            stay=wanted.stay,
            pause=pause,
            **shared,
        )
        return edited, error

    edited, error = await service.search(hosted, work)
    best = slice(wanted.shown)
    made = await service.in_thread(lambda: [_shown(y, kind, write) for y in edited.pictures[best]])
    results = [
        {"code": code, "cost": cost, **shown}
        for code, cost, shown in zip(edited.codes[best].tolist(), edited.costs[best], made, strict=True)
    ]
    start = None if edited.start is None else edited.start.tolist()
    return {"model": hosted.name, "kind": kinds, "start": start, "error": error, "results": results}


def _uploaded(hosted: Hosted, data: bytes, fit: str, limits: Limits) -> np.ndarray:
    """Decode an uploaded picture as the model takes it."""
    return read_upload(data, hosted.translator.model.picture.taken, limits, letterbox=fit == "letterbox")


def _shown(made: Any, kind: str, write: Callable[[np.ndarray], tuple[bytes | str, tuple[int, ...]]]) -> dict[str, Any]:
    """Return what the answer says of a picture: a PIL image, or an array [H, W, C]."""
    text, shape = write(np.atleast_3d(np.asarray(made)))
    return {"type": kind, "width": shape[1], "height": shape[0], "image": text}
