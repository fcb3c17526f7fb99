"""`?wait=`: an answer is told as soon as it is there, and so is everything that means that there will be none."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from django.conf import LazySettings
from django.db import connection
from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
from bedrock_chat.process import heartbeat
from bedrock_chat.serving.waits import waits
from publication.models import ApiKey, Gate
from tests.bots.bot import body
from tests.conversations.chat import text_of
from tests.publication.api import Api, work
from tests.serving.conftest import Live, eventually

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 3
SOON = 4.0
"""Seconds, on a busy machine. A look comes after 0.2."""


@pytest.fixture
def server(settings: LazySettings, api: Api) -> Iterator[Live]:
    """The product's server, on a thread of this process, with fewer threads than there are who wait."""
    settings.ALLOWED_HOSTS = ["*"]
    heartbeat.start()
    live = Live(THREADS)
    live.thread.start()
    assert eventually(lambda: live.server.started)
    yield live
    live.end()


class Request:
    """A request that waits, on a thread of its own."""

    def __init__(self, server: Live, api: Api, ids: tuple[str, str], wait: Any = 20, key: str | None = None) -> None:
        self.url = "http://127.0.0.1:{}{}/conversation/{}/{}".format(server.port, api.path, *ids)
        self.key, self.wait = key or api.key, wait
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        headers = {"x-api-key": self.key, "Origin": "https://page.example"}
        self._answer = httpx.get(self.url, params={"wait": self.wait}, headers=headers, timeout=30)
        self.at = time.monotonic()

    @property
    def answer(self) -> httpx.Response:
        self._thread.join()
        return self._answer

    @property
    def outcome(self) -> tuple[int, str | None]:
        return self.answer.status_code, self.answer.headers.get("X-Turn-Status")


def waiting(server: Live, api: Api, ids: tuple[str, str], **options: Any) -> Request:
    before = waits.count()
    request = Request(server, api, ids, **options)
    assert eventually(lambda: waits.count() == before + 1)
    return request


@pytest.mark.both
def test_whoever_waits_is_told_as_soon_as_the_turn_has_ended(server: Live, api: Api) -> None:
    ids = api.ask()
    requests = [waiting(server, api, ids) for _ in range(3 * THREADS)]
    assert eventually(lambda: server.threads.busy == 0), "no thread waits"
    work()
    ended = time.monotonic()
    for request in requests:
        assert request.outcome == (200, "done")
        assert text_of(request.answer.json()["message"]) == "Echo: hello"
        assert request.at - ended < SOON


@pytest.mark.both
def test_a_turn_that_ends_in_another_process_is_found(server: Live, api: Api) -> None:
    ids = api.ask()
    request = waiting(server, api, ids)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE publication_turnrequest SET done_at = accepted_at, reason = 'Bedrock says no.'")
    ended = time.monotonic()
    assert request.outcome == (409, "failed")
    assert request.answer.json()["detail"] == "Bedrock says no."
    assert request.at - ended < SOON


def test_when_the_time_is_up_it_is_told_what_is_true(server: Live, api: Api) -> None:
    ids, started = api.ask(), time.monotonic()
    request = Request(server, api, ids, wait=1)
    assert request.outcome == (404, "pending")
    assert request.answer.headers["Retry-After"] == "1"
    assert 1 <= request.at - started < 1 + SOON


def test_what_is_over_is_told_at_once(server: Live, api: Api) -> None:
    answered, failed = api.ask(), api.ask("[[validation]]")
    work()
    assert Request(server, api, answered).outcome == (200, "done")
    assert Request(server, api, failed).outcome == (409, "failed")
    assert Request(server, api, (answered[0], "unknown")).outcome == (404, None)
    assert waits.count() == 0


@pytest.mark.parametrize("wait", ["0", "-1", "soon", "1.5"])
def test_a_wait_that_is_none_is_refused(api: Api, wait: str) -> None:
    refused = api.get("/conversation/c/m?wait=" + wait)
    assert refused.status_code == 400
    assert refused.json()["errors"][0].startswith("wait: ")


def test_a_longer_wait_counts_as_a_minute(server: Live, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("publication.waiting.LONGEST_SECONDS", 0.3)
    assert Request(server, api, api.ask(), wait=10**20).outcome == (404, "pending")


def test_without_a_server_that_can_wait_the_answer_comes_at_once(api: Api) -> None:
    assert api.get("/conversation/{}/{}?wait=20".format(*api.ask())).status_code == 404


# ---- The end --------------------------------------------------------------------------------------------------------


def withdraw(owner: APIClient) -> None:
    body(owner.delete("/bot/helper/publication"))


def delete_bot(owner: APIClient) -> None:
    body(owner.delete("/bot/helper"))


def revoke(owner: APIClient) -> None:
    body(owner.delete(f"/bot/helper/publication/api-key/{ApiKey.objects.get().pk}"))


def disable(owner: APIClient) -> None:
    key = f"/bot/helper/publication/api-key/{ApiKey.objects.get().pk}"
    body(owner.patch(key, {"enabled": False}, format="json"))


def let_expire(owner: APIClient) -> None:
    key = f"/bot/helper/publication/api-key/{ApiKey.objects.get().pk}"
    body(owner.patch(key, {"expiresAt": 1}, format="json"))


def suspend(_: APIClient) -> None:
    User.objects.filter(username="dave").update(is_active=False)


@pytest.mark.parametrize("end", [withdraw, delete_bot, revoke, disable, let_expire, suspend])
def test_whoever_waits_with_a_key_that_ends_is_refused_soon(
    server: Live, api: Api, dave: APIClient, settings: LazySettings, end: Callable[[APIClient], None]
) -> None:
    settings.FAILED_KEYS_RATE = "1/m"  # none of them is a guess at a key
    ids = api.ask()
    requests = [waiting(server, api, ids) for _ in range(3)]
    end(dave)
    ended = time.monotonic()
    for request in requests:
        assert request.outcome == (403, None)
        assert request.answer.json()["message"] == "Forbidden"
        assert request.at - ended < SOON


@pytest.mark.both
def test_a_key_that_ends_ends_no_wait_of_another(server: Live, api: Api, dave: APIClient) -> None:
    first = ApiKey.objects.get()
    other = body(dave.post("/bot/helper/publication/api-key", {"description": "other"}, format="json"))
    ids = api.ask()
    goes_on, ends = waiting(server, api, ids, key=other["value"]), waiting(server, api, ids)
    body(dave.delete(f"/bot/helper/publication/api-key/{first.pk}"))
    assert ends.outcome == (403, None)
    assert waits.count() == 1
    work()
    assert goes_on.outcome == (200, "done")


# ---- What it costs --------------------------------------------------------------------------------------------------


def test_a_request_that_waits_counts_once(server: Live, api: Api, settings: LazySettings) -> None:
    settings.POLLS_COUNT = True
    ids = api.ask()
    used = Gate.objects.get(account=ApiKey.objects.get().lineage).used
    request = waiting(server, api, ids)
    work()
    assert request.outcome == (200, "done")
    assert Gate.objects.get(account=ApiKey.objects.get().lineage).used == used + 1


def test_after_a_wait_the_limits_are_told_too_and_a_page_may_read_it(server: Live, api: Api) -> None:
    ids = api.ask()
    request = waiting(server, api, ids)
    work()
    at_once = api.answer(*ids)
    assert request.answer.headers["RateLimit-Policy"] == at_once.headers["RateLimit-Policy"]
    assert request.answer.headers["Access-Control-Allow-Origin"] == "*"


def test_beyond_the_places_the_answer_is_given_at_once(server: Live, api: Api, settings: LazySettings) -> None:
    settings.WAITS = 1
    ids = api.ask()
    first = waiting(server, api, ids)
    started = time.monotonic()
    second = Request(server, api, ids)
    assert second.outcome == (404, "pending")
    assert second.at - started < SOON
    work()
    assert first.outcome == (200, "done")


def test_a_client_that_vanishes_frees_its_place(server: Live, api: Api) -> None:
    path = "{}/conversation/{}/{}?wait=20".format(api.path, *api.ask())
    client = socket.create_connection(("127.0.0.1", server.port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nx-api-key: {api.key}\r\n\r\n".encode())
    assert eventually(lambda: waits.count() == 1)
    client.close()
    assert eventually(lambda: waits.count() == 0, SOON)
    assert eventually(lambda: ApiKey.objects.get().last_used_at is not None), "it was a use of the key"


@pytest.mark.both
def test_no_connection_to_the_database_is_held_by_who_waits_or_waited(server: Live, api: Api) -> None:
    """Nor by what is done after a response: the key's last use is noted then."""
    if connection.vendor == "sqlite":
        pytest.skip("a thread keeps its connection to SQLite, which costs nothing")

    def held() -> int:
        """Connections that are not in the pool; this test has one."""
        pool = connection.pool.get_stats()
        return int(pool["pool_size"] - pool["pool_available"])

    ids = api.ask()
    requests = [waiting(server, api, ids) for _ in range(2 * THREADS)]
    assert eventually(lambda: held() == 1)
    work()
    assert [one.outcome for one in requests] == [(200, "done")] * len(requests)
    ApiKey.objects.update(last_used_at=None)
    assert Request(server, api, ids).outcome == (200, "done")
    assert eventually(lambda: ApiKey.objects.get().last_used_at is not None)
    assert eventually(lambda: held() == 1)
