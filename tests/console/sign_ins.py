"""Signing in to a live server's console as a browser does, with its cookie and token against forgery."""

import re
from typing import Self

import httpx

from tests.live import LiveServer


class SignIns:
    """Sign-ins from one place. `attempt` may be called by many threads at once."""

    def __init__(self, server: LiveServer) -> None:
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
        self._client = httpx.Client(base_url=server.url, timeout=60, limits=limits)
        page = self._client.get("/console/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        assert token is not None
        self._token = token[1]
        self._headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in page.cookies.items())}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def attempt(self, login: str, password: str = "wrong", address: str = "") -> int:
        """The status of the answer: 302 is a success. A server that trusts this host takes the address for ours."""
        form = {"csrfmiddlewaretoken": self._token, "username": login, "password": password}
        headers = {**self._headers, **({"X-Forwarded-For": address} if address else {})}
        return self._client.post("/console/login/", data=form, headers=headers).status_code
