"""What a request to a published API spends, and what it is told about the limits."""

import errno
import re
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from bedrock_chat.blobs.local_storage import LocalFiles
from bedrock_chat.jobs.models import Job
from bedrock_chat.ledger.rollups import refusals
from bedrock_chat.ledger.rollups.models import Refusal
from bots.models import Bot
from publication.models import ApiKey, Gate, TurnRequest
from tests.bots.bot import body, make, share
from tests.conversations.test_queries import statements
from tests.publication.api import Api, limits, publish, question, stored, work

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]

Publish = Callable[..., Api]


@pytest.fixture
def published(dave: APIClient, emulator: Any) -> Publish:
    """Publishes Dave's bot `helper` with limits."""

    def make_it(**wanted: Any) -> Api:
        make(dave, "helper")
        share(dave, "helper", "all")
        return publish(dave, "helper", limits(**wanted))

    return make_it


def used(api: Api) -> int:
    """Requests that count of the key's quota."""
    return int(Gate.objects.get(account=ApiKey.objects.order_by("created_at")[0].lineage).used)


def shown(answer: Any) -> tuple[dict[str, int], dict[str, int]]:
    """What is left (`r`) and in how many seconds more comes (`t`), by policy."""
    pairs = re.findall(r'"(\w+)";r=(\d+);t=(\d+)', answer.headers["RateLimit"])
    return {name: int(left) for name, left, _ in pairs}, {name: int(seconds) for name, _, seconds in pairs}


def test_every_answer_tells_the_limits(published: Publish) -> None:
    api = published(quota=100, rate=0.01, burst=5)
    for number, (sent, status) in enumerate([(question(), 200), ({}, 400), (question(), 200)]):
        answer = api.post(sent)
        assert answer.status_code == status
        assert answer.headers["RateLimit-Policy"] == '"throttle";q=5;w=500, "quota";q=100;w=86400'
        left, seconds = shown(answer)
        assert left == {"throttle": 4 - number, "quota": 99 - number}
        assert 0 < seconds["quota"] <= 86_400
        assert 100 * number < seconds["throttle"] <= 100 * (number + 1)
        assert "Retry-After" not in answer.headers


@pytest.mark.parametrize(
    ("wanted", "message", "kind"),
    [
        ({"rate": 0.01, "burst": 1}, "Too Many Requests", "TooManyRequestsException"),
        ({"quota": 1}, "Limit Exceeded", "LimitExceededException"),
    ],
)
def test_a_refusal_has_the_bytes_of_api_gateway_and_ours(
    published: Publish, wanted: dict[str, Any], message: str, kind: str
) -> None:
    api = published(**wanted)
    body(api.post(question()))
    before = stored(Gate, ApiKey, TurnRequest, Job)
    with CaptureQueriesContext(connection) as captured:
        refused = api.post(question())
    assert refused.status_code == 429
    assert refused.json() == {"message": message, "detail": message, "errors": [message]}
    assert refused.headers["Content-Type"] == "application/json"
    assert refused.headers["x-amzn-ErrorType"] == kind
    left, seconds = shown(refused)
    assert set(left.values()) == {0}
    [(name, until)] = seconds.items()
    wait = int(refused.headers["Retry-After"])
    assert wait == until or (name, wait) == ("throttle", until)
    assert len(statements(captured)) == 1  # the key, with what was used of its limits
    assert stored(Gate, ApiKey, TurnRequest, Job) == before
    refusals.write()
    counted = Refusal.objects.get()
    assert (counted.count, counted.limit, counted.key_id) == (1, f"published_{name}", ApiKey.objects.get().pk)
    assert (counted.payer_id, counted.bot_id) == (Bot.objects.get().owner_id, "helper")


def test_a_refusal_waits_for_no_lock(published: Publish) -> None:
    api = published(quota=1)
    body(api.post(question()))
    is_locked, may_end = Event(), Event()

    def lock() -> None:
        try:
            with transaction.atomic():
                list(Gate.objects.select_for_update())
                is_locked.set()
                may_end.wait(30)
        finally:
            connection.close()

    holder = Thread(target=lock)
    holder.start()
    try:
        assert is_locked.wait(10)
        assert api.post(question()).status_code == 429
        assert holder.is_alive()
    finally:
        may_end.set()
        holder.join()


def test_a_refusal_comes_before_the_body_is_parsed(published: Publish) -> None:
    api = published(quota=1)
    body(api.post(question()))
    path = f"{api.path}/conversation"
    refused = api.client.post(path, b"{not json", content_type="application/json", HTTP_X_API_KEY=api.key)
    assert refused.status_code == 429


def test_a_400_counts_and_our_own_503_is_given_back(published: Publish, settings: LazySettings) -> None:
    api = published(quota=10, rate=0.01, burst=3)
    assert api.post({"message": {}}).status_code == 400
    assert used(api) == 1
    settings.PUBLISHED_BACKLOG = 1
    body(api.post(question()))
    refused = api.post(question())
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert used(api) == 2
    work()
    assert shown(api.post(question()))[0] == {"throttle": 0, "quota": 7}


def test_what_a_full_disk_refuses_is_given_back(published: Publish, png: str, monkeypatch: pytest.MonkeyPatch) -> None:
    api = published(quota=10)
    sent = question()
    sent["message"]["content"].append({"contentType": "image", "mediaType": "image/png", "body": png})

    def no_room(*_: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(LocalFiles, "_save", no_room)
    assert api.post(sent).status_code == 503
    assert used(api) == 0


def test_a_failed_turn_counts(published: Publish) -> None:
    api = published(quota=10)
    api.ask("[[validation]]")
    work()
    assert used(api) == 1


def test_polls_have_a_bucket_of_their_own(published: Publish) -> None:
    api = published(quota=2, rate=0.1, burst=5)  # so a poll a second, and one at once
    conversation, message = api.ask()
    first, second = api.answer(conversation, message), api.answer(conversation, message)
    assert (first.status_code, second.status_code) == (404, 429)
    assert second.headers["Retry-After"] == "1"
    assert second.headers["RateLimit-Policy"] == '"throttle";q=1;w=1'
    assert used(api) == 1
    for _ in range(5):
        assert api.get("/health").status_code == 200
    assert shown(api.post(question()))[0] == {"throttle": 3, "quota": 0}


def test_polls_count_where_the_setting_says_so(published: Publish, settings: LazySettings) -> None:
    settings.POLLS_COUNT = True
    api = published(quota=3)
    conversation, message = api.ask()
    assert [api.answer(conversation, message).status_code for _ in range(3)] == [404, 404, 429]
    assert used(api) == 3


def test_keys_have_a_counter_each_or_one_together(published: Publish, dave: APIClient) -> None:
    api = published(quota=1)
    other = body(dave.post("/bot/helper/publication/api-key", {"description": "k"}, format="json"))["value"]
    assert [api.post(question(), key=key).status_code for key in (api.key, other, api.key, other)] == [
        *(200, 200, 429, 429)
    ]
    body(dave.patch("/bot/helper/publication", {"limitsScope": "publication"}, format="json"))
    assert [api.post(question(), key=key).status_code for key in (api.key, other)] == [200, 429]


def test_a_raised_limit_lets_in_at_once_and_a_lowered_one_counts_what_was_used(
    published: Publish, dave: APIClient
) -> None:
    api = published(quota=2)

    def change(quota: int | None) -> None:
        sent = limits(quota=quota)["quota"]
        body(dave.patch("/bot/helper/publication", {"quota": sent}, format="json"))

    assert [api.post(question()).status_code for _ in range(3)] == [200, 200, 429]
    change(3)
    assert [api.post(question()).status_code for _ in range(2)] == [200, 429]
    change(1)
    assert api.post(question()).status_code == 429
    change(None)
    assert api.post(question()).status_code == 200
    change(5)
    assert used(api) == 0 or shown(api.post(question()))[0]["quota"] < 5


def test_a_top_up_is_admins_and_lasts_for_the_period(published: Publish, dave: APIClient, carol: APIClient) -> None:
    api = published(quota=1)
    top_up = f"/bot/helper/publication/api-key/{ApiKey.objects.get().pk}/top-up"
    assert [api.post(question()).status_code for _ in range(2)] == [200, 429]
    assert dave.post(top_up, {"requests": 2}, format="json").status_code == 403
    assert api.post(question()).status_code == 429
    body(carol.post(top_up, {"requests": 2}, format="json"))
    assert [api.post(question()).status_code for _ in range(3)] == [200, 200, 429]
    body(dave.patch("/bot/helper/publication", {"quota": limits()["quota"]}, format="json"))
    assert carol.post(top_up, {"requests": 2}, format="json").status_code == 409


def test_the_statements_of_an_accepted_question(published: Publish) -> None:
    api = published(quota=100, rate=100, burst=100)
    conversation, _ = api.ask()
    costs = []
    for sent in (question(), question(conversationId=conversation)):
        with CaptureQueriesContext(connection) as captured:
            body(api.post(sent))
        costs.append(len(statements(captured)))
    # Key, limits, bot, backlog, the question, and its job; or whether another question waits. PostgreSQL is told to
    # wake the workers, or locks the conversation.
    assert costs == ([6, 6] if connection.vendor == "sqlite" else [7, 7]), statements(captured)


# ---- CORS -----------------------------------------------------------------------------------------------------------

ORIGIN = "https://app.example.com"
PREFLIGHT = {"HTTP_ORIGIN": ORIGIN, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}


def test_a_preflight_needs_no_key_and_spends_nothing(published: Publish) -> None:
    api = published(quota=1, allowedOrigins=[ORIGIN])
    before = stored(Gate, ApiKey)
    answer = APIClient().options(f"{api.path}/conversation", **PREFLIGHT)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "x-api-key" in answer.headers["Access-Control-Allow-Headers"]
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert stored(Gate, ApiKey) == before


def test_a_preflight_allows_what_pages_and_their_tracing_send(published: Publish) -> None:
    api = published(allowedOrigins=[ORIGIN])
    answer = APIClient().options(f"{api.path}/conversation", **PREFLIGHT)
    names = {"x-api-key", "content-type", "idempotency-key", "traceparent", "tracestate", "baggage", "sentry-trace"}
    assert names <= set(answer.headers["Access-Control-Allow-Headers"].split(", "))


@pytest.mark.parametrize("path", ["/published/nowhere/api/conversation", "/published/helper/dev/conversation"])
def test_a_preflight_of_no_publication_is_an_empty_204(published: Publish, path: str) -> None:
    published(allowedOrigins=["*"])
    answer = APIClient().options(path, **PREFLIGHT)
    assert answer.status_code == 204
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("HTTPS://App.Example.com", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://app.example.com:443", "http://app.example.com:443"),
        ("http://[::1]:80", "http://[::1]"),
        ("https://bücher.example", None),
        ("https://a b.example", None),
        ("https://app.example.com/", None),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(
    published: Publish, dave: APIClient, sent: str, kept: str | None
) -> None:
    published()
    answer = dave.patch("/bot/helper/publication", {"allowedOrigins": [sent]}, format="json")
    assert answer.status_code == (400 if kept is None else 200)
    assert kept is None or body(answer)["allowedOrigins"] == [kept]


def test_an_address_that_no_database_can_hold_is_a_400_also_for_a_page(published: Publish) -> None:
    api = published(allowedOrigins=["*"])
    for path in ("/published/help%00er/api/health", "/published/helper/api%00/health"):
        assert api.client.get(path, HTTP_ORIGIN=ORIGIN).status_code == 400
        assert api.client.options(path, **PREFLIGHT).status_code == 204


@pytest.mark.parametrize(
    ("allowed", "allowed_origin"),
    [(["*"], "*"), ([ORIGIN], ORIGIN), ([f"{ORIGIN}:444", "http://app.example.com"], None), ([], None)],
)
def test_an_origin_reads_what_its_publication_allows_errors_included(
    published: Publish, allowed: list[str], allowed_origin: str | None
) -> None:
    api = published(quota=1, allowedOrigins=allowed)
    answers = [api.post(question(), key=key, HTTP_ORIGIN=ORIGIN) for key in (api.key, api.key, "wrong")]
    assert [answer.status_code for answer in answers] == [200, 429, 403]
    for answer in answers:
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed_origin
        assert "Origin" in answer.headers["Vary"]
        exposed = answer.headers.get("Access-Control-Expose-Headers", "")
        names = ("Retry-After", "RateLimit", "RateLimit-Policy", "X-Turn-Status")
        assert all(name in exposed.split(", ") for name in names) == (allowed_origin is not None)
