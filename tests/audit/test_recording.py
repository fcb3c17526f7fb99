"""A write and its entry are there together or not at all, and no text of anybody gets into an entry."""

from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from bedrock_chat.audit import verbs
from bedrock_chat.audit.models import ActorKind, AppendOnly, AuditEntry
from bedrock_chat.audit.recording import Change, NoTransaction, record
from bedrock_chat.audit.verbs import UnfitForAudit, Verb
from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller, Program
from bedrock_chat.identity.models import User
from bedrock_chat.identity.origin import Origin

pytestmark = [pytest.mark.both, pytest.mark.django_db]
ALICE = Caller(user_id="alice", origin=Origin("request-1", "192.0.2.7"))
SCOPES = ("private", "partial", "all")


@pytest.fixture
def share(monkeypatch: pytest.MonkeyPatch) -> Verb:
    """A verb of an app."""
    monkeypatch.setattr(verbs, "_verbs", dict(verbs._verbs))
    checks = {
        "scope": verbs.one_of(lambda: SCOPES),
        "users": verbs.ids,
        "limit": verbs.number,
        "pinned": verbs.flag,
    }
    return verbs.register("share", target="thing", values=checks)


def test_an_entry_says_who_did_what_to_what_when_and_from_where(share: Verb) -> None:
    before = database_now()
    record(
        share,
        "t1",
        actor=ALICE,
        fields=["sharedScope", "allowedUsers"],
        version_before=3,
        version_after=4,
        values={"scope": Change("private", "partial"), "users": ["bob", "carol"], "limit": 1.5, "pinned": None},
    )
    entry = AuditEntry.objects.get()
    assert before <= entry.at <= database_now()
    assert (entry.verb, entry.target_kind, entry.target_id) == ("share", "thing", "t1")
    assert (entry.actor_kind, entry.actor_id) == (ActorKind.USER, "alice")
    assert (entry.request_id, entry.network) == ("request-1", "192.0.2.7")
    assert (entry.fields, entry.version_before, entry.version_after) == (["sharedScope", "allowedUsers"], 3, 4)
    assert entry.values == {
        "scope": {"before": "private", "after": "partial"},
        "users": ["bob", "carol"],
        "limit": 1.5,
        "pinned": None,
    }


def test_it_costs_one_statement_that_may_join_others(share: Verb) -> None:
    with CaptureQueriesContext(connection) as queries:
        record(share, "t1", actor=ALICE)
    assert len(queries) == 1
    with Batch() as batch:
        record(share, "t2", actor=ALICE, batch=batch)
        count = batch.update(User, {"pk": "nobody"}, is_active=False)
    assert count.result == 0
    assert list(AuditEntry.objects.order_by("pk").values_list("target_id", flat=True)) == ["t1", "t2"]


@pytest.mark.parametrize(
    ("actor", "kind", "kept"),
    [
        (Caller(user_id="olga", is_operator=True), ActorKind.OPERATOR, "olga"),
        (Caller(user_id=None, publication_id="p", key_id="k1"), ActorKind.KEY, "k1"),
        (Program.command("erase_user"), ActorKind.COMMAND, "erase_user"),
        (Program.job("remove blobs"), ActorKind.JOB, "remove blobs"),
    ],
)
def test_it_tells_users_operators_keys_commands_and_jobs_apart(
    share: Verb, actor: Any, kind: ActorKind, kept: str
) -> None:
    record(share, "t1", actor=actor)
    entry = AuditEntry.objects.get()
    assert (entry.actor_kind, entry.actor_id, entry.request_id, entry.network) == (kind, kept, "", "")


def test_of_an_ipv6_address_its_network_is_kept(share: Verb) -> None:
    record(share, "t1", actor=Caller(user_id="alice", origin=Origin("r", "2001:db8:1:2:3:4:5:6")))
    assert AuditEntry.objects.get().network == "2001:db8:1:2::/64"


@pytest.mark.django_db(transaction=True)
def test_it_is_rolled_back_with_the_write(share: Verb) -> None:
    class Failed(Exception):
        pass

    def write() -> None:
        with transaction.atomic():
            User.objects.create(id="bob", username="bob")
            record(share, "bob", actor=ALICE)
            raise Failed

    with pytest.raises(Failed):
        write()
    assert not User.objects.exists()
    assert not AuditEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_it_is_refused(share: Verb) -> None:
    with pytest.raises(NoTransaction):
        record(share, "t1", actor=ALICE)
    assert not AuditEntry.objects.exists()


TEXT = "Please call me on Sunday"


@pytest.mark.parametrize(
    "values",
    [
        {"description": "plain"},  # a value that the verb does not name
        {"scope": TEXT},
        {"scope": "public"},
        {"scope": ["all"]},
        {"limit": TEXT},
        {"limit": True},
        {"limit": float("inf")},
        {"limit": {"of": TEXT}},
        {"pinned": TEXT},
        {"pinned": 1},
        {"users": TEXT},
        {"users": None},
        {"users": [{"name": TEXT}]},
        {"users": [["bob"]]},
        {"scope": Change("all", TEXT)},
        {"scope": Change(TEXT, "all")},
        {"scope": {"before": "all", "after": "private"}},
    ],
)
def test_a_value_of_another_kind_is_refused(share: Verb, values: dict[str, Any]) -> None:
    with pytest.raises(UnfitForAudit):
        record(share, "t1", actor=ALICE, values=values)
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("name", ["", "私の名前", "alice@example.com", "a" * 65, "name: Alice\n", None])
def test_a_field_has_a_name_of_code(share: Verb, name: Any) -> None:
    with pytest.raises(UnfitForAudit):
        record(share, "t1", actor=ALICE, fields=[name])


def test_an_entry_is_about_something(share: Verb) -> None:
    with pytest.raises(UnfitForAudit):
        record(share, "", actor=ALICE)


@pytest.mark.parametrize("text", [TEXT, "alice@example.com", "営業部", "a" * 201, "\ud800", "-x", "\n"])
def test_an_id_that_may_be_a_text_is_kept_as_a_digest(share: Verb, text: str) -> None:
    record(share, text, actor=Caller(user_id=text), values={"users": ["bob", text]})
    entry = AuditEntry.objects.get()
    assert entry.target_id.startswith("digest:")
    assert entry.actor_id == entry.target_id
    assert entry.values == {"users": ["bob", entry.target_id]}
    assert list(AuditEntry.objects.all().about("thing", text)) == [entry]


@pytest.mark.parametrize("text", ["local:01J0000000", "3f1c-9a", "us.anthropic/claude_v4.5", "key=+", "a" * 200])
def test_an_id_of_plain_characters_is_kept(text: str) -> None:
    assert verbs.kept_id(text) == text


def test_the_digests_of_two_ids_differ() -> None:
    assert verbs.kept_id("営業部") != verbs.kept_id("総務部")


def test_a_verb_is_made_once(share: Verb) -> None:
    with pytest.raises(UnfitForAudit):
        verbs.register("share", target="thing")
    assert verbs.register("share", target="other") in verbs.registered()


def test_an_entry_cannot_be_written_past_the_recording_nor_changed_nor_deleted(share: Verb) -> None:
    record(share, "t1", actor=ALICE)
    entry = AuditEntry.objects.get()
    entries = AuditEntry.objects.filter(pk=entry.pk)
    for write in (
        entry.save,
        entry.delete,
        entries.delete,
        lambda: entries.update(verb="read"),
        lambda: AuditEntry.objects.update(verb="read"),
        lambda: AuditEntry.objects.bulk_update([entry], ["verb"]),
        lambda: AuditEntry.objects.create(verb="share", at=entry.at),
        lambda: AuditEntry.objects.update_or_create({"verb": "read"}, pk=entry.pk),
        lambda: AuditEntry.objects.bulk_create([AuditEntry(pk=entry.pk, verb="read")]),
    ):
        with pytest.raises(AppendOnly), transaction.atomic():
            write()
    assert AuditEntry.objects.get().verb == "share"
