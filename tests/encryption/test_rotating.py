"""All secrets get under the new key while they are in use, and the old key is needed until the last one has."""

import json
import os
import sys
import threading
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.apps.registry import Apps
from django.core.management import CommandError, call_command
from django.db import connection, models, transaction
from django.test.utils import isolate_apps

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.encryption import encrypting, keys, rotating
from bedrock_chat.encryption.models import EncryptionKey
from bedrock_chat.identity.models import SigningKey
from tests.conversations.test_crash import database_url
from tests.encryption.vault import COLUMN, new_key, read, store
from tests.forking import client as forking
from tests.together import at_once

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]
ROOT = Path(__file__).resolve().parent.parent.parent
OLD, NEW = new_key(), new_key()
ENCRYPTED_COLUMN = {"encrypted", "secret"}


def rotate(*arguments: str) -> list[str]:
    output = StringIO()
    call_command("rotate_encryption", *arguments, stdout=output)
    return output.getvalue().splitlines()


def store_under(key: str, settings: Any, **secrets: str) -> None:
    settings.ENCRYPTION_KEYS = [key]
    for name, text in secrets.items():
        store(name, text)


def test_every_secret_gets_under_the_first_key_and_the_old_one_can_go(settings: Any) -> None:
    store_under(OLD, settings, alice="hers", bob="his", carol="")
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    SigningKey.objects.create(kid="nobody", private_key="")
    assert rotate() == [
        f"{COLUMN}: 3 encrypted anew.",
        f"The key with the fingerprint {keys.fingerprint(OLD)} can go.",
        "Done.",
    ]
    settings.ENCRYPTION_KEYS = [NEW]
    assert (read("alice"), read("bob"), read("carol")) == ("hers", "his", "")
    assert SigningKey.objects.get(kid="nobody").private_key == ""
    assert keys.in_use() == [keys.fingerprint(NEW)]
    keys.require_for_stored_secrets()


def test_the_audit_names_the_key_and_what_was_done_with_it(settings: Any) -> None:
    store_under(OLD, settings, alice="hers")
    settings.ENCRYPTION_KEYS = [NEW]
    rotate("--give-up", keys.fingerprint(OLD), "--yes")
    rotate()
    entries = AuditEntry.objects.order_by("pk").values_list("verb", "target_kind", "target_id")
    assert list(entries) == [
        ("give up", "encryption key", keys.fingerprint(OLD)),
        ("rotate", "encryption key", keys.fingerprint(NEW)),
    ]


def test_called_again_it_touches_nothing(settings: Any) -> None:
    store_under(OLD, settings, alice="hers")
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    rotate()
    token = SigningKey.objects.get(kid="alice").private_key
    assert rotate() == ["Done."]
    assert SigningKey.objects.get(kid="alice").private_key == token


def test_it_takes_as_many_short_transactions_as_there_are_hundreds(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotating, "AT_ONCE", 2)
    store_under(OLD, settings, **{f"n{number}": f"text {number}" for number in range(5)})
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    steps = rotating.rotate()
    assert next(steps) == f"{COLUMN}: 2 encrypted anew."
    assert not connection.in_atomic_block
    fingerprint = keys.fingerprint(NEW)
    assert SigningKey.objects.filter(private_key__startswith=fingerprint).count() == 2
    assert [*steps][:2] == [f"{COLUMN}: 2 encrypted anew.", f"{COLUMN}: 1 encrypted anew."]
    assert [read(f"n{number}") for number in range(5)] == [f"text {number}" for number in range(5)]


def test_killed_at_any_statement_it_loses_nothing_and_goes_on(settings: Any, tmp_path: Path) -> None:
    store_under(OLD, settings, **{f"n{number}": f"text {number}" for number in range(3)})
    environment = {
        **os.environ,
        "DEBUG": "true",
        "DATABASE_URL": database_url(),
        "DATA_DIR": str(tmp_path),
        "ENCRYPTION_KEYS": f"{NEW},{OLD}",
        "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings",
    }
    command = [sys.executable, "-m", "tests.encryption.rotating_driver"]
    done = forking.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    kills = json.loads(done.stdout)
    assert len(kills) > 8
    assert all(texts == ["text 0", "text 1", "text 2"] for texts in kills)
    settings.ENCRYPTION_KEYS = [NEW]
    assert keys.in_use() == [keys.fingerprint(NEW)]
    assert [read(f"n{number}") for number in range(3)] == ["text 0", "text 1", "text 2"]


def test_a_secret_that_cannot_be_read_stays_and_so_does_its_key(settings: Any) -> None:
    lost = new_key()
    store_under(lost, settings, alice="hers")
    store_under(OLD, settings, bob="his")
    token = SigningKey.objects.get(kid="alice").private_key
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    with pytest.raises(CommandError, match="1 secrets cannot be read"):
        rotate()
    assert SigningKey.objects.get(kid="alice").private_key == token
    assert keys.in_use() == sorted(map(keys.fingerprint, [lost, NEW]))
    settings.ENCRYPTION_KEYS = [NEW, lost]
    assert (read("alice"), read("bob")) == ("hers", "his")
    rotate()
    assert keys.in_use() == [keys.fingerprint(NEW)]


def test_a_secret_that_an_old_process_stores_meanwhile_keeps_its_key(settings: Any) -> None:
    """The process was not started anew yet, and has the old key alone."""
    store_under(OLD, settings, alice="hers")
    stored, go_on = threading.Event(), threading.Event()

    def store_bobs() -> None:
        with transaction.atomic():
            token = encrypting.encrypt("his")
            stored.set()
            assert go_on.wait(10)
            SigningKey.objects.create(kid="bob", private_key=token)

    def rotate_meanwhile() -> list[str]:
        assert stored.wait(10)
        settings.ENCRYPTION_KEYS = [NEW, OLD]
        threading.Timer(0.5, go_on.set).start()  # on both databases the rotation has come to its lock by then
        return rotate()

    _, sentences = at_once(store_bobs, rotate_meanwhile)
    fingerprints = keys.in_use()
    bobs = SigningKey.objects.get(kid="bob").private_key.partition(":")[0]
    assert bobs in fingerprints
    assert any("is still needed" in sentence for sentence in sentences) is (bobs == keys.fingerprint(OLD))
    assert (read("alice"), read("bob")) == ("hers", "his")
    rotate()
    assert keys.in_use() == [keys.fingerprint(NEW)]
    assert read("bob") == "his"


@pytest.mark.skipif(connection.vendor == "sqlite", reason="on SQLite the second transaction does not begin")
def test_a_key_is_not_struck_out_before_the_transaction_that_uses_it_ends(settings: Any) -> None:
    store_under(OLD, settings, alice="hers")
    SigningKey.objects.all().delete()
    locked, struck = threading.Event(), threading.Event()

    def store_bobs() -> None:
        with transaction.atomic():
            token = encrypting.encrypt("his")
            locked.set()
            assert not struck.wait(0.5)
            SigningKey.objects.create(kid="bob", private_key=token)

    def strike_out() -> bool:
        assert locked.wait(10)
        gone = rotating._strike_out_if_unused(keys.fingerprint(OLD))
        struck.set()
        return gone

    assert at_once(store_bobs, strike_out)[1] is False
    assert keys.in_use() == [keys.fingerprint(OLD)]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="on SQLite the second transaction does not begin")
def test_secrets_are_stored_side_by_side_under_one_key(settings: Any) -> None:
    store_under(OLD, settings, alice="hers")
    both = threading.Barrier(2, timeout=10)

    def keep(name: str) -> None:
        with transaction.atomic():
            token = encrypting.encrypt(name)
            both.wait()  # each has its lock while the other has one
            SigningKey.objects.create(kid=name, private_key=token)

    at_once(lambda: keep("bob"), lambda: keep("carol"))
    assert (read("bob"), read("carol")) == ("bob", "carol")


def test_a_first_secret_of_two_processes_at_once_writes_the_key_down_once(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [NEW]
    at_once(*(lambda name=name: store(name, name) for name in ("alice", "bob", "carol")))
    assert keys.in_use() == [keys.fingerprint(NEW)]
    assert [read(name) for name in ("alice", "bob", "carol")] == ["alice", "bob", "carol"]


def test_secrets_under_a_lost_key_can_be_given_up_and_no_others(settings: Any) -> None:
    lost = new_key()
    store_under(lost, settings, alice="hers")
    store_under(NEW, settings, bob="his")
    assert rotate("--give-up", keys.fingerprint(lost), "--yes") == [
        f"{COLUMN}: 1 given up.",
        f"Nothing is under the key with the fingerprint {keys.fingerprint(lost)} any more.",
        "Done.",
    ]
    keys.require_for_stored_secrets()
    assert SigningKey.objects.get(kid="alice").private_key == ""
    assert read("bob") == "his"


def test_nothing_is_given_up_that_could_be_read_or_by_a_slip(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store_under(NEW, settings, alice="hers")
    with pytest.raises(CommandError, match="This server has the key"):
        rotate("--give-up", keys.fingerprint(NEW), "--yes")
    with pytest.raises(CommandError, match="No stored secret is under a key"):
        rotate("--give-up", keys.fingerprint(OLD), "--yes")
    settings.ENCRYPTION_KEYS = [OLD]
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    with pytest.raises(CommandError, match="Nothing was done"):
        rotate("--give-up", keys.fingerprint(NEW))
    settings.ENCRYPTION_KEYS = [NEW]
    assert read("alice") == "hers"
    assert not AuditEntry.objects.exists()


def test_without_a_key_it_says_so(settings: Any) -> None:
    EncryptionKey.objects.create(fingerprint="0" * 16)
    with pytest.raises(CommandError, match="ENCRYPTION_KEYS is not set"):
        rotate()


# ---- The registry ---------------------------------------------------------------------------------------------------

PRODUCT = rotating.registered()
"""What the apps have registered, before a test has columns of its own."""


def unregistered(some: Apps, registered: list[str]) -> list[str]:
    """Columns that are named as secrets, and that a rotation would not reach."""
    columns = [
        f"{model._meta.label}.{column.name}"
        for model in some.get_models(include_auto_created=True)
        for column in model._meta.get_fields()
        if isinstance(column, models.TextField | models.CharField) and ENCRYPTED_COLUMN & {*column.name.split("_")}
    ]
    return [column for column in columns if column not in registered]


def test_every_column_of_secrets_is_registered() -> None:
    assert unregistered(apps, PRODUCT) == []


def test_a_column_that_was_forgotten_is_seen() -> None:
    with isolate_apps("store") as isolated:

        class Safe(models.Model):  # noqa: DJ008
            encrypted_key = models.TextField()

            class Meta:
                app_label = "store"

    assert unregistered(isolated, rotating.registered()) == ["store.Safe.encrypted_key"]
    rotating.register(Safe, "encrypted_key")
    assert unregistered(isolated, rotating.registered()) == []
