"""`make bench-published`: what a published API's requests cost against an empty view, how soon a worker begins, what it
costs that many wait for answers, and what a chat completion of OpenAI's clients costs against a turn of the main API.

One JSON document on stdout. The server has one core, the load generator and the worker the other.
"""

import base64
import json
import os
import random
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import completions, load, waits
from tests.bench.goals import Goal, judged
from tests.bench.processes import LOAD_CORE, ROOT, SERVER_CORE, Process, choose, environment, manage, on_each_database
from tests.bench.progress import say
from tests.emulator import Emulator
from tests.jobs.conftest import Workshop
from tests.publication.seed import PUBLISH, SYNCS

CONNECTIONS = (16, 256)
QUESTION = {"message": {"content": [{"contentType": "text", "body": "hello"}], "model": "claude-v3.7-sonnet"}}
BODY = json.dumps(QUESTION).encode()
POST = "/published/helper/api/conversation"
KEYS = """
from bedrock_chat.encryption import encrypting
from publication import keys
published()
open_key = ApiKey.objects.get()
with transaction.atomic():
    Publication.objects.update(quota_limit=10**9, quota_period="DAY", rate_limit=1e6, burst_limit=10**6)
    shut = keys.add(Publication.objects.get(), "shut", actor=owner())
from publication.models import Gate
from publication.limits import label_of
from bedrock_chat.database.connections import database_now
Gate.objects.filter(account=shut.key.lineage).update(used=10**9, period=label_of("DAY", database_now()))
print(json.dumps([encrypting.decrypt(open_key.encrypted_value), shut.value]))
"""
WAITS = """
from conversations.models import Message
opened = dict(Message.objects.filter(role="user").values_list("external_id", "created_at"))
rows = TurnRequest.objects.exclude(done_at=None).values_list("message_id", "accepted_at")
print(json.dumps([(opened[message] - at).total_seconds() * 1000 for message, at in rows]))
"""
CLEAR = ("publication_turnrequest", "bedrock_chat_job")
SYNCS_BESIDE = 20
SYNC_CALL_SECONDS = 0.1
"""What a model takes for a passage's vector."""


@dataclass(frozen=True)
class Size:
    """Requests of a leg and its rounds, chat completions of a leg, questions that are picked up; and of those who wait
    their number, the requests that do not wait, and the rounds. Ratios are medians of rounds, so many short rounds tell
    more than a few long ones.
    """

    requests: int
    rounds: int
    completions: int
    turns: int
    waiters: int
    health: int
    waits: int


FULL = Size(requests=400, rounds=5, completions=100, turns=100, waiters=2000, health=1000, waits=3)
QUICK = Size(requests=300, rounds=1, completions=150, turns=10, waiters=50, health=300, waits=1)


class ApiConnection(load.Connection):
    """A connection that brings a key, and takes any answer that is expected."""

    def post(self, path: str, key: str, expected: bytes) -> None:
        self._send("POST", path, BODY, "", f"x-api-key: {key}\r\n")
        status, length = self._head()
        answer = self._file.read(length)
        if expected not in status:
            raise RuntimeError(f"{status!r} {answer[:200]!r}")


def costs(server: Process, workshop: Workshop, connections: int, requests: int, rounds: int, keys: list[str]) -> Any:
    """CPU of the server for each kind of request, the median of rounds that take turns."""
    open_key, shut_key = keys
    legs = {
        "empty": ("/empty", "", b" 200 "),
        "oneStatement": ("/one-statement", "", b" 200 "),
        "accepted": (POST, open_key, b" 200 "),
        "refused": (POST, shut_key, b" 429 "),
    }
    cpu: dict[str, list[float]] = {name: [] for name in legs}
    latencies: dict[str, list[float]] = {name: [] for name in legs}
    for number in range(rounds + 1):
        for name, (path, key, expected) in legs.items():
            begun = server.cpu

            def send(connection: load.Connection, _: int, leg: tuple[str, str, bytes] = (path, key, expected)) -> None:
                assert isinstance(connection, ApiConnection)
                connection.post(*leg)

            took = load.run(server.url, connections, requests, send, ApiConnection)
            if number:  # the first round loads what is loaded once
                cpu[name].append((server.cpu - begun) / requests * 1000)
                latencies[name] += took
            for table in CLEAR:
                workshop.sql(f"DELETE FROM {table}")
    median = {name: statistics.median(values) for name, values in cpu.items()}
    return {
        name: {
            "cpuMs": round(median[name], 3),
            "ratioToEmpty": round(median[name] / median["empty"], 2),
            "p50Ms": round(statistics.median(latencies[name]), 1),
            "p95Ms": round(load.percentile(sorted(latencies[name]), 0.95), 1),
        }
        for name in legs
    }


def pick_up(server: Process, workshop: Workshop, key: str, turns: int, *, syncs: int = 0) -> dict[str, float]:
    """Milliseconds between the acceptance of a question and the opening of its turn by a worker.

    It is idle, or has so many syncs of bots' knowledge to do beside: more than may be under way at a time.
    """
    workshop.run(PUBLISH + SYNCS + f"ask_for_syncs({syncs})")
    worker = workshop.work("--concurrency", "8")
    os.sched_setaffinity(worker.pid, LOAD_CORE)
    connection = ApiConnection(server.url)
    chance = random.Random(1)
    for _ in range(turns):
        time.sleep(chance.uniform(0.02, 0.12))
        connection.post(POST, key, b" 200 ")
    connection.close()
    done = "SELECT count(*) FROM publication_turnrequest WHERE done_at IS NOT NULL"
    workshop.until(lambda: workshop.sql(done)[0][0] == turns)
    waits = sorted(json.loads(workshop.run(PUBLISH + WAITS)))
    left = "SELECT count(*) FROM bedrock_chat_job WHERE kind = 'sync knowledge'"
    assert not syncs or workshop.sql(left)[0][0] > 2, "the syncs were over before the turns"
    workshop.end()
    workshop.workers.clear()
    for table in CLEAR:
        workshop.sql(f"DELETE FROM {table}")
    return {
        "p50Ms": round(statistics.median(waits), 1),
        "p95Ms": round(load.percentile(waits, 0.95), 1),
        "worstMs": round(waits[-1], 1),
    }


def measure(url: str, folder: Path, size: Size) -> dict[str, Any]:
    with ExitStack() as stack:
        emulator = stack.enter_context(Emulator())
        workshop = Workshop(url, folder)
        stack.callback(workshop.end)
        workshop.environment = environment(
            folder,
            DATABASE_URL=url,
            DJANGO_SETTINGS_MODULE="tests.bench.published_settings",
            AWS_ENDPOINT_URL_BEDROCK_RUNTIME=emulator.url,
            ENCRYPTION_KEYS=base64.urlsafe_b64encode(os.urandom(32)).decode(),
            SECRET_KEY="x" * 60,
            PUBLISHED_BACKLOG="1000000",
        )
        workshop.run("from django.core.management import call_command; call_command('migrate', verbosity=0)")
        keys = json.loads(workshop.run(PUBLISH + KEYS))
        server = stack.enter_context(Process("manage.py", "serve", core=SERVER_CORE, environment=workshop.environment))
        figures: dict[str, Any] = {}
        for connections in CONNECTIONS:
            say(f"published: requests at {connections} connections")
            figures[f"c{connections}"] = costs(server, workshop, connections, size.requests, size.rounds, keys)
        token = manage(workshop.environment, "issue_token", "alice")
        say("published: chat completions")
        rounds = 2 * (size.rounds // 2) or 2
        figures["completions"] = completions.costs(server, emulator.url, token, keys[0], size.completions, rounds)
        say("published: pick-up")
        figures["pickUp"] = pick_up(server, workshop, keys[0], size.turns)
        emulator.embeddings(wait=SYNC_CALL_SECONDS)
        figures["pickUpBesideSyncs"] = pick_up(server, workshop, keys[0], size.turns, syncs=SYNCS_BESIDE)
        say("published: requests that wait")
        figures["waits"] = waits.measure(workshop, keys[0], size.waiters, size.health, size.waits)
    return figures


def goals(name: str, figures: dict[str, Any]) -> list[Goal]:
    goals: list[Goal] = []
    for connections in CONNECTIONS:
        legs, where = figures[f"c{connections}"], f"{name}, {connections} connections"
        goals.append((f"accepted / empty, {where}", legs["accepted"]["ratioToEmpty"], "<=", 3))
        goals.append((f"refused / empty, {where}", legs["refused"]["ratioToEmpty"], "<=", 1.5))
    goals += [
        (f"{leg} / turn, 16 connections, {name}", figures["completions"][leg]["ratioToTurn"], "<=", 1.1)
        for leg in ("completion", "completionStream")
    ]
    goals.append((f"pick-up p95 ms, {name}", figures["pickUp"]["p95Ms"], "<", 100))
    beside = figures["pickUpBesideSyncs"]["p95Ms"]
    goals.append((f"pick-up beside {SYNCS_BESIDE} syncs, p95 ms, {name}", beside, "<", 100))
    goals += waits.goals(name, figures["waits"])
    return goals


def main() -> int:
    arguments = choose(__doc__).parse_args()
    size = QUICK if arguments.quick else FULL
    os.chdir(ROOT)
    os.sched_setaffinity(0, LOAD_CORE)
    wanted: list[Goal] = []

    def leg(name: str, url: str) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="bedrock-chat-bench-") as folder:
            address = url or f"sqlite:///{folder}/published.sqlite3"
            say(f"published: {name}")
            figures = measure(address, Path(folder), size)
        wanted.extend(goals(name.lower(), figures))
        return figures

    document = on_each_database(leg, arguments.only)
    print(json.dumps({**document, "goals": judged(wanted)}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
