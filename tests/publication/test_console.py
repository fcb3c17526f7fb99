"""Published APIs in the console: operators see limits, keys and what became of questions, and no key or content."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from publication import limits as of_requests
from publication.models import ApiKey, Gate, Period, Publication, TurnRequest
from tests.bots.bot import body, make, share
from tests.console.operators import make_operator, make_viewer
from tests.publication.api import Api, limits, publish

pytestmark = [pytest.mark.django_db, pytest.mark.both]
PUBLICATIONS, KEYS, TURNS = (f"/console/publication/{name}/" for name in ("publication", "apikey", "turnrequest"))
WORD = "Rumpelstilzchen"


@pytest.fixture
def vera(db: None) -> Client:
    """She may look at everything."""
    client = Client()
    client.force_login(make_viewer())
    return client


@pytest.fixture
def limited(dave: APIClient) -> Api:
    """Dave's `limited`, five questions a day."""
    make(dave, "limited")
    share(dave, "limited", "all")
    return publish(dave, "limited", limits(quota=5, rate=2.5, burst=10))


def page(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, path
    return response.content.decode()


def ids(client: Client, path: str) -> list[Any]:
    return [row.pk for row in client.get(path).context["cl"].result_list]


def turn(publication_id: str, **columns: Any) -> TurnRequest:
    wanted: dict[str, Any] = {
        "message_id": f"m{TurnRequest.objects.count()}",
        "publication_id": publication_id,
        "key_id": "k",
        "conversation_id": "c",
        "model": "claude-v4.5-haiku",
        "content": [{"contentType": "text", "body": WORD}],
        "user_label": WORD,
        "accepted_at": timezone.now(),
    }
    return TurnRequest.objects.create(**{**wanted, **columns})


def use(account: str, used: int, period: Period = Period.DAY) -> None:
    label = of_requests.label_of(period, timezone.now())
    Gate.objects.filter(account=account).update(used=used, period=label)


def test_publications_show_their_limits_and_what_is_used_now(limited: Api, vera: Client) -> None:
    key = ApiKey.objects.get()
    use(key.lineage, 3)
    for path in (PUBLICATIONS, f"{PUBLICATIONS}{key.publication_id}/change/"):
        shown = page(vera, path)
        for text in ("limited", "dave", "5 a day for each key", ">3 of 5<", "2.5 a second, 10 at once"):
            assert text in shown, (path, text)
    assert key.pk in shown
    use(key.lineage, 3, Period.MONTH)  # of another kind of period: it does not count
    assert ">0 of 5<" in page(vera, PUBLICATIONS)
    assert ids(vera, f"{PUBLICATIONS}?q=limited") == ids(vera, f"{PUBLICATIONS}?q=dave") == [key.publication_id]
    assert ids(vera, f"{PUBLICATIONS}?q=limit") == []


def test_keys_show_their_state_and_use_and_never_what_opens_the_api(limited: Api, vera: Client) -> None:
    key = ApiKey.objects.get()
    ApiKey.objects.update(last_used_at=timezone.now(), last_used_address="192.0.2.7", last_used_agent="shop/1")
    use(key.lineage, 4)
    for path in (KEYS, f"{KEYS}{key.pk}/change/", f"{PUBLICATIONS}{key.publication_id}/change/"):
        shown = page(vera, path)
        assert key.pk in shown
        for secret in (limited.key, key.digest, key.encrypted_value):
            assert secret not in shown
    shown = page(vera, f"{KEYS}{key.pk}/change/")
    for text in ("limited/api", "Default api key", "active", ">4 of 5<", "192.0.2.7", "shop/1"):
        assert text in shown, text
    for secret in (limited.key, key.digest):
        assert ids(vera, f"{KEYS}?q={secret}") == []


def test_keys_are_filtered_by_their_state(limited: Api, dave: APIClient, vera: Client) -> None:
    for name in ("disabled", "expired", "rotated"):
        made = body(dave.post("/bot/limited/publication/api-key", {"description": name}, format="json"))["id"]
        if name == "rotated":
            body(dave.post(f"/bot/limited/publication/api-key/{made}/rotate", {}, format="json"))
    ApiKey.objects.filter(description="disabled").update(is_enabled=False, expires_at=timezone.now())
    ApiKey.objects.filter(description="expired").update(expires_at=timezone.now())
    keys = ApiKey.objects.in_bulk()
    states = ["active", "disabled", "expired", "replaced"]
    by_state = {state: sorted(keys[pk].description for pk in ids(vera, f"{KEYS}?state={state}")) for state in states}
    assert by_state == {
        "active": ["Default api key", "rotated"],
        "disabled": ["disabled"],
        "expired": ["expired"],
        "replaced": ["rotated"],
    }


def test_questions_show_what_became_of_them_and_nothing_of_what_they_say(vera: Client) -> None:
    waiting = turn("p")
    answered = turn("p", done_at=timezone.now())
    failed = turn("p", done_at=timezone.now(), reason="A file of this message is lost.")
    for path in (TURNS, f"{TURNS}{waiting.pk}/change/", f"{TURNS}{failed.pk}/change/"):
        assert WORD not in page(vera, path)
    assert "A file of this message is lost." in page(vera, f"{TURNS}{failed.pk}/change/")
    by_status = [ids(vera, f"{TURNS}?status={status}") for status in ("waiting", "answered", "failed")]
    assert by_status == [[waiting.pk], [answered.pk], [failed.pk]]
    assert ids(vera, f"{TURNS}?q={WORD}") == []


def test_the_list_of_questions_names_the_bot_also_of_an_api_that_was_withdrawn(
    limited: Api, dave: APIClient, vera: Client
) -> None:
    question = turn(Publication.objects.get().pk)
    assert dave.delete("/bot/limited/publication").status_code == 200
    for path in (TURNS, f"{TURNS}{question.pk}/change/"):
        assert ">limited<" in page(vera, path)
    assert ">-<" in page(vera, f"{TURNS}{turn('unknown').pk}/change/")


def test_a_publication_says_in_words_from_where_it_may_be_called(limited: Api, dave: APIClient, vera: Client) -> None:
    def shown() -> str:
        return page(vera, f"{PUBLICATIONS}{Publication.objects.get().pk}/change/").partition("From where")[2]

    def change(origins: list[str], networks: list[str]) -> None:
        changes = {"allowedOrigins": origins, "allowedNetworks": networks}
        assert dave.patch("/bot/limited/publication", changes, format="json").status_code == 200

    change([], [])
    assert re.findall(r">\s*(none|all|\[\])\s*<", shown()) == ["none", "all"]
    change(["https://a.example", "https://b.example"], ["192.0.2.0/24"])
    assert "https://a.example, https://b.example" in shown()
    assert "192.0.2.0/24" in shown()


def test_nobody_changes_anything_there(limited: Api, vera: Client) -> None:
    row = turn("p")
    before = [list(model.objects.values()) for model in (Publication, ApiKey, TurnRequest)]
    pages = ((PUBLICATIONS, Publication.objects.get().pk), (KEYS, ApiKey.objects.get().pk), (TURNS, row.pk))
    for path, pk in pages:
        for rest in ("add/", f"{pk}/change/", f"{pk}/delete/"):
            assert vera.post(path + rest, {"post": "yes"}).status_code == 403
    assert [list(model.objects.values()) for model in (Publication, ApiKey, TurnRequest)] == before
    client = Client()
    client.force_login(make_operator("udo", "view_user"))
    assert [client.get(path).status_code for path, _ in pages] == [403] * 3


def test_pages_cost_the_same_however_much_there_is(dave: APIClient, vera: Client) -> None:
    def queries(path: str) -> int:
        vera.get(path)  # what a process looks up once
        with CaptureQueriesContext(connection) as captured:
            assert vera.get(path).status_code == 200
        return len(captured)

    def fill(count: int) -> None:
        for _ in range(count):
            bot_id = f"b{Publication.objects.count()}"
            make(dave, bot_id)
            share(dave, bot_id, "all")
            publish(dave, bot_id)
            body(dave.post("/bot/b0/publication/api-key", {"description": "another"}, format="json"))
            turn("p")

    fill(1)
    paths = [PUBLICATIONS, KEYS, TURNS]
    paths += [
        f"{PUBLICATIONS}{Publication.objects.get().pk}/change/",
        f"{KEYS}{ApiKey.objects.earliest('pk').pk}/change/",
    ]
    before = [queries(path) for path in paths]
    fill(4)
    assert [queries(path) for path in paths] == before
    assert max(before) <= 9
