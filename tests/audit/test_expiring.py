"""Old entries expire, which is itself recorded; an erased person's entries stay until then."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from rest_framework.test import APIClient

from bedrock_chat.audit import append_only, expiring, verbs
from bedrock_chat.audit.models import ActorKind, AuditEntry
from bedrock_chat.audit.recording import record
from bedrock_chat.database.connections import database_now
from bedrock_chat.database.keys_by_time import first_key_since
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Caller, Program
from bedrock_chat.identity.models import User
from tests.traces import anything_of

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]
ClientOf = Callable[..., APIClient]


def entry_of(days_ago: float, target_id: str = "t") -> AuditEntry:
    """An entry as if it had been recorded then."""
    with transaction.atomic():
        record(verbs.EXPORT_USER, target_id, actor=Program.command("export_user"))
    entry = AuditEntry.objects.latest("pk")
    date(entry, database_now() - timedelta(days=days_ago))
    return entry


def date(entry: AuditEntry, moment: datetime) -> None:
    """Below the model, which lets nobody do so, and without the database's guard."""
    append_only.lift()
    with connection.cursor() as cursor:
        value = connection.ops.adapt_datetimefield_value(moment)
        cursor.execute("UPDATE bedrock_chat_auditentry SET at = %s WHERE id = %s", [value, entry.pk])
    append_only.guard()


def test_what_is_older_goes_in_batches_and_leaves_one_entry(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(expiring, "AT_A_TIME", 2)
    old = [entry_of(days) for days in (50, 40, 33, 32, 31)]
    new = [entry_of(days) for days in (29, 1)]
    call_command("expire_audit", "--days=30")
    assert "5 entries were deleted" in capsys.readouterr().out
    *kept, expiry = AuditEntry.objects.order_by("pk")
    assert kept == new
    assert (expiry.verb, expiry.target_kind, expiry.target_id) == ("expire", "audit", str(old[-1].pk))
    assert (expiry.actor_kind, expiry.actor_id, expiry.values) == (ActorKind.COMMAND, "expire_audit", {"days": 30})


def test_the_first_batch_says_why_entries_are_missing_whatever_comes_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiring, "AT_A_TIME", 1)
    for days in (50, 40):
        entry_of(days)
    batches = expiring.expire(30, actor=Program.command("expire_audit"))
    assert next(batches) == 1
    batches.close()  # type: ignore[attr-defined]
    assert list(AuditEntry.objects.order_by("pk").values_list("verb", flat=True)) == ["export", "expire"]


def test_where_nothing_is_old_nothing_happens() -> None:
    entry = entry_of(3)
    call_command("expire_audit", "--days=30")
    assert list(AuditEntry.objects.all()) == [entry]


@pytest.mark.parametrize("days", ["0", "-1", "x", "1.5", "36501"])
def test_a_number_of_days_is_a_whole_one(days: str) -> None:
    entry_of(400_00)
    with pytest.raises(CommandError):
        call_command("expire_audit", f"--days={days}")
    assert AuditEntry.objects.count() == 1


def test_entries_since_a_time_are_found_by_their_keys_also_a_little_out_of_order() -> None:
    entries = [entry_of(days, f"t{days}") for days in (9, 8, 7, 6.0005, 6.001, 5, 4)]
    since = AuditEntry.objects.all().since(database_now() - timedelta(days=6.00075))
    assert [entry.target_id for entry in since.order_by("pk")] == ["t6.0005", "t5", "t4"]
    assert first_key_since(AuditEntry.objects.all(), "at", database_now()) == entries[-1].pk + 1


def test_erasing_a_person_leaves_their_entries_and_says_so(
    client_of: ClientOf, capsys: pytest.CaptureFixture[str]
) -> None:
    alice = local.local_user("alice")
    with transaction.atomic():
        record(verbs.EXPORT_USER, "bob", actor=Caller(user_id=alice.pk))
    call_command("erase_user", alice.pk, "--yes")
    assert "1 entries of the audit stay until they expire" in capsys.readouterr().out
    assert not User.objects.filter(pk=alice.pk).exists()
    hers, erasure = AuditEntry.objects.order_by("pk")
    assert (hers.actor_id, hers.target_id) == (alice.pk, "bob")
    assert (erasure.verb, erasure.target_id, erasure.actor_id) == ("erase", alice.pk, "erase_user")
    assert anything_of("alice") == []  # her name, and her address that has it


def test_an_erasure_that_fails_at_its_end_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    alice = local.local_user("alice")

    def broken(*args: object, **options: object) -> None:
        record(*args, **options)  # type: ignore[arg-type]
        raise OSError

    monkeypatch.setattr("bedrock_chat.management.commands.erase_user.record", broken)
    with pytest.raises(OSError):
        call_command("erase_user", alice.pk, "--yes")
    assert User.objects.filter(pk=alice.pk).exists()
    assert not AuditEntry.objects.exists()


def test_an_export_is_recorded_and_has_the_persons_entries(tmp_path: Path) -> None:
    alice, bob = local.local_user("alice"), local.local_user("bob")
    with transaction.atomic():
        record(verbs.EXPORT_USER, bob.pk, actor=Caller(user_id=alice.pk))
        record(verbs.EXPORT_USER, bob.pk, actor=Caller(user_id=bob.pk))
    call_command("export_user", alice.pk, "--to", str(tmp_path / "alice"))
    lines = [json.loads(line) for line in (tmp_path / "alice" / "audit.jsonl").read_text().splitlines()]
    assert [(line["actor_id"], line["target_id"]) for line in lines] == [
        (alice.pk, bob.pk),
        ("export_user", alice.pk),
    ]


def test_an_export_that_does_not_begin_is_not_recorded(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    with pytest.raises(CommandError):
        call_command("export_user", local.local_user("alice").pk, "--to", str(tmp_path))
    with pytest.raises(CommandError):
        call_command("export_user", "nobody", "--to", str(tmp_path / "new"))
    assert not AuditEntry.objects.exists()


def test_a_token_that_was_issued_is_recorded_with_its_groups_and_days() -> None:
    call_command("issue_token", "alice", "--group=Admin", "--group=営業部", "--days=2")
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.target_id) == ("issue token", User.objects.get(username="alice").pk)
    assert entry.values == {"groups": ["Admin", verbs.kept_id("営業部")], "days": 2}
