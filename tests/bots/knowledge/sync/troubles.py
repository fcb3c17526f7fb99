"""Every kind of fault that a sync meets: how it comes about, what the bot says of it, and what stays found."""

import gzip
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
from django.db import transaction
from django.test import override_settings

from bedrock_chat.blobs import s3_folders
from bedrock_chat.blobs.s3_storage import StorageUnavailable
from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.models import Job
from bedrock_chat.jobs.queue import LeaseLost
from bedrock_chat.ledger.budgets import setting
from bedrock_chat.ledger.budgets.models import PayerKind, Period, Unit
from bedrock_chat.ledger.budgets.setting import Wanted
from bots.knowledge import away, faults, revisions, status, syncing
from bots.knowledge.models import CrawlHost, Document
from bots.knowledge.planning import WORKERS_LOST
from bots.knowledge.reading import html, process, readers
from bots.knowledge.sources import fetching, robots, sitemaps, uploads
from tests.bots.knowledge.sources.site import page, redirect
from tests.bots.knowledge.sync import syncs
from tests.bots.knowledge.sync.worlds import Kind, World
from tests.ledger.budgets.spending import OPERATOR, budget
from tests.outbound.servers import Answer, Server, plain, raw, until_left

Happening = Callable[[World], Iterator[None]]
FOR_EVER: Final = 10_000
"""Calls of a model that fail: all that there will be."""
PAUSE: Final = 120


@dataclass(frozen=True)
class Trouble:
    """A fault, and what the bot is then.

    `happens` has it begin, and ends it. `reason` is what the bot says, with the source's name in `{odd}`; the wire may
    say more behind it. `document` is the state of the odd document. `keeps`: what it said before stays found. `spares`:
    the document that is well is found also in the first sync. `reads`: what the odd document says now is found all the
    same. `work` does the jobs. `is_later`: it can only happen to what was found before.
    """

    kinds: tuple[Kind, ...]
    happens: Happening
    state: str
    reason: str
    document: str
    keeps: bool = True
    spares: bool = True
    reads: bool = False
    work: Callable[[World], object] = lambda _: syncs.run()
    is_later: bool = False


def _nothing(_: World) -> Iterator[None]:
    yield


# ---- Sites ----------------------------------------------------------------------------------------------------------


def answers(answer: Answer, reason: str, *, document: str = "failed", keeps: bool = True) -> Trouble:
    """The page's server answers so."""

    def happens(world: World) -> Iterator[None]:
        world.show(answer)
        yield

    return Trouble(("page",), happens, "FAILED", f"{{odd}}: {reason}", document, keeps=keeps)


def refuses(status_line: str, *headers: str, keeps: bool = True) -> Trouble:
    answer = page("no", *headers, status=status_line)
    return answers(answer, f"answered {status_line[:3]}.", keeps=keeps)


def pauses(status_line: str) -> Trouble:
    """The page's server asks for a pause, which all bots and workers heed."""

    def happens(world: World) -> Iterator[None]:
        world.show(page("later", f"Retry-After: {PAUSE}", status=status_line))
        yield
        next_at = CrawlHost.objects.get(host=world.host).next_at
        assert timedelta(seconds=PAUSE / 2) < next_at - database_now() <= timedelta(seconds=PAUSE)

    return Trouble(("page",), happens, "FAILED", f"{{odd}}: answered {status_line[:3]}.", "failed")


def late(answer: Answer) -> Trouble:
    """The page's server is not through with its answer in time."""

    def happens(world: World) -> Iterator[None]:
        world.show(answer)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fetching, "PAGE_SECONDS", 0.5)
            yield

    return Trouble(("page",), happens, "FAILED", "{odd}: The server did not answer in time.", "failed")


def _silence(connection: socket.socket, _: str) -> None:
    until_left(connection)


def _drip(connection: socket.socket, _: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


def _endless(connection: socket.socket, _: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def _forbids(world: World) -> Iterator[None]:
    world.show(page(f"User-agent: *\nDisallow: {world.path}\n", "Content-Type: text/plain"), "/robots.txt")
    yield
    del world.site.pages["/robots.txt"]


BOMB: Final = page(gzip.compress(b"0" * 20_000_000), "Content-Encoding: gzip")
SCRIPT: Final = page('<html><body><div id="root"></div><script src="/app.js"></script></body></html>')
METADATA: Final = redirect("http://169.254.169.254/latest/meta-data/")
CUT: Final = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
LARGE: Final = "The server's answer is larger than 5 MB."


# ---- Files, sitemaps and folders ------------------------------------------------------------------------------------


def _no_text(world: World) -> Iterator[None]:
    world.upload(bytes(range(256)) * 4)
    yield


def _no_sitemap(world: World) -> Iterator[None]:
    world.show(page("<urlset><url><loc>http://", "Content-Type: application/xml"), f"{world.path}map.xml")
    yield


def _reader_killed(world: World) -> Iterator[None]:
    """The process that reads the page is killed at work."""
    ask = process.Process.ask

    def killed(self: process.Process, request: Any, **options: Any) -> Any:
        if request.kind == "html":
            os.kill(self.pid, signal.SIGKILL)
        return ask(self, request, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process.Process, "ask", killed)
        yield


def _s3_at(address: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_S3", address)
        s3_folders.forget_client()
        try:
            yield
        finally:
            s3_folders.forget_client()


def _s3_denied(_: World) -> Iterator[None]:
    denied = b"<Error><Code>AccessDenied</Code><Message>secret</Message></Error>"
    with Server(plain(denied, "403 Forbidden")) as server:
        yield from _s3_at(server.url)


def _s3_away(_: World) -> Iterator[None]:
    yield from _s3_at("http://127.0.0.1:1")


def _bucket_not_allowed(_: World) -> Iterator[None]:
    with override_settings(KNOWLEDGE_S3=()):
        yield


# ---- The embeddings model -------------------------------------------------------------------------------------------


def model(state: str, reason: str, document: str, *, spares: bool = False, reads: bool = False, **plan: Any) -> Trouble:
    """Calls for vectors fare so."""

    def happens(world: World) -> Iterator[None]:
        world.emulator.embeddings(**plan)
        yield
        world.emulator.embeddings()

    return Trouble(("page", "file"), happens, state, reason, document, spares=spares, reads=reads)


def fails(code: str, **trouble: Any) -> Trouble:
    """Every call fails in a way that may end: the sync waits for the model, and no document has failed."""
    reason = f"Titan Text Embeddings V2 refuses calls for now ({code}); it is asked again in a minute."
    return model("RUNNING", reason, "read", troubles=[{"times": FOR_EVER, **trouble}])


def _refuses_text(world: World) -> Iterator[None]:
    trouble = {"fault": "ValidationException", "message": "No.", "text": f"odd {world.number} says", "times": FOR_EVER}
    world.emulator.embeddings(troubles=[trouble])
    yield
    world.emulator.embeddings()


# ---- This server ----------------------------------------------------------------------------------------------------


def _storage_away(_: World) -> Iterator[None]:
    def unavailable(*_: Any) -> Any:
        raise StorageUnavailable

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uploads, "_copied", unavailable)
        yield


def _disk_away(_: World) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", "/nowhere")
        yield


def _workers_lost(world: World) -> Iterator[None]:
    Document.objects.filter(knowledge__bot=world.bot_id, location=world.location).update(attempts=WORKERS_LOST)
    yield


def _budget_used_up(world: World) -> Iterator[None]:
    budget(world.bot_id, "0", kind=PayerKind.BOT)
    yield
    wanted = Wanted(PayerKind.BOT, world.bot_id, Unit.TOKENS, Period.MONTH, is_hard=True)
    setting.remove_budget(wanted, actor=OPERATOR)


def _no_money(_: World) -> Iterator[None]:
    with override_settings(KNOWLEDGE_SYNC_MAX_COST=Decimal(0)):
        yield


def _killed(world: World) -> None:
    [job] = syncs.claim(revisions.KIND)
    with syncs.killed_after(world.chance.randrange(12, 40)):
        syncing.sync(job)


def _stopped(world: World) -> None:
    [job] = syncs.claim(revisions.KIND)
    with syncs.before_writing(world.chance.randrange(4), job.ending.request):
        syncing.sync(job)


def _slept(world: World) -> None:
    """A worker sleeps past its lease; another one does all of it meanwhile."""

    def sleep() -> None:
        Job.objects.filter(kind=revisions.KIND).update(due_at=database_now(), attempt=1)
        syncs.run()

    [job] = syncs.claim(revisions.KIND)
    with syncs.before_writing(world.chance.randrange(4), sleep), pytest.raises(LeaseLost):
        syncing.sync(job)


def _cancelled(world: World) -> None:
    def cancel() -> None:
        with transaction.atomic():
            assert revisions.cancel(world.bot_id)

    [job] = syncs.claim(revisions.KIND)
    with syncs.before_writing(world.chance.randrange(4), cancel):
        syncing.sync(job)


PAGE_OR_FILE: Final[tuple[Kind, ...]] = ("page", "file")
ANY: Final[tuple[Kind, ...]] = ("page", "file", "sitemap", "folder")
NO_ACCESS: Final = f"{faults.NO_ACCESS} Titan Text Embeddings V2 (amazon.titan-embed-text-v2:0) in us-east-1."
LOST: Final = faults.WORKER_LOST
BUDGET: Final = "The budget of this bot"
SPENT: Final = "This sync has cost 0.00 USD, and 0 USD are what it may cost."

TROUBLES: Final[Mapping[str, Trouble]] = {
    "401": refuses("401 Unauthorized"),
    "403": refuses("403 Forbidden"),
    "404": refuses("404 Not Found", keeps=False),
    "410": refuses("410 Gone", keeps=False),
    "500": refuses("500 Internal Server Error"),
    "429 and a pause": pauses("429 Too Many Requests"),
    "503 and a pause": pauses("503 Service Unavailable"),
    "a reset": answers(CUT, "The connection to the server broke before its answer was complete."),
    "silence": late(_silence),
    "a stream that drips": late(_drip),
    "a body without end": answers(_endless, LARGE),
    "a bomb of gzip": answers(BOMB, LARGE),
    "a redirect to metadata": answers(METADATA, "This address is not allowed."),
    "a picture": answers(page(b"x", "Content-Type: image/png"), status.NOTHING_LISTED, document="skipped", keeps=False),
    "a page that is made by JavaScript": answers(SCRIPT, html.MADE_BY_JAVASCRIPT),
    "robots.txt": Trouble(("page",), _forbids, "FAILED", f"{{odd}}: {robots.DISALLOWED}", "failed"),
    "a file that is no text": Trouble(("file",), _no_text, "FAILED", "{odd}: this file is not text", "failed"),
    "a reader that is killed": Trouble(("page",), _reader_killed, "FAILED", f"{{odd}}: {readers.DIED}", "failed"),
    "a torn sitemap": Trouble(("sitemap",), _no_sitemap, "FAILED", f"{{odd}}: {sitemaps.DAMAGED}", "ready"),
    "S3 denies": Trouble(("folder",), _s3_denied, "FAILED", "{odd}: S3 answered AccessDenied.", "ready"),
    "S3 is away": Trouble(("folder",), _s3_away, "FAILED", "{odd}: S3 cannot be reached.", "ready"),
    "S3 is not allowed": Trouble(
        ("folder",), _bucket_not_allowed, "FAILED", "{odd}: This bucket is not allowed here.", "ready"
    ),
    "a throttled model": fails("ThrottlingException", fault="ThrottlingException"),
    "a broken model": fails("InternalServerException", fault="InternalServerException"),
    "an answer without vectors": fails("UnreadableResponse", answer={"embedding": [1.0]}),
    "an answer that is cut": fails("ConnectionCut", cut=True),
    "a model without access": model(
        "FAILED", NO_ACCESS, "read", troubles=[{"fault": "AccessDeniedException", "times": FOR_EVER}]
    ),
    "a text that is too long": model("SUCCEEDED", status.SUCCEEDED, "ready", spares=True, reads=True, most_tokens=50),
    "a slow model": model("SUCCEEDED", status.SUCCEEDED, "ready", spares=True, reads=True, wait=0.2),
    "a text that is refused": Trouble(
        PAGE_OR_FILE, _refuses_text, "FAILED", "{odd}: Titan Text Embeddings V2 refused the text.", "failed"
    ),
    "a storage that is away": Trouble(("file",), _storage_away, "RUNNING", away.STORAGE_AWAY, "", spares=False),
    "a disk that is away": Trouble(ANY, _disk_away, "RUNNING", away.DISK_AWAY, "", spares=False),
    "three lost workers": Trouble(ANY, _workers_lost, "FAILED", f"{{odd}}: {LOST}", "failed", is_later=True),
    "a budget that is used up": Trouble(PAGE_OR_FILE, _budget_used_up, "FAILED", BUDGET, "read", spares=False),
    "a sync that may cost nothing": Trouble(PAGE_OR_FILE, _no_money, "FAILED", SPENT, "read", spares=False),
    "a worker that is killed": Trouble(ANY, _nothing, "QUEUED RUNNING", "", "", spares=False, work=_killed),
    "a worker that is stopped": Trouble(ANY, _nothing, "QUEUED RUNNING", "", "", spares=False, work=_stopped),
    "a lost lease": Trouble(ANY, _nothing, "SUCCEEDED", status.SUCCEEDED, "ready", reads=True, work=_slept),
    "a cancelled sync": Trouble(ANY, _nothing, "FAILED", revisions.CANCELLED, "", spares=False, work=_cancelled),
}


def happening(trouble: Trouble, world: World) -> Any:
    """Inside the block the fault happens in a world."""
    return contextmanager(trouble.happens)(world)
