"""Attacks on a deployment while ordinary clients go on: what they cost while they last, and what they leave.

A signed-in attacker sends hostile bodies and takes large answers slowly, a stranger sends endless and slow heads, opens
connections that say nothing, and uploads what nobody asked for.
"""

import json
import random
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import cycle
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.hostile import bodies
from tests.hostile.bodies import Attack
from tests.hostile.costs import MEGABYTE
from tests.soak.clients import Person
from tests.soak.processes import Deployment

PROBES = 60
"""Ordinary questions, one after the other, whose times are compared."""
SLOWEST = 2.0
"""How much longer the slower ordinary questions may take when the attacks are over than before them."""
MOST_BYTES = 250 * MEGABYTE
MOST_DESCRIPTORS = 30
"""What a process may keep of the attacks. Pools and caches that they have filled are no fault."""
SILENT = 300
ROUTES = ("/conversation", "/bot", "/bot/import")
"""Which of them gets a hostile body; `tests/hostile` tries all."""


def besiege(deployment: Deployment, person: Person, attacker: Person, seconds: float, seed: int) -> dict[str, Any]:
    """Figures before, during and after the attacks, and findings.

    1. Warm the processes up with what the attacks do, once, so that what is loaded once is not counted.
    2. Measure ordinary questions, memory and descriptors.
    3. Attack for so many seconds, while ordinary questions go on.
    4. Wait until every attack has ended, and measure again.
    """
    attacks = _attacks(deployment, attacker, random.Random(seed))
    for attack in attacks:
        attack(1.0)
    before = _figures(deployment, person, "before")
    over = threading.Event()
    threads = [threading.Thread(target=_repeat, args=(attack, over)) for attack in attacks]
    for thread in threads:
        thread.start()
    during: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        during.append(_ask(person, f"during-{len(during)}"))
    over.set()
    for thread in threads:
        thread.join()
    time.sleep(5)
    after = _figures(deployment, person, "after")
    findings = []
    if after["p95Ms"] > before["p95Ms"] * SLOWEST + 50:
        findings.append(f"after the attacks a question takes {after['p95Ms']} ms, before {before['p95Ms']}")
    for name, now in after["processes"].items():
        was = before["processes"][name]
        if now["bytes"] - was["bytes"] > MOST_BYTES:
            findings.append(f"{name} has kept {(now['bytes'] - was['bytes']) // MEGABYTE} MB of the attacks")
        if now["descriptors"] - was["descriptors"] > MOST_DESCRIPTORS:
            findings.append(f"{name} has kept {now['descriptors'] - was['descriptors']} descriptors of the attacks")
    return {
        "before": before,
        "during": {"questions": len(during), "p95Ms": _p95(during)},
        "after": after,
        "findings": findings,
    }


def _figures(deployment: Deployment, person: Person, name: str) -> dict[str, Any]:
    times = [_ask(person, f"{name}-{number}") for number in range(PROBES)]
    return {"p95Ms": _p95(times), "processes": deployment.web_figures()}


def _ask(person: Person, name: str) -> float:
    """Seconds that an ordinary question takes."""
    begun = time.monotonic()
    person.ask(f"siege-{name}", f"siege-{name} hello", None, "rest")
    return time.monotonic() - begun


def _p95(times: list[float]) -> float:
    return round(1000 * (statistics.quantiles(times, n=20)[-1] if len(times) > 1 else sum(times)), 1)


# ---- Attacks: each goes on for about so many seconds, and leaves nothing open ----------------------------------------


def _attacks(deployment: Deployment, attacker: Person, chance: random.Random) -> list[Callable[[float], None]]:
    where = [(urlsplit(url).hostname or "", urlsplit(url).port or 80) for url in deployment.urls]
    hostile = [Attack(name, "POST", path, body) for path in ROUTES for name, body in bodies.whole(MEGABYTE)]
    hostile += bodies.turns(MEGABYTE)
    chance.shuffle(hostile)
    next_body = cycle(hostile)

    def hostile_bodies(seconds: float) -> None:
        for _ in _for(seconds):
            attack = next(next_body)
            with suppress(httpx.HTTPError):
                attacker.http.request(attack.method, attacker.url + attack.path, content=attack.body, headers=JSON)

    def endless_heads(seconds: float) -> None:
        _pour(where, b"GET / HTTP/1.1\r\nHost: x\r\n", lambda n: b"X-%d: %s\r\n" % (n, b"a" * 900), seconds)

    def slow_heads(seconds: float) -> None:
        with ExitStack() as stack:
            clients = [stack.enter_context(_connect(where)) for _ in range(SILENT)]
            for _ in _for(seconds):
                for client in clients:
                    with suppress(OSError):
                        client.send(b"G")
                time.sleep(0.5)

    def uploads_of_strangers(seconds: float) -> None:
        head = b"POST /conversation HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n"
        _pour(where, head, lambda _: bytes(64 * 1024), seconds)

    def answers_that_are_not_taken(seconds: float) -> None:
        path = f"GET /conversation/large HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {attacker.token}\r\n\r\n"
        with ExitStack() as stack:
            for _ in _for(seconds):
                for _ in range(10):
                    client = stack.enter_context(_connect(where))
                    with suppress(OSError):
                        client.sendall(path.encode())
                time.sleep(0.5)
                stack.pop_all().close()

    attacker.call("POST", "/conversation", _large())
    return [hostile_bodies, endless_heads, slow_heads, uploads_of_strangers, answers_that_are_not_taken]


JSON = {"Content-Type": "application/json"}


def _large() -> dict[str, Any]:
    """The first question of a conversation whose answer is some 5 MB."""
    size = 5 * 700_000
    question = bodies.turn([bodies.text("look"), *(bodies.document(f"{n}.txt", size // 5) for n in range(5))])
    return json.loads(json.dumps({**question, "conversationId": "large", "botId": None}))


def _repeat(attack: Callable[[float], None], over: threading.Event) -> None:
    while not over.is_set():
        attack(5)


def _for(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield


def _connect(where: list[tuple[str, int]]) -> socket.socket:
    client = socket.socket()
    client.settimeout(1)
    with suppress(OSError):
        client.connect(random.choice(where))
    return client


def _pour(where: list[tuple[str, int]], first: bytes, piece: Callable[[int], bytes], seconds: float) -> None:
    """Opens one connection after the other, and sends as much as the server takes of each."""
    for _ in _for(seconds):
        with _connect(where) as client, suppress(OSError):
            client.sendall(first)
            for number in range(2000):
                client.sendall(piece(number))
