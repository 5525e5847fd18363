"""Limits of a service, and refusals."""

from __future__ import annotations

from dataclasses import dataclass

from asterism.config import ConfigError
from asterism.errors import AsterismError


class Refused(AsterismError):
    """A request that is not served; the message is for the one who asked and names no file of this machine.

    Args:
        status: the HTTP status, 4xx for a mistake of the client's, 503 for a want of room or time.
        message: what is wrong, what was expected, what to do.
        retry_after: seconds after which to ask again, with 503.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = 1 if status == 503 and retry_after is None else retry_after


@dataclass(frozen=True)
class Limits:
    """The bounds of a service; each one is checked before what it bounds is spent.

    Args:
        upload_bytes: size of one picture's or recording's file; a request may hold four pictures, with an instance map and two
            references.
        pixels: width x height of a picture, read from its header before it is decoded.
        recording_seconds: of a recording, read from its header and counted while it is decoded.
        results: pictures that one request may ask for.
        places: results that may be waiting or in work over all requests; one more is answered 503.
        seconds: for a request's body to arrive, and again for its answer.
        batch_size: pictures at once on the device.
    """

    upload_bytes: int = 16 * 2**20
    pixels: int = 25_000_000
    recording_seconds: float = 30.0
    results: int = 64
    places: int = 128
    seconds: float = 60.0
    batch_size: int = 16

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise ConfigError(f"the limit {name} is {value}; expected more than 0")
        if self.results > self.places:
            raise ConfigError(f"a request may ask for {self.results} results, but there are {self.places} places")

    @property
    def body_bytes(self) -> int:
        """The largest body of a request: a picture, an instance map and two references in base64, and the words."""
        return 4 * (self.upload_bytes * 4 // 3) + 2**16

    @property
    def held_bytes(self) -> int:
        """What the bodies of all requests may have together; one more byte is answered 503."""
        return 16 * self.body_bytes
