"""Small views that show what the server does to requests, threads and connections."""

import asyncio
import hashlib
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.db import connection
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.utils import translation
from django.views.decorators.csrf import csrf_exempt

from bedrock_chat import logs
from bedrock_chat.process.watching import Topic
from bedrock_chat.serving import waits
from bedrock_chat.wire.requests import CALLER

PATIENT = "patient"


class Stage:
    """What a test shares with the views that it calls. Views that wait do so until the test opens `gate`."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.happened: list[str] = []
        self.closed_on: list[str] = []
        self.file = CountingFile(0)
        self.answered = set[str]()
        self.pause = 0.0
        self.request_ids: list[str] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def note(self, event: str) -> None:
        self.happened.append(event)


class CountingFile:
    """A file of zeros that notes how far it was read, and in which sizes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.position = 0
        self.read_sizes: set[int] = set()
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        self.read_sizes.add(size)
        size = min(size if size >= 0 else self.size, self.size - self.position)
        self.position += size
        return bytes(size)

    def close(self) -> None:
        self.closed = True


class ClosingNoted(StreamingHttpResponse):
    """A stream that notes on which thread it was closed."""

    def close(self) -> None:
        super().close()
        stage.closed_on.append(threading.current_thread().name)


stage = Stage()


def anybody(request: HttpRequest) -> str | None:
    """A judge who knows everyone who says who they are."""
    return request.headers.get("X-Caller")


@csrf_exempt
def echo(request: HttpRequest) -> HttpResponse:
    body = request.read()
    return JsonResponse(
        {
            "method": request.method,
            "path": request.path,
            "query": request.META["QUERY_STRING"],
            "length": len(body),
            "content_length": request.META.get("CONTENT_LENGTH"),
            "sha256": hashlib.sha256(body).hexdigest(),
            "headers": {key: value for key, value in request.META.items() if key.startswith("HTTP_")},
            "client": request.META["REMOTE_ADDR"],
            "language": translation.get_language(),
        }
    )


def nap(request: HttpRequest) -> HttpResponse:
    time.sleep(0.05)
    return HttpResponse("rested")


def wait(request: HttpRequest) -> HttpResponse:
    stage.note("waiting")
    stage.gate.wait(10)
    stage.note("done")
    return HttpResponse("done")


def patient(request: HttpRequest, name: str) -> HttpResponse:
    """Waits until `stage.answered` has the name, for `?seconds=…`."""
    state = "answered" if name in stage.answered else "nothing yet"
    had_noted, request.META["noted"] = "noted" in request.META, True
    stage.request_ids.append(logs.request_id())
    if not waits.has_waited(request):
        waits.ask(request, [Topic(PATIENT, name)], float(request.GET["seconds"]))
        return HttpResponse(f"[{state}]", status=404)
    with stage.lock:
        stage.at_once += 1
        stage.most_at_once = max(stage.most_at_once, stage.at_once)
    time.sleep(stage.pause)
    with stage.lock:
        stage.at_once -= 1
    waits.ask(request, [Topic(PATIENT, name)], 20)
    return HttpResponse(f"[after: {state}, {'with' if had_noted else 'without'} what the first call had noted]")


def speak(request: HttpRequest) -> HttpResponse:
    translation.activate("de")
    return HttpResponse("gesprochen")


def events(request: HttpRequest) -> HttpResponseBase:
    if request.GET.get("query"):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    async def parts() -> AsyncIterator[str]:
        try:
            yield "first\n"
            while not stage.gate.is_set():  # noqa: ASYNC110  the test opens it from another thread
                await asyncio.sleep(0.01)
            if request.GET.get("fail"):
                raise RuntimeError("in mid-stream")
            yield "second\n"
        finally:
            stage.note("generator closed")

    return ClosingNoted(parts(), content_type="text/event-stream")


def lines(request: HttpRequest) -> HttpResponseBase:
    names = set()

    def parts() -> Iterator[str]:
        for number in range(int(request.GET.get("count", "3"))):
            names.add(threading.current_thread().name)
            stage.note(f"line {number}")
            yield f"{number} {'x' * 10_000}\n"
        yield f"threads: {len(names)}\n"

    return ClosingNoted(parts())


def file(request: HttpRequest) -> HttpResponseBase:
    size = int(request.GET["size"])
    stage.file = CountingFile(size)
    return FileResponse(stage.file, headers={"Content-Length": size})


def whole(request: HttpRequest) -> HttpResponse:
    request.META[CALLER] = anybody(request) or ""
    return HttpResponse(bytes(int(request.GET["size"])), headers={"X-Request-ID": "kept"})


def crash(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a secret of the inside")


def leave(request: HttpRequest) -> HttpResponse:
    sys.exit("a secret of the inside")


class Unreadable(HttpResponse):
    def __iter__(self) -> Any:
        raise RuntimeError("a secret of the inside")


def unreadable(request: HttpRequest) -> HttpResponse:
    return Unreadable("text")


def status(request: HttpRequest, code: int) -> HttpResponse:
    return HttpResponse(b"" if code == 204 else b"not to be seen", status=code)


urlpatterns = [
    path("echo", echo),
    path("nap", nap),
    path("wait", wait),
    path("patient/<str:name>", patient),
    path("speak", speak),
    path("events", events),
    path("lines", lines),
    path("file", file),
    path("whole", whole),
    path("crash", crash),
    path("leave", leave),
    path("unreadable", unreadable),
    path("status/<int:code>", status),
]
handler500 = "tests.serving.urls.error"


def error(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"detail": "Internal server error.", "errors": ["Internal server error."]}, status=500)
