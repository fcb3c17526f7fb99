"""Fixtures of calls to other servers."""

import socket
import time
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest

from bedrock_chat.outbound.fetching import Response, post_json
from bedrock_chat.process.interruption import Interruption
from tests.outbound.servers import Names

Post = Callable[..., Response]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    resolver = Names()
    monkeypatch.setattr(socket, "getaddrinfo", resolver.getaddrinfo)
    return resolver


@pytest.fixture
def local(settings: Any) -> None:
    """Allows calls to addresses of this machine."""
    settings.OUTBOUND_ALLOW = ((ip_network("127.0.0.0/8"), ip_network("::1/128")), frozenset())


@pytest.fixture
def post() -> Post:
    """`post_json` with what a test does not care about."""

    def call(url: str, body: Any = None, *, seconds: float = 10, **options: Any) -> Response:
        arguments = {
            "credential_headers": {},
            "deadline": time.monotonic() + seconds,
            "interruption": Interruption(),
        }
        return post_json(url, {} if body is None else body, **{**arguments, **options})

    return call
