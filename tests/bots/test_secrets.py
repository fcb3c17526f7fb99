"""The secrets of bots and of their versions under keys that change."""

from io import StringIO

import pytest
from django.conf import LazySettings
from django.core.management import call_command
from rest_framework.test import APIClient

from bedrock_chat.encryption import keys, rotating
from bots import content
from bots.models import Bot, BotVersion
from tests.bots.bot import body, edit, firecrawl, make, read
from tests.encryption.vault import new_key

pytestmark = [pytest.mark.django_db, pytest.mark.both]


def rotate() -> list[str]:
    output = StringIO()
    call_command("rotate_encryption", stdout=output)
    return output.getvalue().splitlines()


def test_a_rotation_covers_bots_and_versions(alice: APIClient, settings: LazySettings) -> None:
    (old,), new = settings.ENCRYPTION_KEYS, new_key()
    make(alice, "b", agent=firecrawl("fc-1"))
    edit(alice, "b", agent=firecrawl("fc-2"))
    make(alice, "without")
    settings.ENCRYPTION_KEYS = [new, old]
    assert {"bots.Bot.encrypted_secrets", "bots.BotVersion.encrypted_secrets"} <= set(rotating.registered())
    output = rotate()
    assert "bots.Bot.encrypted_secrets: 1 encrypted anew." in output
    assert "bots.BotVersion.encrypted_secrets: 2 encrypted anew." in output
    settings.ENCRYPTION_KEYS = [new]
    keys.require_for_stored_secrets()
    stored = [content.read(row).secrets for row in (*Bot.objects.order_by("pk"), *BotVersion.objects.order_by("pk"))]
    assert stored == [
        {"internet_search": "fc-2"},
        {},
        {"internet_search": "fc-1"},
        {"internet_search": "fc-2"},
        {},
    ]


def test_a_bot_whose_key_is_gone_is_read_and_not_changed(alice: APIClient, settings: LazySettings) -> None:
    make(alice, "b", agent=firecrawl("fc-secret"))
    settings.ENCRYPTION_KEYS = [new_key()]
    shown = read(alice, "b")
    assert shown["agent"]["tools"][0]["firecrawlConfig"]["apiKey"] == "********"
    response = edit(alice, "b", title="Another")
    assert response.status_code == 503
    assert "fc-secret" not in response.content.decode()
    assert read(alice, "b") == shown
    assert body(alice.get("/bot/summary/b"))["hasAgent"] is True


def test_no_answer_shows_a_secret(alice: APIClient, carol: APIClient) -> None:
    make(alice, "b", agent=firecrawl("fc-secret-1"))
    edit(alice, "b", agent=firecrawl("fc-secret-2"))
    edit(alice, "b", agent={"tools": []})
    alice.post("/bot/b/versions/1/restore")
    paths = ["/bot/private/b", "/bot/summary/b", "/bot", "/bot/b/versions"]
    paths += [f"/bot/b/versions/{number}" for number in (1, 2, 3, 4)]
    for path in paths:
        assert "fc-secret" not in alice.get(path).content.decode()
    assert "fc-secret" not in carol.get("/admin/bot/public/b").content.decode()
