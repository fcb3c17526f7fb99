"""Keys from the command line: each command does what it says once, however often it is called."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command, get_commands, load_command_class
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.wire.errors import Conflict
from publication import keys
from publication.models import ApiKey, TurnRequest
from tests.bots.bot import body, make, share
from tests.encryption.vault import new_key
from tests.publication.api import Api, limits, publish, question, work

pytestmark = [pytest.mark.django_db, pytest.mark.both]


def said(*arguments: str) -> list[str]:
    """What a command prints."""
    output = StringIO()
    call_command(*arguments, stdout=output)
    return output.getvalue().splitlines()


def told(*arguments: str) -> Any:
    """The document that it prints."""
    return json.loads("\n".join(said(*arguments, "--json")))


def only_key() -> ApiKey:
    return ApiKey.objects.get()


def age(key_id: str, days: int) -> None:
    ApiKey.objects.filter(pk=key_id).update(created_at=timezone.now() - timedelta(days=days))


def refusal_of(*arguments: str) -> str:
    with pytest.raises(CommandError) as refused:
        said(*arguments)
    assert refused.value.returncode == 1
    return str(refused.value)


def test_a_key_that_was_made_opens_the_api_and_is_made_once(api: Api) -> None:
    made = told("create_api_key", "helper", "for the shop", "--expires", "2999-01-31")
    assert (made["created"], made["expiresAt"]) == (True, "2999-01-31T00:00:00+00:00")
    assert api.get("/health", key=made["value"]).status_code == 200
    again = told("create_api_key", "helper", "for the shop")
    assert (again["created"], again["id"], again["value"]) == (False, made["id"], made["value"])
    assert said("create_api_key", "helper", "for the shop")[1] == made["value"]
    assert ApiKey.objects.count() == 2


def test_a_key_whose_value_is_not_kept_is_shown_once(api: Api, settings: LazySettings) -> None:
    settings.API_KEY_REVEAL = "once"
    made = told("create_api_key", "helper", "once")
    assert api.get("/health", key=made["value"]).status_code == 200
    assert told("create_api_key", "helper", "once")["value"] is None
    assert "no copy is kept" in said("create_api_key", "helper", "once")[1]


def test_a_rotated_key_goes_on_for_the_overlap_and_is_rotated_once(api: Api) -> None:
    old = only_key()
    new = told("rotate_api_key", old.pk, "--overlap", "2h")
    assert (new["rotated"], new["lineage"]) == (True, old.lineage)
    assert [api.get("/health", key=key).status_code for key in (api.key, new["value"])] == [200, 200]
    old.refresh_from_db()
    assert old.expires_at is not None
    assert timedelta(hours=1.9) < old.expires_at - timezone.now() <= timedelta(hours=2)
    again = told("rotate_api_key", old.pk, "--overlap", "0h")
    assert (again["rotated"], again["value"], again["oldExpiresAt"]) == (False, new["value"], new["oldExpiresAt"])
    assert (
        f"in the place of {old.pk}, which ends {old.expires_at:%Y-%m-%d %H:%M} UTC:"
        in said("rotate_api_key", old.pk)[0]
    )
    assert api.get("/health").status_code == 200  # it goes on for the overlap that was said first
    assert ApiKey.objects.count() == 2
    ended = told("rotate_api_key", new["id"], "--overlap", "0h")
    assert [api.get("/health", key=key).status_code for key in (new["value"], ended["value"])] == [403, 200]


@pytest.mark.django_db(transaction=True)  # a question leaves all transactions
def test_the_list_says_who_still_uses_an_old_key(api: Api, emulator: Any) -> None:
    old = only_key()
    new = told("rotate_api_key", old.pk)
    body(api.post(question(userLabel="customer 4711"), HTTP_USER_AGENT="shop/1"))
    work()
    ApiKey.objects.filter(pk=old.pk).update(
        last_used_at=timezone.now(), last_used_address="192.0.2.7", last_used_agent="\x1b[2J"
    )
    rows = {row["id"]: row for row in told("list_api_keys", "--bot", "helper")}
    assert rows[old.pk]["state"] == "replaced"
    assert rows[old.pk]["sinceReplaced"] == {"calls": ModelCall.objects.count(), "userLabels": ["customer 4711"]}
    assert (rows[new["id"]]["state"], rows[new["id"]]["sinceReplaced"]) == ("active", None)
    text = "\n".join(said("list_api_keys", "--replaced"))
    assert f"{old.pk}  replaced by {new['id']}" in text
    assert r"from 192.0.2.7, '\x1b[2J'" in text
    assert "since it was replaced for 'customer 4711'" in text
    assert new["id"] + "  active" not in text
    for value in (api.key, new["value"]):
        assert value not in text + json.dumps(list(rows.values()))


def test_old_keys_are_rotated_together_and_others_are_left_alone(api: Api, dave: APIClient, bob: APIClient) -> None:
    make(bob, "other")
    share(bob, "other", "all")
    publish(bob, "other")
    young = told("create_api_key", "helper", "young")["id"]
    disabled = told("create_api_key", "helper", "disabled")["id"]
    ApiKey.objects.filter(pk=disabled).update(is_enabled=False)
    olds = list(
        ApiKey.objects.exclude(pk__in=[young, disabled]).order_by("publication__bot").values_list("pk", flat=True)
    )
    for key_id in (*olds, disabled):
        age(key_id, 91)
    age(young, 89)
    command = ("rotate_api_keys", "--older-than", "90d")
    assert [row["old"]["id"] for row in told(*command, "--dry-run")] == olds
    assert said(*command, "--bot", "other", "--dry-run")[-1] == "1 keys would be rotated."
    assert ApiKey.objects.count() == 4
    rotated = told(*command)
    assert [row["old"]["id"] for row in rotated] == olds
    assert api.get("/health", key=rotated[0]["new"]["value"]).status_code == 200
    assert told(*command) == []
    assert said(*command) == ["0 keys were rotated."]


def test_a_key_that_cannot_be_rotated_stops_no_other(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    told("create_api_key", "helper", "second")
    first, second = ApiKey.objects.order_by("created_at").values_list("pk", flat=True)
    replace = keys.replace

    def replace_unless_first(key: ApiKey, *arguments: Any, **options: Any) -> Any:
        if key.pk == first:
            raise Conflict("Not this one.")
        return replace(key, *arguments, **options)

    monkeypatch.setattr(keys, "replace", replace_unless_first)
    assert "1 keys could not be rotated" in refusal_of("rotate_api_keys", "--older-than", "0d")
    assert ApiKey.objects.get(pk=second).replaced_by
    assert not ApiKey.objects.get(pk=first).replaced_by


def test_each_command_explains_itself_and_prints_json_if_asked() -> None:
    commands = [name for name, app in get_commands().items() if app == "publication"]
    assert len(commands) == 6
    for name in (*commands, "rotate_encryption_key", "rotate_encryption"):
        help_text = load_command_class(get_commands()[name], name).create_parser("manage.py", name).format_help()
        assert "--json" in help_text
        assert len(help_text.partition("options:")[0]) > 200, name


def test_a_revoked_key_is_refused_and_revoking_it_again_is_no_error(api: Api) -> None:
    key_id = only_key().pk
    assert told("revoke_api_key", key_id) == {"id": key_id, "revoked": True}
    assert api.get("/health").status_code == 403
    assert said("revoke_api_key", key_id) == [f"{key_id} was revoked before."]


@pytest.mark.parametrize("command", ["rotate_api_key", "revoke_api_key"])
def test_a_value_in_the_place_of_an_id_is_refused_and_not_repeated(api: Api, command: str) -> None:
    refusal = refusal_of(command, api.key)
    assert "There is no key with this id" in refusal
    assert api.key not in refusal
    assert only_key().replaced_by == ""


def test_each_refusal_says_what_is_wrong(api: Api, dave: APIClient, settings: LazySettings) -> None:
    make(dave, "unpublished")
    assert refusal_of("create_api_key", "nope", "x") == "No bot found with id: nope"
    assert refusal_of("create_api_key", "unpublished", "x") == "Bot unpublished is not published."
    assert refusal_of("list_api_keys", "--bot", "nope") == "No bot found with id: nope"
    assert refusal_of("rotate_api_keys", "--older-than", "1d", "--bot", "nope") == "No bot found with id: nope"
    for wrong in (["--overlap", "1y"], ["--overlap", "366d"], ["--overlap", "-1h"]):
        with pytest.raises(CommandError, match="--overlap"):
            said("rotate_api_key", only_key().pk, *wrong)
    for wrong in ("yesterday", "2001-01-01", "9999-12-31T23:59-23:00"):
        with pytest.raises(CommandError, match="--expires"):
            said("create_api_key", "helper", "x", "--expires", wrong)
    settings.MAX_KEYS_PER_PUBLICATION = 1
    assert "as many as it may have" in refusal_of("create_api_key", "helper", "x")
    ApiKey.objects.update(is_enabled=False)
    assert "disabled or has expired" in refusal_of("rotate_api_key", only_key().pk)
    assert ApiKey.objects.count() == 1


def test_each_write_is_recorded_with_the_program_and_repeats_are_not(api: Api) -> None:
    before = AuditEntry.objects.count()
    for _ in range(2):
        made = told("create_api_key", "helper", "x")["id"]
    for _ in range(2):
        new = told("rotate_api_key", made, "--overlap", "1h")["id"]
    for _ in range(2):
        said("revoke_api_key", new)
    said("list_api_keys")
    entries = AuditEntry.objects.order_by("pk")[before:]
    assert [(entry.verb, entry.target_id, entry.actor_kind, entry.actor_id) for entry in entries] == [
        ("create", made, "command", "create_api_key"),
        ("rotate", made, "command", "rotate_api_key"),
        ("revoke", new, "command", "revoke_api_key"),
    ]


def test_the_values_of_keys_get_under_a_new_encryption_key(api: Api, dave: APIClient, settings: LazySettings) -> None:
    old = settings.ENCRYPTION_KEYS[0]
    settings.ENCRYPTION_KEYS = [new_key(), old]
    rotated = told("rotate_encryption_key")
    assert rotated["steps"][0] == "publication.ApiKey.encrypted_value: 1 encrypted anew."
    assert len(rotated["needed"]) == len(rotated["mayGo"]) == 1
    settings.ENCRYPTION_KEYS = settings.ENCRYPTION_KEYS[:1]
    shown = body(dave.get(f"/bot/helper/publication/api-key/{only_key().pk}"))
    assert shown["value"] == api.key
    assert said("rotate_encryption") == ["Done."]


@pytest.mark.django_db(transaction=True)  # a question leaves all transactions
def test_rotating_neither_doubles_a_quota_nor_counts_its_offset_twice(dave: APIClient, emulator: Any) -> None:
    make(dave, "limited")
    share(dave, "limited", "all")
    sent = limits(quota=5, period="MONTH")
    sent["quota"]["offset"] = 2
    api = publish(dave, "limited", sent)
    last_month = timezone.now() - timedelta(days=40)
    ApiKey.objects.update(begun_at=last_month)
    new = told("rotate_api_key", only_key().pk)["value"]
    statuses = [api.post(question(), key=key).status_code for key in (api.key, new) * 3]
    assert statuses == [200] * 5 + [429]
    assert TurnRequest.objects.count() == 5
