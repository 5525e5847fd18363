"""The application: the API with access control around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from asterism import __version__
from asterism.serving.access import Gate, error_body
from asterism.serving.api import api
from asterism.serving.limits import Refused
from asterism.serving.service import Service
from asterism.serving.voice_api import voice_api


def create_app(service: Service, *, local: bool = True, token: str | None = None) -> FastAPI:
    """Return the ASGI application over a service; its lifespan warms the models up and closes the service.

    Args:
        local: it will be bound to this machine alone, so it answers to no other host name.
        token: what every request must bring; none asks for nothing.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.warm_up()
        yield
        service.close()

    app = FastAPI(
        title="asterism",
        version=__version__,
        summary="Translates pictures and recordings between domains.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
    )
    app.include_router(api(service))
    app.include_router(voice_api(service))

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        headers = {"retry-after": str(error.retry_after)} if error.retry_after else None
        return _error(error.status, error.message, headers)

    @app.exception_handler(HTTPException)
    async def failed(_: Request, error: HTTPException) -> Response:
        return _error(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return _error(422, "; ".join(str(e["msg"]) for e in error.errors()))

    app.add_middleware(Gate, limits=service.limits, metrics=service.metrics, local=local, token=token)
    return app


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return Response(error_body(message), status, headers, media_type="application/json")
