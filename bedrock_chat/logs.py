"""Logs: one JSON line per event in production, readable ones in development.

Every request leaves one line with its id, user, route, status and duration, and whatever the request's code bound
(`bind(model=…, price=…)`). Bodies, headers, tokens, keys, prompts and answers are never logged.
"""

import logging
import re
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from http import HTTPStatus
from types import TracebackType
from typing import Any, TextIO

import orjson
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from bedrock_chat.metrics.instruments import OTHER, Counter, Histogram
from bedrock_chat.start import optional
from bedrock_chat.tracing import spans
from bedrock_chat.tracing.spans import Span
from bedrock_chat.wire.ids import new_id
from bedrock_chat.wire.requests import AFTER_RESPONSE, WAITED

with optional.left_out("rich", "better_exceptions"):  # for coloured tracebacks, which no log has: 60 ms and 4 MB
    import structlog
    from structlog.typing import EventDict, Processor, WrappedLogger

LONGEST_MESSAGE = 300
MOST_UNWRITTEN = 1000
"""Lines that may wait while stderr takes nothing. Then whoever logs waits, too."""

_SOUND_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SECRET = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*|(?i:\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}")
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")

logger = logging.getLogger("bedrock_chat.request")

REQUESTS = Counter(
    "bedrock_chat_requests_total",
    "Requests that were answered, and messages over WebSockets.",
    ("method", "route", "status"),
)
DURATION = Histogram(
    "bedrock_chat_request_duration_seconds",
    "How long requests took; a stream to its end.",
    ("method", "route"),
)
CONSOLE = "/console/"
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})

# One dictionary per request, not one context variable per fact: the threads and tasks that work on a request share it.
# So a stream's line, which is written when the stream ends, contains what was bound meanwhile.
_facts: ContextVar[dict[str, Any] | None] = ContextVar("facts of the request", default=None)


def bind(**facts: Any) -> None:
    """Adds facts to the line of the running request, and to its other events. Facts that are None are left out."""
    current = _facts.get()
    if current is not None:
        current.update((name, fact) for name, fact in facts.items() if fact is not None)


def request_id() -> str:
    """The id of the running request, empty outside of one."""
    return str((_facts.get() or {}).get("request_id", ""))


# ---- How events are written -----------------------------------------------------------------------------------------


def _with_facts(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {**(_facts.get() or {}), **event}


def traceback_text(exc_info: tuple[type[BaseException], BaseException, TracebackType | None]) -> str:
    """A traceback that keeps only the first line of each error's message.

    In the lines after it databases quote the failing row, and botocore the refused parameter: what users wrote.
    """
    error: BaseException | None = exc_info[1]
    entries: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        message = str(error).partition("\n")[0][:LONGEST_MESSAGE]
        entries.append("".join(traceback.format_tb(error.__traceback__)) + f"{type(error).__qualname__}: {message}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\nwhich led to\n\n".join(reversed(entries))


def redacted(render: Processor) -> Processor:
    """A second safeguard: whatever looks like a token is removed from every line, whichever code logged it."""

    def render_and_redact(wrapped: WrappedLogger, name: str, event: EventDict) -> str:
        line = str(render(wrapped, name, event))
        # The regular expression takes as long as all the rest, so it runs only where a token is possible.
        return _SECRET.sub("[token]", line) if "eyJ" in line or "bearer" in line.lower() else line

    return render_and_redact


def _as_json(event: MutableMapping[str, Any], default: Callable[[Any], Any]) -> str:
    return orjson.dumps(event, default=default, option=orjson.OPT_NON_STR_KEYS).decode()


class CompleteEvent(dict[str, Any]):
    """An event that has all its fields, in the order in which they are written."""


class EventFormatter(structlog.stdlib.ProcessorFormatter):
    """structlog's formatter, with a short way for complete events.

    For every record structlog copies it and walks its chain of processors. That takes longer than all the rest of a
    request's line, which needs none of it.
    """

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record.msg, CompleteEvent):
            render = self.processors[-1]
            return str(render(None, record.levelname.lower(), dict(record.msg)))
        return super().format(record)


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines to stderr. Whoever finds nobody writing writes for all, so that no request waits for another's line.

    Python's handler holds its lock while it makes a line and writes it. During the write another thread takes the
    interpreter over, and all that log meanwhile stand in line behind one that waits for it.

    A line may stay with the thread that writes just now for as long as a write takes. Warnings and errors are written
    when the call returns, and so is every line while more than MOST_UNWRITTEN wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines = deque[str]()

    def handle(self, record: logging.LogRecord) -> bool:
        if not self.filter(record):
            return False
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(f"{self.format(record)}{self.terminator}")
            if record.levelno >= logging.WARNING or len(self._lines) > MOST_UNWRITTEN:
                self.flush()
            else:
                self._write_unless_another_does()
        except Exception:  # noqa: BLE001  Python's way: whoever logs does not fail
            self.handleError(record)

    def flush(self) -> None:
        """Returns when every line is written."""
        self.acquire()
        try:
            self._write()
        finally:
            self.release()
        self._write_unless_another_does()

    def _write_unless_another_does(self) -> None:
        # Looks again after each write: who came during it has left its line to this thread.
        while self._lines and self.lock is not None and self.lock.acquire(blocking=False):
            try:
                self._write()
            finally:
                self.release()

    def _write(self) -> None:
        lines = []
        while self._lines:
            lines.append(self._lines.popleft())
        self.stream.write("".join(lines))
        self.stream.flush()


class Tracebacks(logging.Filter):
    """Passes only records with a traceback. Django's other lines about requests repeat ours, with raw paths."""

    def filter(self, record: logging.LogRecord) -> bool:
        return bool(record.exc_info)


_stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)

_SHARED: list[Processor] = [
    _with_facts,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    _stamp,
]


def configure(*, as_json: bool, level: str) -> dict[str, Any]:
    """Sets structlog up and returns Django's LOGGING, which formats the records of every logger alike."""
    # No line tells which thread or process wrote it, so a record need not find out.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Processor = (
        structlog.processors.JSONRenderer(serializer=_as_json)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    )
    formatter = {
        "()": EventFormatter,
        "foreign_pre_chain": _SHARED,
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.ExceptionRenderer(traceback_text),
            redacted(renderer),
        ],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"events": formatter},
        "filters": {"tracebacks": {"()": Tracebacks}},
        "handlers": {"stderr": {"()": LineHandler, "formatter": "events"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"handlers": [], "level": level, "propagate": True},
            "django.request": {"filters": ["tracebacks"], "level": "ERROR"},
            "django.server": {"level": "CRITICAL"},
            "uvicorn.access": {"level": "CRITICAL"},
            # At INFO it writes the addresses of opened WebSockets, with their query strings.
            "uvicorn.error": {"level": max(level, "WARNING", key=logging.getLevelName)},
            # At DEBUG these write out statements, requests and headers, and so prompts, answers and credentials.
            **{
                name: {"level": max(level, "INFO", key=logging.getLevelName)}
                for name in (
                    "django.db.backends",
                    "boto3",
                    "botocore",
                    "s3transfer",
                    "urllib3",
                    "uvicorn",
                    "websockets",
                )
            },
        },
    }


# ---- One line per request -------------------------------------------------------------------------------------------


class AccessLogMiddleware:
    """The outermost middleware: the request's id, its one line, its metrics and its span. Those of a stream come when
    it ends.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Takes the client's X-Request-ID if it is a sound one, else makes one, and puts it on the response.

        Of a request that has waited, the duration includes the wait.
        """
        waited: float | None = request.META.get(WAITED)
        started = time.perf_counter() - (waited or 0.0)
        client_id = request.headers.get("X-Request-ID", "")
        request_id = client_id if _SOUND_ID.fullmatch(client_id) else new_id()
        facts: dict[str, Any] = {"request_id": request_id}
        if waited is not None:
            facts["waited_ms"] = round(waited * 1000, 1)
        _facts.set(facts)
        span = spans.of_request(request.headers)
        response = self.get_response(request)
        response.headers["X-Request-ID"] = request_id
        match = request.resolver_match
        route = _template(match.route) if match and match.route else None
        method, status, counted = request.method, response.status_code, _counted_method(request)
        if response.streaming:
            # Django has no public hook for the end of a stream. Facts that are bound until then are logged.
            response._resource_closers.append(  # type: ignore[attr-defined]
                lambda: _end(span, facts, method, route, status, time.perf_counter() - started, counted)
            )
            return response
        seconds = time.perf_counter() - started
        _facts.set(None)
        after_response: list[Callable[[], object]] | None = request.META.get(AFTER_RESPONSE)
        if after_response is None:
            _end(span, facts, method, route, status, seconds, counted)
        else:
            after_response.append(lambda: _end(span, facts, method, route, status, seconds, counted))
        return response


@contextmanager
def line(*, method: str, route: str) -> Iterator[Callable[[int], None]]:
    """Writes the line of something that is no HTTP request. Yields a function that sets its status (500 until then)."""
    started, facts = time.perf_counter(), {"request_id": new_id()}
    before = _facts.set(facts)
    statuses = [HTTPStatus.INTERNAL_SERVER_ERROR.value]
    with spans.span(method, kind=spans.SERVER) as span:
        try:
            yield statuses.append
        finally:
            _end(span, facts, method, route, int(statuses[-1]), time.perf_counter() - started, method)
            _facts.reset(before)


def _counted_method(request: HttpRequest) -> str:
    """The method under which a request is counted. One that its route does not serve is OTHER: a stranger could send
    each of them to every route.
    """
    method = request.method or OTHER
    served = getattr(request.resolver_match and request.resolver_match.func, "actions", METHODS)
    return method if method in METHODS and (served is METHODS or method.lower() in served) else OTHER


def _end(
    span: Span,
    facts: dict[str, Any],
    method: str | None,
    route: str | None,
    status: int,
    seconds: float,
    counted_method: str,
) -> None:
    """A request is over. The routes of the console, which are many and have few visitors, count as one."""
    counted_route = OTHER if route is None else CONSOLE if route.startswith(CONSOLE) else route
    REQUESTS.add(counted_method, counted_route, f"{status // 100}xx")
    DURATION.observe(seconds, counted_method, counted_route)
    if span is not spans.NOTHING:
        _end_span(span, facts, counted_method, counted_route, status)
    _write_line(facts, method, route, status, seconds)


def _end_span(span: Span, facts: dict[str, Any], method: str, route: str, status: int) -> None:
    span.rename(f"{method} {route}")
    span.note(
        {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "bedrock_chat.request.id": str(facts.get("request_id", "")),
        }
    )
    span.end(str(status) if status >= 500 else "")


def _write_line(facts: dict[str, Any], method: str | None, route: str | None, status: int, seconds: float) -> None:
    level = logging.WARNING if status >= 500 else logging.INFO
    if not logger.isEnabledFor(level):
        return
    event = CompleteEvent(
        facts,
        method=method,
        route=route,
        status=status,
        duration_ms=round(seconds * 1000, 1),
        event="request",
        logger=logger.name,
        level="warning" if level == logging.WARNING else "info",
    )
    # A record is made here, since logging would look for the calling line in the stack, which nobody reads.
    record = logging.LogRecord(logger.name, level, __file__, 0, _stamp(logger, "", event), None, None)
    logger.handle(record)


@lru_cache(maxsize=512)
def _template(route: str) -> str:
    """`conversation/<str:conversation_id>` as `/conversation/{conversation_id}`, the way the API document writes it."""
    return "/" + _PARAMETER.sub(r"{\1}", route)
