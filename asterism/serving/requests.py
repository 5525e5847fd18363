"""Read and check requests to translate pictures and recordings, as multipart forms and as JSON."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.requests import ClientDisconnect, Request

from asterism.serving.limits import Limits, Refused

R = TypeVar("R", bound=BaseModel)
Format = Literal["png", "jpeg", "webp", "tiff"]
LIKE = "Models with styles: a picture whose style is taken."
TOWARD = "Models with styles: a picture whose style is the second one."
INSTANCES = "Models of label maps with instances: the instance map, a PNG or TIFF of the label map's size."
RECORDING = "A WAV, FLAC or OGG file of speech; several channels are mixed down."
Words = Annotated[str, Field(max_length=10_000)]
"""What names labels, codes or directions; to look for what is meant by longer words would take seconds."""

FILES = ("image", "instances", "like", "toward_like")
SOUNDS = ("recording",)


class Wanted(BaseModel):
    """What every request to translate says."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    to: list[Words | dict[Words, bool | float]] = Field(
        min_length=1,
        max_length=1000,
        description="The targets, one result each: a label, several with commas (`Blond_Hair,Eyeglasses=no`), or an object "
        '`{"Blond_Hair": true, "AU12": 0.8}`. Labels that a target does not name stay unchanged.',
        examples=[["Blond_Hair"]],
    )
    labels: Words | dict[Words, bool | float] | None = Field(
        None, description="Labels that the source has; the others are predicted."
    )


class Fields(Wanted):
    """What both kinds of request say beside the picture."""

    fit: Literal["letterbox", "crop"] = Field("letterbox", description="The whole picture, or its centre, pasted back.")
    style: int | None = Field(None, ge=0, lt=2**63, description="Models with styles: the seed of a style.")
    truncation: float = Field(1.0, ge=0, le=1, allow_inf_nan=False, description="1: the style; 0: the domain's mean style.")
    strength: float = Field(
        1.0,
        ge=-2,
        le=2,
        allow_inf_nan=False,
        description="1: the style, or the whole change; 0: the picture's own. Of a change, beyond 0 to 1 is more than was "
        "learnt. A label of `to` may have its own: `Smiling=0.5`.",
    )
    source: str | None = Field(None, alias="from", max_length=200, description="With strength: the domain of the picture.")
    toward: int | None = Field(None, ge=0, lt=2**63, description="Models with styles: the seed of a second style.")
    weight: float = Field(0.0, ge=0, le=1, allow_inf_nan=False, description="0: the first style; 1: the second.")
    format: Format | None = Field(None, description="Format of the results; without it PNG, or TIFF for what PNG cannot hold.")
    quality: int = Field(92, ge=1, le=100, description="Of JPEG and WebP.")


class JsonRequest(Fields):
    """A request as JSON; pictures are base64 text, with or without `data:...;base64,` before it."""

    image: str = Field(description="A PNG, JPEG, WebP or TIFF file.", json_schema_extra={"contentEncoding": "base64"})
    instances: str | None = Field(None, description=INSTANCES, json_schema_extra={"contentEncoding": "base64"})
    like: str | None = Field(None, description=LIKE, json_schema_extra={"contentEncoding": "base64"})
    toward_like: str | None = Field(None, description=TOWARD, json_schema_extra={"contentEncoding": "base64"})


class GenerateRequest(BaseModel):
    """A request for pictures of latents."""

    model_config = ConfigDict(extra="forbid")

    seeds: list[int] = Field(
        default_factory=lambda: [0],
        min_length=1,
        max_length=1000,
        description="One picture per seed; a seed always gives the same picture.",
        examples=[[7, 8, 9]],
    )
    to: Words | dict[Words, bool | float] | None = Field(None, description="The target, for models that are told labels.")
    code: list[str | list[float]] = Field(
        default_factory=list,
        max_length=1000,
        description="One picture each, instead of seeds: the numbers of a latent, as project returns them, or a sum of latents "
        "that are saved beside the model: `me - neutral + 0.5*seed3`.",
    )
    codes: dict[Words, float] | None = Field(None, description="Values of codes by name, for models that have codes.")
    along: dict[Words, float] | None = Field(
        None, description="How far to go along directions that are kept beside the model, by name.", examples=[{"Smiling": 2}]
    )
    truncation: float = Field(1.0, ge=0, le=1, allow_inf_nan=False, description="1: the latents; 0: the mean one.")
    format: Format | None = Field(None, description="Format of the results; without it PNG, or TIFF for what PNG cannot hold.")
    quality: int = Field(92, ge=1, le=100, description="Of JPEG and WebP.")


class TranslateRequest(Fields):
    """A request that was understood. A form has these very fields, and may repeat `to`; JSON is brought to them."""

    image: bytes = Field(description="A PNG, JPEG, WebP or TIFF file.", json_schema_extra={"format": "binary"})
    instances: bytes | None = Field(None, description=INSTANCES, json_schema_extra={"format": "binary"})
    like: bytes | None = Field(None, description=LIKE, json_schema_extra={"format": "binary"})
    toward_like: bytes | None = Field(None, description=TOWARD, json_schema_extra={"format": "binary"})


class JsonConvertRequest(Wanted):
    """A request for voices as JSON; the recording is base64 text, with or without `data:...;base64,` before it."""

    recording: str = Field(description=RECORDING, json_schema_extra={"contentEncoding": "base64"})


class ConvertRequest(Wanted):
    """A request for voices that was understood."""

    recording: bytes = Field(description=RECORDING, json_schema_extra={"format": "binary"})


async def read_request(request: Request, limits: Limits) -> TranslateRequest:
    """Read a request to translate.

    Raises:
        Refused: 400 malformed, 413 too large, 415 neither a form nor JSON, 422 a field that is missing, unknown or wrong.
    """
    return await _read(request, limits, TranslateRequest, JsonRequest, FILES)


async def read_convert_request(request: Request, limits: Limits) -> ConvertRequest:
    """Read a request to translate a recording; what it raises is as for `read_request`."""
    return await _read(request, limits, ConvertRequest, JsonConvertRequest, SOUNDS)


async def _read(request: Request, limits: Limits, form: type[R], as_json: type[BaseModel], files: Sequence[str]) -> R:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return checked(form, await form_of(request, limits, files))
    if kind == "application/json":
        given = checked(as_json, await json_of(request))
        held = {name: unpacked(name, getattr(given, name)) for name in files}
        return form.model_construct(**{**dict(given), **held})
    what = "recording" if files == SOUNDS else "picture"
    raise Refused(415, f"send the {what} as multipart/form-data or as application/json with base64")


async def read_generate_request(request: Request, limits: Limits) -> GenerateRequest:
    """Read a request for pictures of latents; an empty body asks for the picture of seed 0.

    Raises:
        Refused: 400 no JSON, 422 a field that is unknown or wrong, or more pictures than a request may ask for.
    """
    wanted = checked(GenerateRequest, await json_of(request))
    if wanted.code and "seeds" in wanted.model_fields_set:
        raise Refused(422, "code: give seeds, or codes, which may name seeds (seed7), not both")
    name, count = ("code", len(wanted.code)) if wanted.code else ("seeds", len(wanted.seeds))
    if count > limits.results:
        raise Refused(422, f"{name}: {count} pictures exceed the maximum of one request, {limits.results}")
    if any(len(words) > 1000 for words in wanted.code if isinstance(words, str)):
        raise Refused(422, "code: a sum has more than 1,000 letters; shorten it")
    return wanted


def checked(kind: type[R], given: Mapping[str, Any]) -> R:
    """Return the fields of a request as what they are.

    Raises:
        Refused: 422, a field that is missing, unknown or wrong.
    """
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        known = [field.alias or name for name, field in kind.model_fields.items()]
        where = str(first["loc"][0])[:60] if first["loc"] else "the request"
        hint = f"; the fields are {', '.join(known)}" if first["type"] == "extra_forbidden" else ""
        told = (
            'expected a list, such as ["Blond_Hair"]'
            if first["type"] == "list_type"
            else first["msg"].removeprefix("Value error, ")
        )
        raise Refused(422, f"{where}: {told}{hint}") from error


async def json_of(request: Request) -> Mapping[str, Any]:
    """Return the object that a request's body holds.

    Raises:
        Refused: 400 no JSON, 422 no object.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "the body is not JSON") from error
    if not isinstance(given, dict):
        raise Refused(422, "the JSON is not an object; expected to and what else the API's page lists")
    return given


def unpacked(name: str, text: str | None) -> bytes | None:
    """Return the file that a field of JSON holds as base64, with or without `data:...;base64,` before it.

    Raises:
        Refused: 400, something else.
    """
    if text is None:
        return None
    try:
        return base64.b64decode(re.sub(r"\Adata:[^,]{0,100},", "", text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(400, f"{name}: this is not base64") from error


class _InMemory(MultiPartParser):
    """Keeps files in memory, whose bytes are bounded before they come here; Starlette would write them to disk."""

    spool_max_size = 2**62


async def form_of(
    request: Request, limits: Limits, files: Sequence[str] = FILES, lists: Sequence[str] = ("to",)
) -> Mapping[str, Any]:
    """Return the fields of a multipart form: bytes for files, text for all else, or a list of texts; the disk is not touched.

    Args:
        files: the fields that are files.
        lists: those that may be repeated.

    Raises:
        Refused: 400 malformed, 422 a file as text, or a field given twice.
    """

    async def stream() -> AsyncGenerator[bytes, None]:
        async for chunk in request.stream():
            yield chunk

    most = {"max_files": len(files), "max_fields": limits.results + 20, "max_part_size": 2**16}
    try:
        form = await _InMemory(request.headers, stream(), **most).parse()
    except (HTTPException, ClientDisconnect):
        raise
    except Exception as error:  # The parser's own, and what it lets through: a missing boundary, bytes that are no text.
        said = getattr(error, "message", "")
        raise Refused(400, f"the form cannot be read{': ' + said if said else ''}") from error
    given: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name in files and isinstance(value, str):
            raise Refused(422, f"{name}: send it as a file of the form, with a file name")
        content = value if isinstance(value, str) else value.file.read()
        if name in lists:
            given.setdefault(name, []).append(content)
        elif name in given:
            raise Refused(422, f"{name[:60]}: given twice; only {', '.join(f'`{each}`' for each in lists)} may be repeated")
        else:
            given[name] = content
    return given
