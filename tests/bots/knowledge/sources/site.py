"""A web site of a test's own, whose pages are written by the test."""

import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tests.outbound.servers import Answer, Server, plain


def page(body: str | bytes = "", *headers: str, status: str = "200 OK") -> Answer:
    """A page of HTML, unless a header says otherwise."""
    sent = body.encode() if isinstance(body, str) else body
    is_typed = any(header.lower().startswith("content-type:") for header in headers)
    return plain(sent, status, *headers, *(() if is_typed else ("Content-Type: text/html; charset=utf-8",)))


def redirect(location: str) -> Answer:
    return plain(b"", "302 Found", f"Location: {location}")


class Site:
    """Listens on entry. `pages` are by path with query; the others are 404, and so is robots.txt."""

    def __init__(self, pages: Mapping[str, Answer] | None = None, *, host: str = "127.0.0.1") -> None:
        self.pages = dict(pages or {})
        self._server = Server(self._answer, host=host)

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [request.split(" ")[1] for request in self._server.requests]

    @property
    def requests(self) -> list[str]:
        return self._server.requests

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, error, trace)

    def _answer(self, connection: socket.socket, line: str) -> None:
        path = line.split(" ")[1]
        self.pages.get(path, page("nothing here", status="404 Not Found"))(connection, line)
