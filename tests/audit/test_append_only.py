"""The database itself refuses to change the audit, whatever program asks it to."""

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.core.management.commands import migrate
from django.db import DatabaseError, connection, models, transaction

from bedrock_chat import checks
from bedrock_chat.audit import append_only, expiring, verbs
from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.audit.recording import record
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Program
from tests.audit.test_expiring import date, entry_of

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]
COPY = (
    "INTO bedrock_chat_auditentry (id, at, verb, target_kind, target_id, actor_kind, actor_id, fields, {values}, "
    "request_id, network) SELECT id, at, 'invented', target_kind, target_id, actor_kind, actor_id, fields, {values}, "
    "request_id, network FROM bedrock_chat_auditentry"
)


def refuses(statement: str) -> bool:
    """Whether the database refuses a statement because of the audit."""
    statement = statement.format(values=connection.ops.quote_name("values"))
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    except DatabaseError as error:
        if append_only.REFUSAL in str(error):
            return True
        raise
    return False


def test_no_statement_changes_an_entry() -> None:
    entry_of(400)
    before = list(AuditEntry.objects.values())
    statements = [
        "UPDATE bedrock_chat_auditentry SET actor_id = 'somebody else'",
        "DELETE FROM bedrock_chat_auditentry",
    ]
    if connection.vendor == "postgresql":
        statements += [
            "TRUNCATE bedrock_chat_auditentry",
            "TRUNCATE bedrock_chat_signingkey, bedrock_chat_auditentry CASCADE",
            f"INSERT {COPY} ON CONFLICT (id) DO UPDATE SET verb = 'invented'",
        ]
    else:
        statements += [f"INSERT OR REPLACE {COPY}", f"REPLACE {COPY}"]
    assert [statement for statement in statements if not refuses(statement)] == []
    assert list(AuditEntry.objects.values()) == before


def test_flushing_the_database_is_refused_with_a_sentence_that_helps_also_while_the_audit_is_empty() -> None:
    roles = Group.objects.count()
    with pytest.raises(CommandError, match="the audit is append-only") as refusal:
        call_command("flush", "--no-input", stdout=io.StringIO())
    assert "manage.py migrate" in str(refusal.value)
    assert Group.objects.count() == roles > 0


def test_what_no_expiry_tells_of_stays() -> None:
    first, second = entry_of(400), entry_of(20)
    assert sum(expiring.expire(30, actor=Program.command("expire_audit"))) == 1
    kept, expiry = AuditEntry.objects.order_by("pk")
    assert (kept, expiry.target_id) == (second, str(first.pk))
    assert refuses("DELETE FROM bedrock_chat_auditentry")
    assert refuses(f"DELETE FROM bedrock_chat_auditentry WHERE id = {second.pk}")


def test_an_entry_of_the_last_day_stays_even_if_an_expiry_of_it_is_recorded() -> None:
    with transaction.atomic():
        record(verbs.EXPORT_USER, "t", actor=Program.command("export_user"))
        entry = AuditEntry.objects.get()
        record(verbs.EXPIRE_AUDIT, str(entry.pk), actor=Program.command("expire_audit"))
    statement = f"DELETE FROM bedrock_chat_auditentry WHERE id = {entry.pk}"
    assert refuses(statement)
    date(entry, database_now() - timedelta(hours=25))
    assert not refuses(statement)


def test_a_second_expiry_takes_the_entry_of_the_first() -> None:
    entry_of(400)
    assert sum(expiring.expire(30, actor=Program.command("expire_audit"))) == 1
    date(AuditEntry.objects.get(), database_now() - timedelta(days=31))
    assert sum(expiring.expire(30, actor=Program.command("expire_audit"))) == 1
    assert list(AuditEntry.objects.values_list("verb", flat=True)) == ["expire"]


def remake_table() -> None:
    """What a migration that alters a column does: SQLite copies the table and drops the old one."""
    foreign_keys = connection.disable_constraint_checking() if connection.vendor == "sqlite" else False
    try:
        with connection.schema_editor() as editor:
            old, new = AuditEntry._meta.get_field("network"), models.TextField()
            new.set_attributes_from_name("network")
            new.model = AuditEntry
            editor.alter_field(AuditEntry, old, new)
            editor.alter_field(AuditEntry, new, old)
    finally:
        if foreign_keys:
            connection.enable_constraint_checking()


def disable_triggers() -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE bedrock_chat_auditentry DISABLE TRIGGER ALL")
    else:
        append_only.lift()


@pytest.mark.parametrize("lose", [remake_table, disable_triggers, append_only.lift])
def test_migrate_brings_the_guard_back_whatever_took_it_away(lose: Callable[[], None]) -> None:
    entry_of(400)
    assert append_only.missing() == []
    lose()
    if connection.vendor == "sqlite" or lose is not remake_table:
        assert "delete" in append_only.missing()
        (warning,) = checks.audit_is_append_only(["default"])
        assert "delete" in warning.msg
    call_command("migrate", verbosity=0)
    assert append_only.missing() == []
    assert checks.audit_is_append_only(["default"]) == []
    assert refuses("DELETE FROM bedrock_chat_auditentry")


def test_the_guard_comes_back_after_a_migration_that_lifted_it_and_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        append_only.lift()
        raise RuntimeError("the migration failed")

    monkeypatch.setattr(migrate.Command, "handle", fail)
    with pytest.raises(RuntimeError):
        call_command("migrate", verbosity=0)
    assert append_only.missing() == []


def test_a_guard_of_another_version_is_replaced() -> None:
    name = f"{append_only.PREFIX}update_00000000"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                f"CREATE TRIGGER {name} BEFORE UPDATE ON bedrock_chat_auditentry FOR EACH ROW "
                f"EXECUTE FUNCTION {append_only.PREFIX}refuse()"
            )
        else:
            cursor.execute(f"CREATE TRIGGER {name} BEFORE UPDATE ON bedrock_chat_auditentry BEGIN SELECT 1; END")
    append_only.guard()
    assert name not in append_only._enabled()
    assert append_only.missing() == []


def test_a_plan_of_migrations_changes_nothing() -> None:
    append_only.lift()
    call_command("migrate", "--plan", stdout=io.StringIO())
    assert append_only.missing() != []
    append_only.guard()
