"""Keys: refused alike whatever is wrong with them, at once when they end, and seen when they are used."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.conf import LazySettings
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
from bedrock_chat.jobs.models import Job
from publication import authentication, keys
from publication.models import ApiKey, Gate, Publication, TurnRequest
from tests.bots.bot import body, make, share
from tests.conversations.test_queries import statements
from tests.publication.api import Api, limits, publish, question, stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]

KEYS = "/bot/helper/publication/api-key"


def disable(api: Api) -> None:
    ApiKey.objects.update(is_enabled=False)


def expire(api: Api) -> None:
    ApiKey.objects.update(expires_at=timezone.now() - timedelta(milliseconds=1))


def move_stage(api: Api) -> None:
    Publication.objects.update(stage="dev")


def allow_one_network(api: Api) -> None:
    Publication.objects.update(allowed_networks=["192.0.2.0/24", "2001:db8::/32"])


def suspend_owner(api: Api) -> None:
    User.objects.filter(username="dave").update(is_active=False)


def forget(api: Api) -> None:
    api.key = "x" * 40


def lose(api: Api) -> None:
    api.key = ""


def shorten(api: Api) -> None:
    api.key = api.key[:-1]


def overlong(api: Api) -> None:
    api.key *= 1000


WRONGS: list[Callable[[Api], None]] = [
    *(disable, expire, move_stage, allow_one_network, suspend_owner, forget, lose, shorten, overlong)
]


@pytest.fixture
def refusal(api: Api) -> tuple[bytes, dict[str, str], int]:
    """What an unknown key gets: the bytes, the headers, and the number of statements."""
    return refused(api, "x" * 40)


def refused(api: Api, key: str) -> tuple[bytes, dict[str, str], int]:
    with CaptureQueriesContext(connection) as captured:
        answer = api.post(question(), key=key)
    assert answer.status_code == 403
    headers = {name: value for name, value in answer.headers.items() if name != "X-Request-ID"}
    return answer.content, headers, len(statements(captured))


@pytest.mark.parametrize("wrong", WRONGS, ids=lambda wrong: wrong.__name__)
def test_whatever_is_wrong_with_a_key_it_is_refused_alike(
    api: Api, refusal: tuple[bytes, dict[str, str], int], wrong: Callable[[Api], None]
) -> None:
    assert api.get("/health").status_code == 200
    wrong(api)
    content, headers, statements = refused(api, api.key)
    assert json.loads(content) == {"message": "Forbidden", "detail": "Forbidden", "errors": ["Forbidden"]}
    assert (content, headers) == refusal[:2]
    assert headers["x-amzn-ErrorType"] == "ForbiddenException"
    # Of a key that cannot be one, nothing has to be asked.
    assert statements == (0 if wrong in (lose, overlong) else refusal[2])


def test_a_refused_key_spends_and_writes_nothing(api: Api) -> None:
    ApiKey.objects.update(is_enabled=False)
    before = stored(Gate, ApiKey, TurnRequest, Job)
    assert api.post(question()).status_code == 403
    assert stored(Gate, ApiKey, TurnRequest, Job) == before


def test_refused_keys_are_bounded_for_each_address_and_valid_ones_pass(api: Api, settings: LazySettings) -> None:
    settings.FAILED_KEYS_RATE = "3/m"
    statuses = [api.get("/health", key=f"wrong{n}").status_code for n in range(5)]
    assert statuses == [403, 403, 403, 429, 429]
    limited = api.get("/health", key="wrong")
    assert limited.json()["message"] == "Too Many Requests"
    assert limited.headers["x-amzn-ErrorType"] == "TooManyRequestsException"
    assert 0 < int(limited.headers["Retry-After"]) <= 60
    assert api.get("/health").status_code == 200
    assert api.get("/health", key="wrong", REMOTE_ADDR="198.51.100.7").status_code == 403


def test_networks_of_both_families_are_heeded(api: Api, dave: APIClient, settings: LazySettings) -> None:
    body(
        dave.patch(
            "/bot/helper/publication", {"allowedNetworks": ["::ffff:192.0.2.0/120", "2001:db8::/32"]}, format="json"
        )
    )
    for address, status in (("192.0.2.9", 200), ("2001:db8::1", 200), ("198.51.100.1", 403), ("2001:db9::1", 403)):
        assert api.get("/health", REMOTE_ADDR=address).status_code == status


def test_a_key_ends_at_once_and_comes_back_at_once(api: Api, dave: APIClient) -> None:
    [listed] = body(dave.get(KEYS))
    for enabled, status in ((False, 403), (True, 200)):
        body(dave.patch(f"{KEYS}/{listed['id']}", {"enabled": enabled}, format="json"))
        assert api.get("/health").status_code == status
    soon = int((timezone.now() + timedelta(hours=1)).timestamp() * 1000)
    for expires_at, status in ((1000, 403), (soon, 200), (None, 200)):
        body(dave.patch(f"{KEYS}/{listed['id']}", {"expiresAt": expires_at}, format="json"))
        assert api.get("/health").status_code == status
    assert body(dave.delete(f"{KEYS}/{listed['id']}")) is None
    assert api.get("/health").status_code == 403


def test_a_key_that_is_erased_with_its_owner_just_after_it_was_found_is_refused(api: Api) -> None:
    request = RequestFactory().get(f"{api.path}/health", HTTP_X_API_KEY=api.key)
    known = authentication.find(request)
    ApiKey.objects.all().delete()
    Gate.objects.all().delete()
    assert api.post(question(), **{authentication.KNOWN_KEY: known}).json()["message"] == "Forbidden"


def test_a_suspended_owners_keys_come_back_with_them(api: Api) -> None:
    User.objects.filter(username="dave").update(is_active=False)
    assert api.get("/health").status_code == 403
    User.objects.filter(username="dave").update(is_active=True)
    assert api.get("/health").status_code == 200


def test_the_last_use_is_written_after_the_response_and_once_a_minute(api: Api, dave: APIClient) -> None:
    key = ApiKey.objects.get()
    later = timezone.now()
    uses = [(0, "curl"), (59, "too soon"), (60, "python"), (61, "too soon again")]
    for seconds, agent in uses:
        authentication.note_use(key, "192.0.2.1", agent, later + timedelta(seconds=seconds))
    key.refresh_from_db()
    assert (key.last_used_agent, key.last_used_at) == ("python", later + timedelta(seconds=60))
    [listed] = body(dave.get(KEYS))
    assert (listed["lastUsedAgent"], listed["lastUsedAddress"]) == ("python", "192.0.2.1")
    assert listed["lastUsedAt"] == int((later + timedelta(seconds=60)).timestamp() * 1000)


def test_a_rotated_key_works_beside_its_successor_and_both_draw_on_one_quota(dave: APIClient, emulator: Any) -> None:
    make(dave, "helper")
    share(dave, "helper", "all")
    old = publish(dave, "helper", limits(quota=3))
    key_id = ApiKey.objects.get().pk
    new = body(dave.post(f"{KEYS}/{key_id}/rotate", {"overlapHours": 24}, format="json"))
    keys = [old.key, new["value"], old.key, new["value"], old.key]
    assert [old.post(question(), key=key).status_code for key in keys] == [200, 200, 200, 429, 429]
    listed = body(dave.get(KEYS))
    assert {entry["lineage"] for entry in listed} == {key_id}
    ending = next(entry for entry in listed if entry["id"] == key_id)
    assert 23.9 < (ending["expiresAt"] / 1000 - timezone.now().timestamp()) / 3600 <= 24
    body(dave.post(f"{KEYS}/{new['id']}/rotate", {"overlapHours": 0}, format="json"))
    assert old.get("/health", key=new["value"]).status_code == 403


def test_a_rotation_never_prolongs_a_key(api: Api, dave: APIClient) -> None:
    key_id = ApiKey.objects.get().pk
    ApiKey.objects.update(expires_at=timezone.now() + timedelta(hours=1))
    new = body(dave.post(f"{KEYS}/{key_id}/rotate", {"overlapHours": 48}, format="json"))
    ends = set(ApiKey.objects.values_list("expires_at", flat=True))
    assert len(ends) == 1, "the successor ends with what it replaces"
    assert new["expiresAt"] is not None


def test_a_key_does_not_end_with_the_overlap_of_one_before_it(api: Api, dave: APIClient) -> None:
    key_id = ApiKey.objects.get().pk
    revoked = body(dave.post(f"{KEYS}/{key_id}/rotate", {"overlapHours": 1}, format="json"))["id"]
    body(dave.delete(f"{KEYS}/{revoked}"))
    refused = dave.post(f"{KEYS}/{key_id}/rotate", {"overlapHours": 1}, format="json")
    assert refused.status_code == 409, "a new key would end within the hour"
    assert "change its expiresAt first" in refused.json()["detail"]
    body(dave.patch(f"{KEYS}/{key_id}", {"expiresAt": None}, format="json"))
    assert body(dave.post(f"{KEYS}/{key_id}/rotate", {"overlapHours": 1}, format="json"))["expiresAt"] is None
    assert dave.post(f"{KEYS}/{key_id}/rotate", {"overlapHours": 1}, format="json").status_code == 409


def test_rotations_leave_so_many_keys_and_the_oldest_that_have_ended_go(
    api: Api, dave: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MOST_OF_A_LINEAGE", 3)
    rotated = [ApiKey.objects.get().pk]

    def rotate(hours: int) -> Any:
        answer = dave.post(f"{KEYS}/{rotated[-1]}/rotate", {"overlapHours": hours}, format="json")
        if answer.status_code == 200:
            rotated.append(body(answer)["id"])
        return answer

    assert [rotate(hours).status_code for hours in (0, 1, 1)] == [200, 200, 200]
    assert set(ApiKey.objects.values_list("pk", flat=True)) == set(rotated[1:]), "the first one had ended"
    refused = rotate(1)
    assert (refused.status_code, "revoke one first" in refused.json()["detail"]) == (409, True)
    assert ApiKey.objects.count() == 3


def test_there_are_so_many_keys_and_a_used_one_counts_as_long_as_its_period(
    dave: APIClient, emulator: Any, settings: LazySettings
) -> None:
    settings.MAX_KEYS_PER_PUBLICATION = 2
    make(dave, "helper")
    share(dave, "helper", "all")
    api = publish(dave, "helper", limits(quota=1))
    second = body(dave.post(KEYS, {"description": "second"}, format="json"))
    refusal = dave.post(KEYS, {"description": "third"}, format="json")
    assert (refusal.status_code, "Retry-After" in refusal.headers) == (409, False)
    body(dave.delete(f"{KEYS}/{second['id']}"))  # it was never used
    used = body(dave.post(KEYS, {"description": "third"}, format="json"))
    body(api.post(question(), key=used["value"]))
    body(dave.delete(f"{KEYS}/{used['id']}"))
    refusal = dave.post(KEYS, {"description": "fourth"}, format="json")
    assert refusal.status_code == 409
    assert 0 < int(refusal.headers["Retry-After"]) <= 86_400


def test_a_value_is_shown_once_where_the_setting_says_so(
    dave: APIClient, emulator: Any, settings: LazySettings
) -> None:
    settings.API_KEY_REVEAL = "once"
    make(dave, "helper")
    share(dave, "helper", "all")
    body(dave.post("/bot/helper/publication", limits(), format="json"))
    made = body(dave.post(KEYS, {"description": "k"}, format="json"))
    assert len(made["value"]) == 40
    assert body(dave.get(f"{KEYS}/{made['id']}"))["value"] == ""
    assert APIClient().get("/published/helper/api/health", HTTP_X_API_KEY=made["value"]).status_code == 200


def test_without_an_encryption_key_nothing_is_published_and_the_503_names_the_setting(
    dave: APIClient, emulator: Any, settings: LazySettings
) -> None:
    make(dave, "helper")
    share(dave, "helper", "all")
    settings.ENCRYPTION_KEYS = []
    refusal = dave.post("/bot/helper/publication", limits(), format="json")
    if connection.vendor == "postgresql":
        assert refusal.status_code == 503
        assert "ENCRYPTION_KEYS" in refusal.json()["detail"]
        assert not Publication.objects.exists()
    else:  # SQLite has a key file beside it
        assert refusal.status_code == 200


def test_no_value_is_stored_as_it_is(api: Api) -> None:
    for kind in apps.get_models():
        rows = list(kind._default_manager.values())
        assert api.key not in str(rows), kind
