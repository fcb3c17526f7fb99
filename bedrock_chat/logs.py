"""Logs: one JSON line per event in production, readable ones in development.

Every request leaves one line with its id, user, route, status and duration, and whatever the request's code bound
(`bind(model=…, price=…)`). Bodies, headers, tokens, keys, prompts and answers are never logged.
"""

import logging
import re
import time
from collections.abc import Callable
from typing import Any

import structlog
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from structlog.typing import EventDict, WrappedLogger

from bedrock_chat.wire.ids import new_id

_SOUND_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SECRET = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]+|(?i:bearer)\s+\S+")
logger = structlog.get_logger("bedrock_chat.request")


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Belt and braces: nothing that looks like a token leaves the process, whoever logged it."""
    for key, value in event.items():
        if isinstance(value, str) and ("eyJ" in value or "earer" in value):
            event[key] = _SECRET.sub("[token]", value)
    return event


_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure(*, as_json: bool, level: str) -> dict[str, Any]:
    """Sets structlog up and returns Django's LOGGING, which sends everybody's records through the same formatter."""
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    last: list[Any] = (
        [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer()]
        if as_json
        else [redact, structlog.dev.ConsoleRenderer(colors=False)]
    )
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": _SHARED,
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"events": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "events"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django.request": {"level": "CRITICAL"},  # our own line says it, without a path full of ids
            "django.server": {"level": "CRITICAL"},
            "uvicorn.access": {"level": "CRITICAL"},
            "django": {"handlers": [], "level": level, "propagate": True},
        },
    }


def bind(**facts: Any) -> None:
    """Adds facts to the line of the running request; None is left out."""
    structlog.contextvars.bind_contextvars(**{name: fact for name, fact in facts.items() if fact is not None})


class AccessLogMiddleware:
    """The outermost middleware: the request's id, and its one line."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        structlog.contextvars.clear_contextvars()
        given = request.headers.get("X-Request-ID", "")
        request_id = given if _SOUND_ID.fullmatch(given) else new_id()
        bind(request_id=request_id)
        response = self.get_response(request)
        response.headers["X-Request-ID"] = request_id
        match = request.resolver_match
        logger.log(
            logging.WARNING if response.status_code >= 500 else logging.INFO,
            "request",
            method=request.method,
            route=match.route if match else None,
            status=response.status_code,
            ms=round((time.perf_counter() - started) * 1000, 1),
        )
        structlog.contextvars.clear_contextvars()
        return response
