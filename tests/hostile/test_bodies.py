"""No body of a signed-in user costs more CPU, memory or time under the interpreter's lock than its size allows."""

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import pytest

from tests.hostile import bodies, routes, zips
from tests.hostile.bodies import Attack
from tests.hostile.costs import MEGABYTE, Cost, Meter, allowed, slowness
from tests.listening import frames, socket
from tests.live import LiveServer

pytestmark = pytest.mark.usefixtures("proc")

PART = 30_000
SOME, MANY = 12, 160
"""Attacks that a quick and a slow run try, chosen at random from all of them, the same in every run.

`make soak` tries one after the other.
"""


def request(server: LiveServer, token: str, attack: Attack, key: str = "") -> int:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": attack.content_type, "x-api-key": key}
    return httpx.request(
        attack.method, server.url + attack.path, content=attack.body, headers=headers, timeout=60
    ).status_code


def over_the_socket(server: LiveServer, token: str) -> Callable[[Attack], Any]:
    """Sends the body of an attack over the socket, and returns its last answer.

    Parts are strings: what is no UTF-8 is replaced.
    """

    def act(attack: Attack) -> Any:
        text = attack.body.decode(errors="replace")
        with socket(server) as websocket:
            websocket.send(json.dumps({"step": "START", "token": token}))
            answer = websocket.recv(10)
            for index in range(0, len(text), PART):
                part = {"step": "BODY", "index": index // PART, "part": text[index : index + PART]}
                websocket.send(json.dumps(part))
                answer = websocket.recv(10)
                if answer != "Message part received.":
                    return answer
            websocket.send(json.dumps({"step": "END", "token": token}))
            return frames(websocket)[-1]

    return act


def excess(name: str, size: int, cost: Cost) -> str:
    """What the request cost beyond what its size allows; empty if nothing."""
    most = allowed(size, slowness())
    if cost.cpu <= most.cpu and cost.memory <= most.memory and cost.lock <= most.lock:
        return ""
    return f"{name}, {size / MEGABYTE:.1f} MB: {cost}, allowed {most}"


def costly(meter: Meter, attacks: Iterable[Attack], act: Callable[[Attack], Any]) -> list[str]:
    """Names what costs too much. On a busy machine the same work takes more CPU time, so that is tried once more."""
    reports = []
    for attack in attacks:
        ready = replace(attack, content=attack.body)
        for _ in range(2):
            report = excess(ready.name, len(ready.content), meter.cost(partial(act, ready)))
            if not report:
                break
        else:
            reports.append(report)
    return reports


# ---- REST -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample() -> random.Random:
    return random.Random(10)


def test_some_hostile_bodies_cost_what_their_size_allows(
    server: LiveServer, alice: str, key: str, meter: Meter, sample: random.Random
) -> None:
    attacks = sample.sample(list(routes.attacks(MEGABYTE)), SOME)
    attacks += sample.sample([attack for attack in routes.attacks(MEGABYTE) if "/published/" in attack.path], 6)
    statuses: set[int] = set()
    assert costly(meter, attacks, lambda attack: statuses.add(request(server, alice, attack, key))) == []
    assert statuses <= {400, 403, 404}


def test_some_hostile_bodies_over_the_socket(
    server: LiveServer, alice: str, meter: Meter, sample: random.Random
) -> None:
    attacks = [attack for attack in routes.attacks(MEGABYTE) if attack.path == "/conversation"]
    assert costly(meter, sample.sample(attacks, SOME // 4), over_the_socket(server, alice)) == []


def test_some_hostile_forms(server: LiveServer, alice: str, meter: Meter, sample: random.Random) -> None:
    attacks = sample.sample(list(bodies.forms(MEGABYTE)), 4)
    assert costly(meter, attacks, lambda attack: request(server, alice, attack)) == []


def test_some_hostile_zips(server: LiveServer, dave: str, meter: Meter, sample: random.Random) -> None:
    attacks = {attack.name: attack for attack in zips.attacks(2 * MEGABYTE)}
    chosen = [attacks["POST /bot/import: a file of 49 MB"], *sample.sample(list(attacks.values())[:-3], 3)]
    statuses: set[int] = set()
    assert costly(meter, chosen, lambda attack: statuses.add(request(server, dave, attack))) == []
    assert statuses <= {200, 400}


@pytest.mark.slow
def test_all_hostile_zips(server: LiveServer, dave: str, meter: Meter) -> None:
    statuses: set[int] = set()
    attacks = zips.attacks(11 * MEGABYTE)  # below the largest document
    assert costly(meter, attacks, lambda attack: statuses.add(request(server, dave, attack))) == []
    assert statuses <= {200, 400}


@pytest.mark.slow
def test_many_hostile_bodies_cost_what_their_size_allows(
    server: LiveServer, alice: str, key: str, meter: Meter, sample: random.Random
) -> None:
    statuses: set[int] = set()
    attacks = [*sample.sample(list(routes.attacks(MEGABYTE)), MANY), *bodies.forms(MEGABYTE)]
    assert costly(meter, attacks, lambda attack: statuses.add(request(server, alice, attack, key))) == []
    assert statuses <= {400, 403, 404}


@pytest.mark.slow
def test_many_hostile_bodies_over_the_socket(
    server: LiveServer, alice: str, meter: Meter, sample: random.Random
) -> None:
    attacks = [attack for attack in routes.attacks(MEGABYTE) if attack.path == "/conversation"]
    assert costly(meter, sample.sample(attacks, MANY // 4), over_the_socket(server, alice)) == []


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [30, 90])
def test_the_largest_hostile_bodies(server: LiveServer, alice: str, meter: Meter, megabytes: int) -> None:
    attacks = [
        Attack(f"POST /conversation: {name}", "POST", "/conversation", body)
        for name, body in bodies.whole(megabytes * MEGABYTE)
        if name in ("lists", "strings", "quotes and commas", "escaped backslashes and quotes", "escapes", "emoji")
    ]
    assert costly(meter, attacks, lambda attack: request(server, alice, attack)) == []


# ---- What is accepted -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["12,some words,3.5,,\n", '{"id":12,"tags":["a","b"]},\n'])
def test_4_mb_of_csv_or_json_in_a_text_block_pass(server: LiveServer, alice: str, meter: Meter, line: str) -> None:
    """Hundreds of thousands of brackets and commas, and of quotes, but all of them inside one string."""
    question = bodies.turn([bodies.text(line * (4 * MEGABYTE // len(line)))])
    attack = Attack("a pasted file", "POST", "/conversation", question)
    answers: list[int] = []
    assert costly(meter, [attack], lambda attack: answers.append(request(server, alice, attack))) == []
    assert set(answers) == {404}  # the bot that it names is nowhere: the body itself was accepted
    assert "No bot" in str(over_the_socket(server, alice)(attack))


def test_an_ordinary_question_is_within_the_same_bounds(server: LiveServer, alice: str, meter: Meter) -> None:
    """A text that the model's window can hold: it is stored, indexed, sent, and answered."""
    words = " ".join(f"word{number}" for number in range(20_000))
    question = bodies.turn([bodies.text(words)], botId=None, conversationId="long")
    attack = Attack("a long text", "POST", "/conversation", question)
    answers: list[int] = []
    assert costly(meter, [attack], lambda attack: answers.append(request(server, alice, attack))) == []
    assert set(answers) == {200}
