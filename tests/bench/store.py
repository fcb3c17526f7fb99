"""`make bench-store`: how fast the store answers over the real server, as one JSON document on stdout.

docs/PERFORMANCE.md says how to read it.
"""

import json
import random
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import load
from tests.bench.languages import languages
from tests.bench.processes import ROOT, SERVER_CORE, Process, choose, environment, manage, on_each_database, ready
from tests.bench.progress import say
from tests.bench.search import GOAL_MS, KINDS

MakeQuery = Callable[[random.Random], str]


@dataclass(frozen=True)
class Size:
    bots: int
    requests: int  # of each caller and kind


FULL = Size(bots=100_000, requests=200)
QUICK = Size(bots=2_000, requests=5)

LONGEST_QUERY = 32
"""Words that count."""


def _asked(kind: str) -> MakeQuery:
    """A query of the kind, in any of the languages that it is asked in."""
    names, make = KINDS[kind]
    spoken = [language for language in languages() if names == "*" or language.name in names.split()]
    return lambda chance: make(chance.choice(spoken), chance)


def _long(chance: random.Random) -> str:
    """As many frequent words as count, and one that no bot has."""
    plain = languages_by_name["plain"]
    return " ".join(["qqxx", *chance.choices(plain.words[:200], k=LONGEST_QUERY - 1)])


languages_by_name = {language.name: language for language in languages()}
LONGEST = "thirtyTwoWords"
"""A kind of query that shows the worst case, and counts for no goal."""
SEARCHES: dict[str, MakeQuery] = {**{kind: _asked(kind) for kind in KINDS}, LONGEST: _long}
LISTS = ("popular", "pickup")


def caller(size: Size, server: Process, token: str) -> dict[str, Any]:
    """Latencies of one caller, for each kind of search and for both lists; `search` are those of the usual searches.

    Of each also the CPU of the server, which other work on the machine does not lengthen as much.
    """
    usual: list[float] = []
    figures: dict[str, Any] = {}
    for kind, make in SEARCHES.items():
        chance = random.Random(7)
        paths = [f"/store/search?query={urllib.parse.quote(make(chance))}" for _ in range(size.requests)]
        figures[kind], latencies = _measured(server, token, paths)
        usual += [] if kind == LONGEST else latencies
    for name in LISTS:
        figures[name], _ = _measured(server, token, [f"/store/{name}?limit=100"] * size.requests)
    figures["search"] = _percentiles(sorted(usual))
    return figures


def _measured(server: Process, token: str, paths: list[str]) -> tuple[dict[str, float], list[float]]:
    before = server.cpu
    latencies = _sent(server, token, paths)
    cpu = (server.cpu - before) / len(paths) * 1000
    return {**_percentiles(latencies), "cpuMs": round(cpu, 2)}, latencies


def _sent(server: Process, token: str, paths: list[str]) -> list[float]:
    def send(connection: load.Connection, number: int) -> None:
        connection.request("GET", paths[number], token=token)

    return load.run(server.url, 1, len(paths), send)


def _percentiles(latencies: list[float]) -> dict[str, float]:
    return {f"p{share}Ms": round(load.percentile(latencies, share / 100), 2) for share in (50, 95)}


def leg(size: Size, name: str, url: str = "") -> dict[str, Any]:
    """All figures on one database, which is new: SQLite, or PostgreSQL at `url`."""
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-bench-") as folder:
        env = environment(Path(folder), **({"DATABASE_URL": url} if url else {}))
        manage(env, "migrate", "--verbosity", "0")
        django_environment = {**env, "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings"}
        say(f"{name}: writing {size.bots:,} bots")
        tokens = json.loads(_python(django_environment, "tests.bench.fill_store", size.bots))
        with Process("manage.py", "serve", core=SERVER_CORE, environment=env) as server:
            ready(server.url)
            figures = {}
            for person, token in tokens.items():
                say(f"{name}: {person}")
                _sent(server, token, ["/store/search?query=x", "/store/popular", "/store/pickup"])  # warm-up
                figures[person] = caller(size, server, token)
        plans = json.loads(_python(django_environment, "tests.bench.store_plans"))
    worst = max(person[kind]["p95Ms"] for person in figures.values() for kind in ("search", *LISTS))
    goal = {"p95Ms": GOAL_MS, "worstP95Ms": worst, "met": worst < GOAL_MS}
    return {**figures, "goal": goal, "plans": plans}


def _python(env: dict[str, str], module: str, *arguments: object) -> str:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> int:
    arguments = choose(__doc__).parse_args()
    size = QUICK if arguments.quick else FULL
    figures: dict[str, Any] = {}
    figures = on_each_database(lambda name, url: leg(size, name, url), arguments.only)
    print(json.dumps({"size": "quick" if size is QUICK else "full", **figures}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
