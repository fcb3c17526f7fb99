"""Syncs of a site, in the server's environment: `SITE PAGES`. Prints one JSON line.

One worker, the slices one after another. The bound of pages a minute is set aside; site and emulator are processes of
their own, whose CPU does not count. The readers' does.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import ip_network
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.db.models import F  # noqa: E402
from rest_framework.test import APIClient  # noqa: E402

from bedrock_chat.jobs import queue  # noqa: E402
from bedrock_chat.ledger.models import ModelCall  # noqa: E402
from bots.knowledge import revisions, syncing  # noqa: E402
from bots.knowledge.models import Document, Knowledge  # noqa: E402
from bots.knowledge.reading import readers  # noqa: E402
from tests.bench.processes import cpu_seconds  # noqa: E402
from tests.bots.bot import KNOWLEDGE, make  # noqa: E402
from tests.emulator import Emulator  # noqa: E402
from tests.people import auth  # noqa: E402

ROUNDS = 3


def main(site: str, pages: int) -> None:
    settings.DEBUG = False  # or each statement would be kept
    settings.OUTBOUND_ALLOW = ((ip_network("127.0.0.0/8"),), frozenset())
    settings.CRAWL_PAGES_PER_MINUTE = 100_000
    client = APIClient()
    client.credentials(**auth("alice", "CreatingBotAllowed"))
    figures = {}
    with Emulator() as emulator:
        settings.BEDROCK_ENDPOINT_URL = emulator.url
        for folder in ("tagged", "plain"):
            make(client, folder, knowledge={**KNOWLEDGE, "sourceUrls": [f"{site}/{folder}/"]})
            figures[folder] = measured(folder, pages)
    print(json.dumps(figures))


def measured(bot_id: str, pages: int) -> dict[str, Any]:
    """The first sync, and syncs of what has not changed: of these the median by CPU."""
    first = timed(bot_id, pages)
    calls, again = ModelCall.objects.count(), []
    for _ in range(ROUNDS):
        with transaction.atomic():
            revisions.request(bot_id)
        again.append(timed(bot_id, pages))
    again.sort(key=lambda figures: figures["cpuMsAPage"])
    unchanged = {**again[ROUNDS // 2], "statementsAPage": statements(bot_id, pages)}
    assert Document.objects.filter(knowledge__bot=bot_id, state="ready").count() >= pages
    return {"first": first, "unchanged": unchanged, "modelCallsOfUnchanged": ModelCall.objects.count() - calls}


def timed(bot_id: str, pages: int) -> dict[str, float]:
    began, cpu = time.monotonic(), _cpu()
    sync(bot_id)
    return {
        "s": round(time.monotonic() - began, 1),
        "cpuMsAPage": round((_cpu() - cpu) / pages * 1e3, 2),
    }


def statements(bot_id: str, pages: int) -> float:
    """Statements a page of one more sync."""
    count = 0

    def counted(execute: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal count
        count += 1
        return execute(*arguments)

    with transaction.atomic():
        revisions.request(bot_id)
    with ExitStack() as stack:
        stack.enter_context(connection.execute_wrapper(counted))
        sync(bot_id)
    return round(count / pages, 2)


def sync(bot_id: str) -> None:
    """Does the job until the sync is over."""
    wanted = Knowledge.objects.filter(bot_id=bot_id, wanted__gt=F("done"))
    while wanted.exists():
        jobs = queue.claim("bench", 1, kind=revisions.KIND)
        for job in jobs:
            syncing.sync(job)
        if not jobs:
            time.sleep(0.05)
    assert Knowledge.objects.get(bot_id=bot_id).sync_status == "SUCCEEDED"


def _cpu() -> float:
    """Of this process and its readers, those that have ended too."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    alive = sum(map(cpu_seconds, readers.shared(settings.KNOWLEDGE_READERS).pids))
    return time.process_time() + ended.ru_utime + ended.ru_stime + alive


main(sys.argv[1], int(sys.argv[2]))
