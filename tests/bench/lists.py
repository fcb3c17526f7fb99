"""`make bench-lists`: how fast the console lists tables of a million rows, as one JSON document on stdout.

docs/PERFORMANCE.md says how to read it.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.processes import ROOT, choose, environment, manage, on_each_database
from tests.bench.progress import say

FULL_ROWS, QUICK_ROWS = 1_000_000, 2_000
FULL_ROUNDS, QUICK_ROUNDS = 12, 1
GOAL_MS = 300


def leg(rows: int, rounds: int, part: str, name: str, url: str = "") -> dict[str, Any]:
    """The pages of each list on one database, which is new: SQLite, or PostgreSQL at `url`."""
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-bench-") as folder:
        env = environment(Path(folder), DATABASE_TIMEOUT="3600", **({"DATABASE_URL": url} if url else {}))
        manage(env, "migrate", "--verbosity", "0")
        say(f"{name}: {rows:,} rows a list")
        command = [sys.executable, "-m", "tests.bench.lists_database", str(rows), str(rounds), part]
        env = {**env, "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings"}
        done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True)
    lists: dict[str, Any] = json.loads(done.stdout)
    worst, where = max(
        (page["p95Ms"], f"{address}?{query}") for address, pages in lists.items() for query, page in pages.items()
    )
    return {"lists": lists, "goal": {"p95Ms": GOAL_MS, "worstP95Ms": worst, "where": where, "met": worst <= GOAL_MS}}


def main() -> int:
    parser = choose(__doc__)
    parser.add_argument("--list", default="", help="lists with this in their address alone: turnrequest")
    arguments = parser.parse_args()
    rows, rounds = (QUICK_ROWS, QUICK_ROUNDS) if arguments.quick else (FULL_ROWS, FULL_ROUNDS)
    figures = on_each_database(lambda name, url: leg(rows, rounds, arguments.list, name, url), arguments.only)
    print(json.dumps({"rows": rows, **figures}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
