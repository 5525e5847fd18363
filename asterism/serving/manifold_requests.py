"""Read and check requests to search a model's codes: to project pictures, and to edit by strokes; as forms and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.requests import Request

from asterism.manifold.editing import CANDIDATES, SHOWN, STAY, STEPS
from asterism.manifold.projection import STARTS
from asterism.serving.answers import bodies
from asterism.serving.limits import Limits, Refused
from asterism.serving.requests import Format, Words, checked, form_of, json_of, unpacked

S = TypeVar("S", bound="SearchRequest")

FILE: dict[str, Any] = {"format": "binary"}
"""A file of a form; in JSON it is base64, as text."""
TO = "For latents of models that are told labels the target; for models with styles the domain."


class SearchRequest(BaseModel):
    """What both searches are told. A form has these very fields; in JSON files are base64."""

    model_config = ConfigDict(extra="forbid")

    to: Words | dict[Words, bool | float] | None = Field(None, description=TO)
    labels: Words | dict[Words, bool | float] | None = Field(
        None, description="Models whose codes are labels: labels that the picture has; the others are predicted."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Of what is drawn.")
    fit: Literal["crop", "letterbox"] = Field("crop", description="The picture's centre, or all of it.")
    format: Format | None = Field(None, description="Format of the results; without it PNG, or TIFF for what PNG cannot hold.")
    quality: int = Field(92, ge=1, le=100, description="Of JPEG and WebP.")


class ProjectRequest(SearchRequest):
    """A picture whose code is wanted."""

    image: bytes = Field(description="A PNG, JPEG, WebP or TIFF file.", json_schema_extra=FILE)
    by: Literal["network", "optimisation", "hybrid"] | None = Field(
        None, description="A projector, a search, or a search from the projector's code; hybrid where the run has a projector."
    )
    starts: int = Field(STARTS, ge=1, le=16, description="Codes that the search begins with.")
    steps: int = Field(100, ge=0, le=300, description="Of L-BFGS, at most.")


class EditRequest(SearchRequest):
    """A code that is to be edited, and strokes."""

    code: str | list[float] | None = Field(
        None,
        description="Where to start: the numbers of a code, as project returns them, or a sum of codes that are saved beside "
        "the model, `seed7` or `me + 0.5*smile`. Without it candidates of a generating model begin anywhere.",
    )
    image: bytes | None = Field(
        None,
        description="The picture that is translated, for models whose codes are styles or labels; for a generating model, in "
        "place of a code, a picture that is projected first.",
        json_schema_extra=FILE,
    )
    paint: bytes | None = Field(
        None, description="Colours wanted, as a PNG, WebP or TIFF that is transparent elsewhere.", json_schema_extra=FILE
    )
    sketch: bytes | None = Field(None, description="Lines wanted, likewise.", json_schema_extra=FILE)
    warp: list[list[int]] = Field(
        default_factory=list,
        max_length=64,
        description="Patches that are to be elsewhere: row, column, new row, new column and perhaps the width, in pixels of "
        "the model. In a form as text, `20,30,20,36`; may be repeated.",
        examples=[[[20, 30, 20, 36]]],
    )
    candidates: int = Field(CANDIDATES, ge=1, le=CANDIDATES, description="Codes that move at once.")
    shown: int = Field(SHOWN, ge=1, le=SHOWN, description="Candidates that are returned, at most.")
    steps: int = Field(STEPS, ge=0, le=200, description="Of each candidate.")
    stay: float = Field(STAY, ge=0, le=1e6, allow_inf_nan=False, description="Weight of staying near the start.")

    @field_validator("code", mode="before")
    @classmethod
    def _numbers(cls, given: Any) -> Any:
        """Numbers come in a form as the text of a list."""
        if isinstance(given, str) and given.lstrip().startswith("["):
            try:
                return json.loads(given)
            except (ValueError, RecursionError):
                raise ValueError("this is no list of numbers") from None
        if isinstance(given, str) and len(given) > 1000:
            raise ValueError("a sum has more than 1,000 letters; shorten it")
        return given

    @field_validator("warp", mode="before")
    @classmethod
    def _places(cls, given: Any) -> Any:
        """Places come in a form as text."""
        if not isinstance(given, list):
            return given
        return [each.split(",") if isinstance(each, str) else each for each in given]


FILES: Mapping[type[SearchRequest], tuple[str, ...]] = {ProjectRequest: ("image",), EditRequest: ("image", "paint", "sketch")}


async def read_search(kind: type[S], request: Request, limits: Limits) -> S:
    """Read a request to search.

    Args:
        kind: `ProjectRequest` or `EditRequest`.

    Raises:
        Refused: 400 malformed, 413 too large, 415 neither a form nor JSON, 422 a field that is missing, unknown or wrong, or
            more results than a request may ask for.
    """
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if said == "multipart/form-data":
        wanted = checked(kind, await form_of(request, limits, FILES[kind], ("warp",)))
    elif said == "application/json":
        given = dict(await json_of(request))
        for name in FILES[kind]:
            if given.get(name) is not None:
                if not isinstance(given[name], str):
                    raise Refused(422, f"{name}: expected a file as base64 text")
                given[name] = unpacked(name, given[name])
        wanted = checked(kind, given)
    else:
        raise Refused(415, "send the picture as multipart/form-data or as application/json with base64")
    if isinstance(wanted, EditRequest) and "shown" not in wanted.model_fields_set:
        return wanted.model_copy(update={"shown": min(wanted.shown, limits.results)})
    if isinstance(wanted, EditRequest) and wanted.shown > limits.results:
        raise Refused(422, f"shown: {wanted.shown} candidates exceed the maximum of one request, {limits.results}")
    return wanted


def schema_of(kind: type[SearchRequest]) -> dict[str, Any]:
    """Return what the API's schema says of the body of such a request."""
    form = kind.model_json_schema()
    coded = json.loads(json.dumps(form))
    for name in FILES[kind]:
        place = coded["properties"][name]
        for each in (place, *place.get("anyOf", ())):
            if each.pop("format", None):
                each["contentEncoding"] = "base64"
    return bodies(form, coded)
