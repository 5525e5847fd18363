"""What the tests of the service share: a service of a small model, and a client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="serving needs the extra: asterism[serve]")

from starlette.testclient import TestClient

from asterism.inference.translator import Translator
from asterism.serving.app import create_app
from asterism.serving.hosted import Hosted
from asterism.serving.limits import Limits
from asterism.serving.service import Service
from tests.helpers.translators import translator


def service(limits: Limits | None = None, **translators: Translator) -> Service:
    """A service over translators by name; without any, over one called `faces`."""
    named = translators or {"faces": translator()}
    return Service({name: Hosted(name, t, None) for name, t in named.items()}, limits)


@contextmanager
def client(served: Service | None = None, **options: Any) -> Iterator[TestClient]:
    """A client of the application in this process; the service is closed at the end."""
    with TestClient(create_app(served or service(), **options), base_url="http://127.0.0.1:7860") as opened:
        yield opened
