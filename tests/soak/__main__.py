"""`make soak`: ten minutes of everything at once while processes are killed, then a check of what is stored.

Clients over REST, SSE and WebSocket hold conversations, edit in parallel, stop, delete and retry. The model throttles,
breaks off and is slow. Every few seconds a web process or a worker is killed with SIGKILL and started again. In the end
nothing may be lost or stored twice. No lease may be left, no file without an owner, and no owner without its file.
"""

import argparse
import contextlib
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.bench.processes import postgresql
from tests.emulator import Emulator
from tests.soak.checks import check
from tests.soak.clients import Person, Record
from tests.soak.processes import Deployment

USERS = 6
CLIENTS_EACH = 4
PROMPTS = (
    ("hello", 6),
    ("[[words:40]] [[pace:0.02]]", 5),
    ("[[words:200]]", 2),
    ("[[throttle:1]] hello", 3),
    ("[[words:30]] [[pace:0.02]] [[cut:after:12:times:1]]", 2),
    ("[[fault:ModelStreamErrorException:after:3:times:1]] [[words:9]]", 1),
    ("[[wait:0.5]] hello", 2),
)


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def live(person: Person, number: int, over: threading.Event) -> None:
    """What one client does until `over` is set: conversations of one to six turns.

    1. Ask a question, below the last answer, over a random transport. Stop some of them. Before some of them,
       send two edits at once.
    2. Read the conversation to know the last answer. If there is none, go on below `null` or leave the conversation.
    3. Delete some of the conversations.
    """
    chance = person.random
    count = 0
    while not over.is_set():
        count += 1
        conversation = f"{person.name}-{number}-{count:05}"
        parent: str | None = None
        for turn in range(chance.randint(1, 6)):
            if over.is_set():
                return
            prompt = chance.choices([text for text, _ in PROMPTS], [weight for _, weight in PROMPTS])[0]
            text = f"{conversation} turn {turn} {prompt}"
            transport = chance.choice(("rest", "sse", "sse", "ws"))
            if chance.random() < 0.1:
                edits = [
                    threading.Thread(target=person.ask, args=(conversation, f"{text} edit {n}", parent, edit_transport))
                    for n, edit_transport in enumerate(("rest", "sse"))
                ]
                for edit in edits:
                    edit.start()
                for edit in edits:
                    edit.join()
            options = {"stop_after": 20} if transport == "sse" and "pace" in prompt and chance.random() < 0.2 else {}
            person.ask(conversation, text, parent, transport, **options)
            status, stored = person.call("GET", f"/conversation/{conversation}")
            if status != 200:
                break
            last = stored["messageMap"][stored["lastMessageId"]]
            parent = stored["lastMessageId"] if last["role"] == "assistant" else None
            if parent is None and chance.random() < 0.5:
                break
        if chance.random() < 0.15:
            person.record.deleted.add((person.name, conversation))
            person.call("DELETE", f"/conversation/{conversation}")


def run(minutes: float, url: str, folder: Path, seed: int) -> dict[str, Any]:
    """The report of a run.

    1. Start the deployment and a thread for each client.
    2. Until the time is over, kill a process every 3 to 10 seconds.
    3. Let the clients finish their questions, then check what is stored.
    """
    record, over, chance = Record(), threading.Event(), random.Random(seed)
    with Emulator() as bedrock, Deployment(url, folder, bedrock.url) as deployment:
        tokens = {f"user{n}": deployment.issue_token(f"user{n}") for n in range(USERS)}
        people = [
            Person(name, token, deployment.urls, record, seed + 100 * n + client)
            for n, (name, token) in enumerate(tokens.items())
            for client in range(CLIENTS_EACH)
        ]
        threads = [threading.Thread(target=live, args=(person, n, over)) for n, person in enumerate(people)]
        for thread in threads:
            thread.start()
        killed: Counter[str] = Counter()
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            time.sleep(chance.uniform(3, 10))
            killed[deployment.kill_one(chance)] += 1
            say(f"{len(record.exchanges)} questions, killed {dict(killed)}")
        over.set()
        for thread in threads:
            thread.join()
        say("settling")
        readers = {name: Person(name, token, deployment.urls, record, 0) for name, token in tokens.items()}
        return {"minutes": minutes, "killed": dict(killed), **check(record, deployment, readers)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bedrock-chat-soak-")))
        url = f"sqlite:///{folder}/soak.sqlite3"
        if arguments.database == "postgresql":
            url = stack.enter_context(postgresql())
        results = run(arguments.minutes, url, folder, arguments.seed)
    report = {"database": arguments.database, "seed": arguments.seed, "cores": os.cpu_count(), **results}
    print(json.dumps(report, indent=1))
    return 1 if report["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
