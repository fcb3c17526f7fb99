"""`make bench-usage`: how fast reports are read from two years of the ledger, as one JSON document on stdout.

docs/PERFORMANCE.md says how to read it.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.processes import ROOT, choose, environment, manage, on_each_database
from tests.bench.progress import say


@dataclass(frozen=True)
class Size:
    calls: int
    people: int
    bots: int
    keys: int
    rounds: int  # spans of each length and dimension


FULL = Size(calls=10_000_000, people=5_000, bots=1_000, keys=500, rounds=20)
QUICK = Size(calls=5_000, people=50, bots=20, keys=10, rounds=2)
GOAL_MS = 300
HOME_GOAL_MS = 1000


def leg(size: Size, name: str, url: str = "") -> dict[str, Any]:
    """All figures on one database: a new one of SQLite, or the one at `url`. One that is filled is only read."""
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-bench-") as folder:
        env = environment(Path(folder), DATABASE_TIMEOUT="3600", **({"DATABASE_URL": url} if url else {}))
        manage(env, "migrate", "--verbosity", "0")
        say(f"{name}: {size.calls:,} calls")
        command = [sys.executable, "-m", "tests.bench.usage_database", json.dumps(asdict(size))]
        env = {**env, "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings"}
        done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    worst = max(span["p95Ms"] for by in figures["spans"].values() for span in by.values())
    home = max(period["p95Ms"] for period in figures["home"].values())
    return {
        **figures,
        "goal": {"p95Ms": GOAL_MS, "worstP95Ms": worst, "met": worst <= GOAL_MS},
        "homeGoal": {"p95Ms": HOME_GOAL_MS, "worstP95Ms": home, "met": home <= HOME_GOAL_MS},
    }


def main() -> int:
    parser = choose(__doc__)
    parser.add_argument("--calls", type=int, help="so many calls instead")
    parser.add_argument("--database", metavar="URL", help="fill this one and keep it, or read it where it is filled")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    if arguments.calls:
        size = Size(**{**asdict(size), "calls": arguments.calls})
    if arguments.database:
        name = arguments.database.partition(":")[0]
        figures = {name: leg(size, name, arguments.database)}
    else:
        figures = on_each_database(lambda name, url: leg(size, name, url), arguments.only)
    print(json.dumps({"size": "quick" if arguments.quick else "full", "calls": size.calls, **figures}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
