"""Sends spans to the collector, by a thread of their own: nobody waits for it.

The SDK keeps as many spans as OTEL_BSP_MAX_QUEUE_SIZE says (2,048) and drops what comes beyond. It sends them every
OTEL_BSP_SCHEDULE_DELAY (5 s), and gives up after OTEL_EXPORTER_OTLP_TIMEOUT (10 s).
"""

import logging
import threading
import time
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from bedrock_chat.tracing import spans

SERVICE: Final = "bedrock-chat"
"""The service's name, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES give another one."""
FLUSH_SECONDS: Final = 1.0
LOG_SECONDS: Final = 60.0

_provider: Any = None


def begin() -> None:
    """Call this once, in a server or a worker. Raises ImproperlyConfigured where OpenTelemetry is not installed."""
    global _provider  # noqa: PLW0603  of this process
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        raise ImproperlyConfigured(
            "OTEL_EXPORTER_OTLP_ENDPOINT needs OpenTelemetry: pip install -r requirements-tracing.txt."
        ) from None
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
    logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter").addFilter(Seldom())
    _provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    spans.begin_with(_provider.get_tracer("bedrock_chat"))


def flush() -> None:
    """Before the process ends: sends what has gathered, and waits FLUSH_SECONDS at most."""
    if _provider is not None:
        thread = threading.Thread(target=_provider.force_flush, name="traces flush", daemon=True)
        thread.start()
        thread.join(FLUSH_SECONDS)


class Seldom(logging.Filter):
    """Passes a record in LOG_SECONDS: of a collector that is away, each batch would tell."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + LOG_SECONDS
        return True
