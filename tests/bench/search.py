"""`make bench-search`: how fast searches answer over the real server, as one JSON document on stdout.

docs/PERFORMANCE.md says how to read it.
"""

import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import load
from tests.bench.languages import Language, languages
from tests.bench.processes import (
    LOAD_CORE,
    ROOT,
    SERVER_CORE,
    Process,
    choose,
    environment,
    manage,
    on_each_database,
    ready,
)

GOAL_MS = 50


@dataclass(frozen=True)
class Size:
    users: int
    messages: int
    sampled: int  # users who search
    queries: int  # of each kind
    turns: int
    long: int  # messages of a long conversation


FULL = Size(users=1_000, messages=1_000_000, sampled=200, queries=300, turns=40, long=2_000)
QUICK = Size(users=20, messages=2_000, sampled=20, queries=10, turns=2, long=100)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# ---- What is asked --------------------------------------------------------------------------------------------------

MakeQuery = Callable[[Language, random.Random], str]


def _word(first: int, last: int, shortest: int = 1) -> MakeQuery:
    """A word between two ranks of frequency."""

    def make(language: Language, chance: random.Random) -> str:
        while len(word := language.words[chance.randrange(first, last)]) < shortest:
            pass
        return word

    return make


def _two(language: Language, chance: random.Random) -> str:
    return f"{_word(0, 50)(language, chance)} {_word(20, 500)(language, chance)}"


def _mistyped(language: Language, chance: random.Random) -> str:
    word = _word(50, 2000, shortest=7)(language, chance)
    at = chance.randrange(1, len(word) - 2)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


KINDS: dict[str, tuple[str, MakeQuery]] = {
    "word": ("*", _word(100, 3000)),
    "frequentWord": ("plain accented", _word(0, 5)),
    "twoWords": ("plain accented korean", _two),
    "mistyped": ("plain accented", _mistyped),
    "beginning": ("plain accented", lambda language, chance: _word(50, 2000, shortest=7)(language, chance)[:4]),
    "twoCharacters": ("japanese chinese", lambda language, chance: _word(0, 2000, shortest=2)(language, chance)[:2]),
    "oneCharacter": ("japanese chinese", lambda language, chance: _word(0, 2000)(language, chance)[0]),
    "sentence": ("*", lambda language, chance: f"{language.text(10, chance)} qqxx"),
    "unknownWords": ("*", lambda language, chance: f"qqxx{chance.randrange(10_000)} zzyy"),
}
"""Kind of query → the languages it is asked in, and how it is made."""


# ---- What is measured -----------------------------------------------------------------------------------------------


def queries(size: Size, server: Process, people: list[dict[str, Any]]) -> dict[str, Any]:
    """Latencies of one client and CPU of the server, for each kind of query; latencies also for all together."""
    spoken, chance = languages(), random.Random(9)
    figures: dict[str, Any] = {}
    all_latencies: list[float] = []
    for kind, (names, make) in KINDS.items():
        searchers = [person for person in people if names == "*" or spoken[person["language"]].name in names.split()]
        requests = [
            (person["token"], make(spoken[person["language"]], chance))
            for person in chance.choices(searchers, k=size.queries)
        ]
        sizes: list[int] = []

        def send(
            connection: load.Connection,
            number: int,
            requests: list[tuple[str, str]] = requests,
            sizes: list[int] = sizes,
        ) -> None:
            token, query = requests[number]
            path = f"/conversations/search?query={urllib.parse.quote(query)}"
            sizes.append(connection.request("GET", path, token=token))

        before = server.cpu
        latencies = load.run(server.url, 1, size.queries, send)
        all_latencies += latencies
        figures[kind] = {
            **_percentiles(latencies),
            "cpuMs": round((server.cpu - before) / size.queries * 1000, 2),
            "answered": round(sum(1 for answer in sizes if answer > len("[]")) / len(sizes), 2),
        }
    return {**figures, "all": _percentiles(sorted(all_latencies))}


def turns(size: Size, server: Process, token: str, name: str) -> dict[str, float]:
    """What turns cost the server when they run one after the other."""

    def send(connection: load.Connection, number: int) -> None:
        body = json.dumps(_question(f"{name}-{number}", f"number {number} of")).encode()
        connection.request("POST", "/conversation", body, token)

    before = server.cpu
    latencies = load.run(server.url, 1, size.turns * 25, send)
    cpu = (server.cpu - before) / (size.turns * 25) * 1000
    return {**_percentiles(latencies), "worstMs": round(latencies[-1], 2), "cpuMs": round(cpu, 2)}


def seconds_until_found(size: Size, server: Process, token: str) -> dict[str, float]:
    """Seconds from a turn's answer until a search finds it. One worker indexes."""
    seconds, chance = [], random.Random(5)
    for number in range(size.turns):
        time.sleep(2 * chance.random())  # or each turn would begin just after the indexer had run
        word = f"unheard{number:06}"
        _call(server, token, "/conversation", _question(f"found-{number}", f"{word} of"))
        started = time.monotonic()
        while not _call(server, token, f"/conversations/search?query={word}"):
            time.sleep(0.02)
        seconds.append(time.monotonic() - started)
    seconds.sort()
    return {f"p{share}S": round(load.percentile(seconds, share / 100), 2) for share in (50, 95)}


def _question(conversation: str, text: str) -> dict[str, Any]:
    message = {"content": [{"contentType": "text", "body": text}], "model": "claude-v3.7-sonnet"}
    return {"conversationId": conversation, "message": message}


def _call(server: Process, token: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(server.url + path, data, headers)) as response:
        return json.load(response)


def _percentiles(latencies: list[float]) -> dict[str, float]:
    return {f"p{share}Ms": round(load.percentile(latencies, share / 100), 2) for share in (50, 95, 99)}


def leg(size: Size, name: str, bedrock: Process, url: str = "") -> dict[str, Any]:
    """All figures on one database, which is new: SQLite, or PostgreSQL at `url`.

    1. Fill the database with conversations, already indexed.
    2. Start a server and search.
    3. Measure what indexing costs, and turns without a worker.
    4. Start a worker. Measure turns beside it, and how soon a search finds them.
    """
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-bench-") as folder:
        settings = {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": bedrock.url, **({"DATABASE_URL": url} if url else {})}
        env = environment(Path(folder), **settings)
        manage(env, "migrate", "--verbosity", "0")
        django_environment = {**env, "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings"}
        say(f"{name}: writing {size.messages:,} messages of {size.users:,} users")
        started = time.monotonic()
        people = json.loads(
            _python(django_environment, "tests.bench.fill_search", size.users, size.messages, size.sampled)
        )
        fill_seconds = round(time.monotonic() - started)
        with Process("manage.py", "serve", core=SERVER_CORE, environment=env) as server:
            ready(server.url)
            for person in people:  # warm-up: verifies the tokens, and reads what all share for the first time
                _call(server, person["token"], "/conversations/search?query=x")
            say(f"{name}: searching")
            query_figures = queries(size, server, people)
            say(f"{name}: indexing")
            indexing_figures = json.loads(_python(django_environment, "tests.bench.indexer", size.turns, size.long))
            token = people[0]["token"]
            without_worker = turns(size, server, token, "alone")
            with Process("manage.py", "run_worker", core=LOAD_CORE, environment=env):
                with_worker = turns(size, server, token, "beside")
                until_found = seconds_until_found(size, server, token)
        return {
            "fillS": fill_seconds,
            "queries": query_figures,
            "indexingOneMessage": indexing_figures,
            "turn": {"withoutWorker": without_worker, "withWorker": with_worker},
            "foundAfter": until_found,
            "goal": {"p95Ms": GOAL_MS, "met": query_figures["all"]["p95Ms"] < GOAL_MS},
        }


def _python(env: dict[str, str], module: str, *arguments: object) -> str:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> int:
    arguments = choose(__doc__).parse_args()
    size = QUICK if arguments.quick else FULL
    emulator = ("-m", "bedrock_chat.bedrock.emulator", "--port", "0", "--exit-with-parent")
    with Process(*emulator, core=LOAD_CORE) as bedrock:
        figures = on_each_database(lambda name, url: leg(size, name, bedrock, url), arguments.only)
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "system": platform.system()}
    print(json.dumps({"machine": machine, "size": "quick" if size is QUICK else "full", **figures}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
