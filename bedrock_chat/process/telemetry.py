"""A process in the metrics and traces: whether it records, what it is, and what it takes of the machine."""

import os
import resource
import sys
from pathlib import Path
from typing import Final

from django.conf import settings

from bedrock_chat.metrics import instruments
from bedrock_chat.metrics.instruments import Gauge, Readings
from bedrock_chat.process import heartbeat, thread_pool
from bedrock_chat.tracing import exporting

SAMPLE_SECONDS: Final = 5.0

_role = ""


def begin(role_of_process: str) -> None:
    """Call this once, in a server ("web") or a worker ("worker"), before the first request or job."""
    global _role  # noqa: PLW0603  of this process
    _role = role_of_process
    if settings.METRICS_TOKEN:
        instruments.begin(str(settings.METRICS_DIR))
        instruments.sample()
        heartbeat.register("metrics", SAMPLE_SECONDS, instruments.sample)
    if settings.TRACING:
        exporting.begin()


def role() -> str:
    """What this process is, as `begin` was told."""
    return _role


def _processes() -> Readings:
    return {(_role,): 1.0}


def _resident() -> Readings:
    return {(_role,): float(_resident_bytes())}


def _resident_bytes() -> int:
    """Memory that this process has of the machine; where the system does not tell, the most that it ever had."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


PROCESSES = Gauge("bedrock_chat_processes", "Processes of this machine that record.", ("role",), read=_processes)
MEMORY = Gauge(
    "bedrock_chat_resident_memory_bytes", "Resident memory of the processes that record.", ("role",), read=_resident
)
THREADS = Gauge(
    "bedrock_chat_request_threads_busy",
    "Threads that are at work for requests and turns.",
    read=lambda: thread_pool.shared().busy,
)
