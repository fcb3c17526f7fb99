"""Syncs in the test's own process: jobs are claimed and done as a worker does them, and what can be found is told."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import pytest
from django.apps import apps
from django.db import connection, transaction
from rest_framework.test import APIClient

from bedrock_chat.bedrock import embeddings
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job
from bedrock_chat.jobs.queue import Claimed
from bots.knowledge import deleting, revisions, syncing, upkeep
from bots.knowledge.models import Chunk, Document, Edition, EditionState, Knowledge
from tests.bots.bot import read
from tests.emulator import Emulator

HANDLERS = {revisions.KIND: syncing.sync, deleting.KIND: deleting.purge}
MOST_SLICES = 60


def claim(kind: str) -> list[Claimed]:
    return queue.claim("worker", 10, kind=kind)


def run(*kinds: str, most: int = MOST_SLICES) -> int:
    """Does the jobs of these kinds that are due, by default all of knowledge, and those that they ask for."""
    done = 0
    for _ in range(most):
        jobs = [job for kind in (kinds or HANDLERS) for job in claim(kind)]
        if not jobs:
            return done
        for job in jobs:
            HANDLERS[job.kind](job)
            if not job.finished:
                with transaction.atomic():
                    job.finish()
            done += 1
    raise AssertionError(f"After {most} rounds there is still something to do: {list(Job.objects.values())}")


def look_after() -> None:
    """The periodic job."""
    upkeep.look_after(None)  # type: ignore[arg-type]


def again() -> None:
    """Somebody requests the bot's next sync, and it is done."""
    with transaction.atomic():
        revisions.request("b")
    run()


def shown(client: APIClient, bot_id: str = "b") -> tuple[str, str]:
    """What its caller sees of the bot's sync: the status, and why."""
    bot = read(client, bot_id)
    return bot["syncStatus"], bot["syncStatusReason"]


def slices(between: Callable[[int], None], *, most: int = 200) -> int:
    """As `run`, of syncs alone; `between` is called after each slice."""
    for number in range(most):
        jobs = claim(revisions.KIND)
        if not jobs:
            return number
        for job in jobs:
            syncing.sync(job)
        between(number)
    raise AssertionError("The sync does not end.")


class Killed(BaseException):
    """The process is gone."""


@contextmanager
def before_writing(moment: int, action: Callable[[], None]) -> Iterator[None]:
    """Does something before the transaction of this number in a slice."""
    writing, left = syncing.Slice.writing, moment

    def counted(slice_: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == -1:
            action()
        return writing(slice_, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syncing.Slice, "writing", counted)
        yield


@contextmanager
def killed_after(statements: int) -> Iterator[None]:
    """Ends the work at the statement of this number as a SIGKILL would: what is not committed has never been."""
    left = statements

    def before_statement(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        nonlocal left
        left -= 1
        if left == -1:
            raise Killed
        return execute(sql, params, many, context)

    try:
        with connection.execute_wrapper(before_statement):
            yield
    except Killed:
        pass


def knowledge(bot_id: str = "b") -> Knowledge:
    return Knowledge.objects.get(bot_id=bot_id)


def texts(bot_id: str = "b") -> list[str]:
    """What a search could find: the chunks of live editions of the index that serves."""
    serving = knowledge(bot_id).serving_id
    live = Edition.objects.filter(index=serving, state=EditionState.LIVE)
    chunks = Chunk.objects.filter(edition__in=live, is_parent=False).order_by("edition__document__location", "position")
    return list(chunks.values_list("text", flat=True))


def states(bot_id: str = "b") -> dict[str, str]:
    """The state of each document, by its location."""
    documents = Document.objects.filter(knowledge__bot=bot_id).exclude(state="removed")
    return dict(documents.values_list("location", "state"))


def embedded(emulator: Emulator) -> int:
    """How many texts the model has embedded since the last look."""
    number = emulator.embedded()["texts"]
    emulator.control("POST", "reset")
    return number


def calm() -> None:
    """Forgets that a model has refused calls."""
    embeddings.PLACES.__init__(embeddings.AT_ONCE, embeddings.CALM_SECONDS)  # type: ignore[misc]


def counts() -> dict[str, int]:
    """How many rows every table of knowledge has, also those of the kernel's search."""
    tables = {model._meta.label: model for model in apps.get_models() if _is_of_knowledge(model)}
    return {label: model._default_manager.count() for label, model in tables.items()}


def _is_of_knowledge(model: Any) -> bool:
    module = model.__module__
    return (module == "bots.knowledge.models" and model.__name__ != "CrawlHost") or module.startswith(
        ("bedrock_chat.search.vectors", "bedrock_chat.search.passages")
    )


class Site:
    """A web server of this machine. `pages` are bodies by path, or a status with headers and a body."""

    def __init__(self, pages: dict[str, Any]) -> None:
        self.pages = pages
        self.requests: Counter[str] = Counter()
        self.unchanged: Counter[str] = Counter()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.requests[self.path] += 1
                page = site.pages.get(self.path, (404, {}, b""))
                status, headers, body = page if isinstance(page, tuple) else (200, {}, page)
                body = body.encode() if isinstance(body, str) else body
                tag = f'"{hash(body)}"'
                if status == 200 and self.headers.get("If-None-Match") == tag:
                    site.unchanged[self.path] += 1
                    status, body = 304, b""
                self.send_response(status)
                kind = "application/xml" if self.path.endswith(".xml") else "text/html; charset=utf-8"
                for name, value in {"Content-Type": kind, "ETag": tag, **headers}.items():
                    self.send_header(name, value)
                if status != 304:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing is printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def page(title: str, text: str, *links: str) -> str:
    """A page of a site that is worth reading."""
    anchors = "".join(f'<li><a href="{link}">{link}</a></li>' for link in links)
    return (
        f"<html><head><title>{title}</title></head><body><article><h1>{title}</h1>"
        f"<p>{text} This page says so in more than one sentence, so that it is read as an article. "
        f"It goes on for a while, as pages do, and it ends where nothing more is to be said.</p></article>"
        f"<ul>{anchors}</ul></body></html>"
    )
