"""What opens an API is in no log, page, audit or export; and each write of the API is recorded."""

import json
import logging
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import call_command
from django.test import Client
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.identity.models import User
from publication.models import ApiKey, Publication, TurnRequest
from tests.bots.bot import body, firecrawl, make, share
from tests.console.operators import make_viewer
from tests.publication.api import Api, limits, publish, question, work
from tests.traces import anything_of

SECRET = "fc-Rumpelstilzchen"
PATH = "/bot/safe/publication"

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]


def keys_of(owner: APIClient) -> list[str]:
    """Values of the keys that a life of an API has, each used and misused."""
    api = publish(owner, "safe", limits(quota=3, rate=100, burst=100))
    made = body(owner.post(f"{PATH}/api-key", {"description": "second"}, format="json"))
    rotated = body(owner.post(f"{PATH}/api-key/{made['id']}/rotate", {"overlapHours": 1}, format="json"))
    values = [api.key, made["value"], rotated["value"]]
    for value in values:
        bearer = {"HTTP_AUTHORIZATION": f"Bearer {value}"}
        assert api.client.get(f"{api.path}/v1/models", **bearer).status_code == 200
        chat = {"model": value, "messages": [{"role": "user", "content": value}]}
        wrong = {"HTTP_AUTHORIZATION": f"Bearer {value}x"}
        assert api.client.post(f"{api.path}/v1/chat/completions", chat, format="json", **wrong).status_code == 403
        assert api.post(question(), key=value).status_code == 200
        assert api.get("/health", key=value[:-1]).status_code == 403
        assert api.get("/conversation/nope", key=value).status_code == 404
        assert api.post({"message": value}, key=value).status_code in (400, 429)
    for _ in range(3):
        over = api.post(question())
    assert over.status_code == 429
    work()
    body(owner.patch(f"{PATH}/api-key/{made['id']}", {"enabled": False}, format="json"))
    assert api.post(question(), key=made["value"]).status_code == 403
    return values


@pytest.mark.usefixtures("emulator")
def test_no_key_and_no_secret_of_a_tool_is_told_anywhere(
    dave: APIClient, settings: LazySettings, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    make(dave, "safe", agent=firecrawl(SECRET))
    share(dave, "safe", "all")
    values = keys_of(dave)
    rows = list(ApiKey.objects.all())
    hidden = [SECRET, *values, *(row.digest for row in rows), *(row.encrypted_value for row in rows)]
    assert all(hidden)

    outputs = {"logs": caplog.text + "".join(capfd.readouterr())}
    outputs["audit"] = json.dumps(list(AuditEntry.objects.values()), default=str)
    call_command("export_user", User.objects.get(username="dave").pk, "--to", str(tmp_path / "export"))
    outputs["export"] = "".join(path.read_text() for path in (tmp_path / "export").rglob("*.json*"))
    listed = StringIO()
    call_command("list_api_keys", "--json", stdout=listed)
    call_command("simulate_quota", "safe", "--json", stdout=listed)
    outputs["commands"] = listed.getvalue()
    client = Client()
    client.force_login(make_viewer())
    lists = {"publication": Publication, "apikey": ApiKey, "turnrequest": TurnRequest}
    pages = [f"publication/{name}/{row.pk}/change/" for name, model in lists.items() for row in model.objects.all()]
    pages += [f"publication/{name}/" for name in lists]
    pages += ["bots/bot/safe/change/", "bedrock_chat/auditentry/", "bedrock_chat/job/", "bedrock_chat/modelcall/"]
    outputs["pages"] = "".join(client.get(f"/console/{path}").content.decode() for path in pages)
    outputs["publication"] = json.dumps(
        [dave.get(path).json() for path in (PATH, f"{PATH}/api-key", "/bot/private/safe")]
    )
    for place, text in outputs.items():
        assert len(text) > 100, place
        assert [secret for secret in hidden if secret in text] == [], place
    for secret in (SECRET, *values):
        assert anything_of(secret) == []


def test_each_write_of_an_api_is_recorded_with_who_did_it(api: Api, dave: APIClient, carol: APIClient) -> None:
    before = AuditEntry.objects.count()
    path = "/bot/helper/publication"
    key = ApiKey.objects.get().pk
    origins = {"allowedOrigins": ["https://app.example.com"], "quota": {"limit": 9, "offset": 0, "period": "DAY"}}
    body(dave.patch(path, origins, format="json"))
    body(dave.patch(path, origins, format="json"))  # it changes nothing
    made = body(dave.post(f"{path}/api-key", {"description": "a private word"}, format="json"))["id"]
    body(dave.patch(f"{path}/api-key/{made}", {"enabled": False, "description": "another word"}, format="json"))
    body(carol.post(f"{path}/api-key/{key}/top-up", {"requests": 5}, format="json"))
    new = body(carol.post(f"{path}/api-key/{key}/rotate", {"overlapHours": 0.5}, format="json"))["id"]
    body(dave.delete(f"{path}/api-key/{made}"))
    body(carol.delete(path))
    people = {User.objects.get(username=name).pk: name for name in ("dave", "carol")}
    entries = list(AuditEntry.objects.order_by("pk"))[before:]
    assert [(people[entry.actor_id], entry.verb, entry.target_id, sorted(entry.fields)) for entry in entries] == [
        ("dave", "change publication", "helper", ["allowed_origins", "quota_limit", "quota_period"]),
        ("dave", "create", made, []),
        ("dave", "change", made, ["description", "is_enabled"]),
        ("carol", "top up", key, []),
        ("carol", "rotate", key, []),
        ("dave", "revoke", made, []),
        *(("carol", "revoke", gone, []) for gone in (key, new)),
        ("carol", "withdraw", "helper", []),
    ]
    assert [entry.values for entry in entries[2:5]] == [
        {"is_enabled": {"before": True, "after": False}},
        {"requests": 5},
        {"overlap_hours": 0.5},
    ]
    assert entries[0].values["quota_limit"] == {"before": None, "after": 9}
    assert "word" not in json.dumps([[entry.fields, entry.values] for entry in entries])
