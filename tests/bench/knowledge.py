"""`make bench-knowledge`: how well and how fast bots find what they know, as one JSON document on stdout.

docs/PERFORMANCE.md says how to read it.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.processes import LOAD_CORE, ROOT, Process, choose, environment, manage, on_each_database

CHUNKS, SMALL_BOT = 100_000, 5_000
MILLION = 1_000_000
PAGES = 1_000
GOALS = {
    "first5": 0.75,
    "first20": 0.83,
    "recallAt10": 0.98,
    "hybridP95Ms": {"sqlite": 60, "postgresql": 100},
    "meaningP95Ms": {"100k": 50, "1M": 150},
    "smallP95Ms": 40,
    "firstSearchS": 2.5,
    "keptMB": 140,
    "firstSync": {"s": 240, "cpuMsAPage": 150},
    "unchangedSyncS": 15,
}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def leg(name: str, url: str, chunks: int, worded: int) -> dict[str, Any]:
    """What is measured on one database with a bot of so many chunks, some of them with words."""
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-knowledge-") as folder:
        env = _environment(Path(folder), url)
        say(f"{name}, {chunks:,} chunks: filling")
        manage(env, "migrate")
        filled = _python(env, "knowledge_index", "fill", chunks, worded, min(SMALL_BOT, chunks))
        plan = Path(folder) / "plan.json"
        plan.write_text(json.dumps(filled.pop("plan")))
        say(f"{name}, {chunks:,} chunks: searching")
        first = _python(env, "knowledge_index", "first", plan)
        figures = {**filled, "firstSearch": first, **_python(env, "knowledge_index", "search", plan)}
        say(json.dumps(figures))
        return figures


def syncs(name: str, url: str, pages: int) -> dict[str, Any]:
    """What syncs of a site cost on one database. The site has a process of its own, which does not count."""
    say(f"{name}: syncs of {pages:,} pages")
    site = Process("-m", "tests.bench.knowledge_site", str(pages), core=LOAD_CORE)
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-knowledge-") as folder, site:
        env = _environment(Path(folder), url)
        manage(env, "migrate")
        figures = _python(env, "knowledge_sync", site.url, pages)
        say(json.dumps(figures))
        return figures


def questions() -> dict[str, Any]:
    """How often an answer is among the first. A database of its own: words of other bots change nothing, but cost."""
    say("questions")
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-questions-") as folder:
        env = _environment(Path(folder), "")
        manage(env, "migrate")
        return _python(env, "knowledge_questions.answering")


def _environment(folder: Path, url: str) -> dict[str, str]:
    settings = {"DATABASE_URL": url} if url else {}
    return environment(folder, DJANGO_SETTINGS_MODULE="bedrock_chat.settings", **settings)


def _python(env: dict[str, str], module: str, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", f"tests.bench.{module}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def main() -> int:
    parser = choose(__doc__)
    parser.add_argument("--million", action="store_true", help="also a bot of a million chunks, vectors alone")
    parser.add_argument("--chunks", type=int, default=CHUNKS, help="chunks of the bot that has words")
    parser.add_argument("--pages", type=int, default=PAGES, help="of the site that is synced")
    parser.add_argument("--part", choices=["questions", "index", "syncs"], help="one part alone")
    arguments = parser.parse_args()
    chunks = 3_000 if arguments.quick else arguments.chunks
    sizes = [(f"{chunks // 1000}k", chunks, chunks)]
    if arguments.million:
        sizes.append(("1M", MILLION, 0))
    figures: dict[str, Any] = {}
    pages = 40 if arguments.quick else arguments.pages
    if arguments.part in (None, "questions"):
        figures["questions"] = questions()
    if arguments.part in (None, "syncs"):
        figures["syncs"] = on_each_database(lambda name, url: syncs(name, url, pages), arguments.only)
    if arguments.part in (None, "index"):
        for size, count, worded in sizes:
            figures[size] = on_each_database(
                lambda name, url, count=count, worded=worded: leg(name, url, count, worded), arguments.only
            )
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "system": platform.system()}
    print(json.dumps({"machine": machine, **figures, "goals": GOALS}, indent=1, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
