"""Spans: how long a request, a job, a turn, a round and a call to a model took, and which belongs to which.

A span has names and numbers. Never a text of people or models, a title, a key, an id that a client has chosen, nor an
error's message, which may quote one of them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

Attribute = str | int | float | bool | tuple[str, ...]
Attributes = Mapping[str, Attribute | None]
"""Those that are None are left out."""
NONE: Final[Attributes] = {}

SERVER: Final = "SERVER"
"""Kinds, as OpenTelemetry names them: of a request that is answered here, of one that is sent, and of anything else."""
CLIENT: Final = "CLIENT"
INTERNAL: Final = "INTERNAL"


class Span:
    """A span that nobody records: all there is without a collector."""

    __slots__ = ()

    def note(self, attributes: Attributes) -> None:
        """Adds attributes."""

    def rename(self, name: str) -> None:
        """Gives the span another name."""

    def happened(self, name: str, attributes: Mapping[str, Attribute]) -> None:
        """Notes a moment within the span."""

    def end(self, error: str = "") -> None:
        """Ends the span; only the first end counts. `error` is the name of the fault that ended it, if any."""


NOTHING: Final = Span()
_current: ContextVar[Span] = ContextVar("current span", default=NOTHING)
_tracer: Any = None


class _Recorded(Span):
    __slots__ = ("_span", "context")

    def __init__(self, name: str, kind: str, parent: Any, attributes: Attributes) -> None:
        """`parent` is a context of OpenTelemetry's; None: the span begins a trace."""
        from opentelemetry import context, trace  # noqa: PLC0415  with a collector alone

        parent = context.Context() if parent is None else parent
        self._span = _tracer.start_span(name, parent, trace.SpanKind[kind], _without_none(attributes))
        self.context = trace.set_span_in_context(self._span, parent)

    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(_without_none(attributes))

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def happened(self, name: str, attributes: Mapping[str, Attribute]) -> None:
        self._span.add_event(name, attributes)

    def end(self, error: str = "") -> None:
        if not self._span.is_recording():
            return
        if error:
            from opentelemetry.trace import StatusCode  # noqa: PLC0415

            self._span.set_attribute("error.type", error)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def _without_none(attributes: Attributes) -> dict[str, Attribute]:
    return {name: value for name, value in attributes.items() if value is not None}


def begin_with(tracer: Any) -> None:
    """From now on spans are recorded by this tracer of OpenTelemetry's."""
    global _tracer  # noqa: PLW0603  of this process
    _tracer = tracer


def begin(name: str, attributes: Attributes = NONE, *, parent: Span | None = None, kind: str = INTERNAL) -> Span:
    """A new span, within `parent`, or else within the current one. It must be ended, on whatever thread."""
    if _tracer is None:
        return NOTHING
    around = _current.get() if parent is None else parent
    return _Recorded(name, kind, around.context if isinstance(around, _Recorded) else None, attributes)


def of_request(headers: Mapping[str, str]) -> Span:
    """The span of a request, which becomes the current one. It goes on with the caller's trace, if its headers name
    one (`traceparent`, `tracestate` of W3C's Trace Context).
    """
    if _tracer is None:
        return NOTHING
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
    recorded = _Recorded("request", SERVER, TraceContextTextMapPropagator().extract(carrier), {})
    _current.set(recorded)
    return recorded


@contextmanager
def span(name: str, attributes: Attributes = NONE, *, kind: str = INTERNAL) -> Iterator[Span]:
    """A span for the length of a block, within which it is the current one."""
    begun = begin(name, attributes, kind=kind)
    before = _current.set(begun)
    error = ""
    try:
        yield begun
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        _current.reset(before)
        begun.end(error)
