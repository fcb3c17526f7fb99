"""A collector of OpenTelemetry's: what it is sent, decoded."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Received:
    """A span."""

    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    failed: bool
    service: str


@dataclass
class Collector:
    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    hangs: bool = False

    @property
    def spans(self) -> list[Received]:
        return [span for body in list(self.bodies) for span in _spans(body)]

    def named(self, name: str) -> list[Received]:
        return [span for span in self.spans if span.name == name]

    @property
    def bytes(self) -> bytes:
        return b"".join(self.bodies)


def _spans(body: bytes) -> Iterator[Received]:
    for of_service in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = _plain(of_service.resource.attributes)["service.name"]
        for scope in of_service.scope_spans:
            for span in scope.spans:
                yield Received(
                    name=span.name,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    attributes=_plain(span.attributes),
                    events=[(event.name, _plain(event.attributes)) for event in span.events],
                    failed=span.status.code == 2,
                    service=service,
                )


def _plain(attributes: Any) -> dict[str, Any]:
    return {attribute.key: _value(attribute.value) for attribute in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port. While it `hangs`, it takes what it is sent and does not answer."""
    collector, closed = Collector(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if collector.hangs:
                closed.wait(60)
                return
            collector.bodies.append(body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield collector
    finally:
        closed.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
