"""A hold keeps what a person or a bot has from pruning and from erasure, and not from the people themselves."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.console.roles import Role
from bedrock_chat.identity import erasing
from bedrock_chat.identity.caller import Program
from bedrock_chat.identity.models import User
from bedrock_chat.retention import holds
from bedrock_chat.retention.holds import OnHold, hold_person, release_person
from bedrock_chat.retention.models import Hold
from bedrock_chat.wire.errors import BadRequest, NotFound
from bots.holds import hold_bot, release_bot
from bots.models import Bot, TakenBotId
from conversations.models import Conversation
from publication.models import PublicationOwner
from tests import build
from tests.bots.bot import body, make, share
from tests.console.test_review import LIST, browser
from tests.encryption.vault import new_key
from tests.retention.keeping import OPERATOR, conversation, left, person, prune_older_than
from tests.together import at_once, wait_for

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]
ClientOf = Callable[..., APIClient]
REASON = "claim 4711"


@pytest.fixture(autouse=True)
def _encryption_key(settings: LazySettings) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]


def a_bot(bot_id: str, owner: User | None = None) -> None:
    """An id that is taken, and its bot if it has an owner."""
    TakenBotId.objects.create(id=bot_id)
    if owner is not None:
        at = timezone.now()
        Bot.objects.create(id=bot_id, owner=owner, title=bot_id, configuration={}, created_at=at, updated_at=at)


def erase(user_id: str) -> None:
    list(erasing.erase(user_id, actor=Program.command("erase_user")))


def test_conversations_of_a_held_person_and_with_a_held_bot_stay_until_the_release() -> None:
    alice, bob = person("alice"), person("bob")
    a_bot("deleted since")
    PublicationOwner.objects.create(publication_id="p", user_id="alice", bot_id="published")
    conversation(alice, "alice's", 100)
    conversation(bob, "bob's", 100)
    conversation(bob, "bob's with the bot", 100, bot_id="deleted since")
    at = timezone.now() - timedelta(days=100)
    columns = {"model": build.MODEL, "created_at": at, "updated_at": at}
    Conversation.objects.create(external_id="of alice's API", publication_id="p", bot_id="published", **columns)
    hold_person("alice", reason=REASON, actor=OPERATOR)
    hold_bot("deleted since", reason=REASON, actor=OPERATOR)
    assert prune_older_than(90)["conversations"] == 1
    assert left() == ["alice's", "bob's with the bot", "of alice's API"]
    release_bot("deleted since", actor=OPERATOR)
    assert prune_older_than(90)["conversations"] == 1
    release_person("alice", actor=OPERATOR)
    assert prune_older_than(90)["conversations"] == 2


def test_holds_are_in_the_audit_without_their_reason() -> None:
    person("alice")
    a_bot("b")
    hold_person("alice", reason=REASON, actor=OPERATOR)
    hold_person("alice", reason=REASON, actor=OPERATOR)
    hold_person("alice", reason="another claim", actor=OPERATOR)
    hold_bot("b", reason=REASON, actor=OPERATOR)
    release_person("alice", actor=OPERATOR)
    release_bot("b", actor=OPERATOR)
    entries = AuditEntry.objects.order_by("pk").values_list("verb", "target_kind", "target_id", "fields", "values")
    assert list(entries) == [
        ("hold", "user", "alice", ["reason"], {}),
        ("hold", "user", "alice", ["reason"], {}),
        ("hold", "bot", "b", ["reason"], {}),
        ("release", "user", "alice", [], {}),
        ("release", "bot", "b", [], {}),
    ]
    assert not Hold.objects.exists()


def test_a_hold_needs_somebody_and_a_reason() -> None:
    person("alice")
    for reason in ("", "  ", "x" * 301, "a\0b"):
        with pytest.raises(BadRequest):
            hold_person("alice", reason=reason, actor=OPERATOR)
    with pytest.raises(NotFound):
        hold_person("nobody", reason=REASON, actor=OPERATOR)
    with pytest.raises(NotFound):
        hold_bot("nothing", reason=REASON, actor=OPERATOR)
    with pytest.raises(NotFound):
        release_person("alice", actor=OPERATOR)
    assert not AuditEntry.objects.exists()


def test_a_held_person_is_not_erased_and_the_command_says_why() -> None:
    alice = person("alice")
    conversation(alice, "c", 1)
    hold_person("alice", reason=REASON, actor=OPERATOR)
    with pytest.raises(CommandError, match=f"The person alice is on hold: {REASON}"):
        call_command("erase_user", "alice", "--yes")
    alice.refresh_from_db()
    assert alice.is_active, "nothing was done"
    assert left() == ["c"]
    release_person("alice", actor=OPERATOR)
    erase("alice")
    assert left() == []


def test_who_has_something_of_a_held_bot_is_not_erased() -> None:
    owner, customer, published = map(person, ("owner", "customer", "published"))
    a_bot("b", owner)
    a_bot("gone")
    conversation(customer, "with it", 1, bot_id="b")
    PublicationOwner.objects.create(publication_id="p", user_id="published", bot_id="gone")
    for bot_id in ("b", "gone"):
        hold_bot(bot_id, reason=REASON, actor=OPERATOR)
    for user in (owner, customer, published):
        with pytest.raises(OnHold, match=REASON) as refused:
            erase(user.pk)
        assert refused.value.status_code == 409
    for bot_id in ("b", "gone"):
        release_bot(bot_id, actor=OPERATOR)
    for user in (owner, customer, published):
        erase(user.pk)
    assert not Bot.objects.exists()


def test_a_hold_that_comes_while_somebody_is_erased_stops_it_before_the_next_step() -> None:
    alice = person("alice")
    a_bot("b", alice)
    conversation(alice, "c", 1)
    steps = erasing.erase("alice", actor=OPERATOR)
    assert next(steps) == "Suspended."
    hold_person("alice", reason=REASON, actor=OPERATOR)
    with pytest.raises(OnHold):
        list(steps)
    assert left() == ["c"]
    assert Bot.objects.exists()
    assert User.objects.get(pk="alice").is_active is False


def test_people_delete_what_is_theirs_and_admin_does_not_delete_a_held_bot(client_of: ClientOf) -> None:
    alice, carol = client_of("alice", "CreatingBotAllowed"), client_of("carol", "Admin")
    make(alice, "hers")
    share(alice, "hers", "all")
    sub = User.objects.get(username="alice").pk
    conversation(User.objects.get(pk=sub), "c", 1, bot_id="hers")
    hold_person(sub, reason=REASON, actor=OPERATOR)
    hold_bot("hers", reason=REASON, actor=OPERATOR)
    refused = carol.delete("/bot/hers")
    assert refused.status_code == 409
    assert refused.json()["detail"] == f"The bot hers is on hold: {REASON}"
    assert body(alice.delete("/conversation/c")) is None
    assert body(alice.delete("/bot/hers")) is None
    assert left() == []
    assert not Bot.objects.exists()


def test_the_page_tells_of_a_hold_on_the_owner_of_an_api_or_on_its_bot() -> None:
    person("dave")
    PublicationOwner.objects.create(publication_id="p", user_id="dave", bot_id="helper")
    at = timezone.now()
    of_api = {"publication_id": "p", "bot_id": "helper", "model": build.MODEL, "created_at": at, "updated_at": at}
    path = f"{LIST}{Conversation.objects.create(external_id='c', **of_api).pk}/change/"
    viewer = browser(Role.VIEWER)
    assert "yes: person" not in viewer.get(path).content.decode()
    hold_person("dave", reason="claim 4711", actor=OPERATOR)
    assert "yes: person" in viewer.get(path).content.decode()
    a_bot("helper")
    hold_bot("helper", reason="claim 4711", actor=OPERATOR)
    assert "yes: person, bot" in viewer.get(path).content.decode()


def test_a_hold_waits_for_whoever_prunes_and_is_known_to_whoever_comes_later() -> None:
    """What is deleted is deleted before the hold is there, and never after."""
    person("alice")
    seen: list[bool] = []

    def prune_slowly() -> None:
        with transaction.atomic():
            present = holds.present()
            seen.append("alice" in present.people)
            if connection.vendor == "postgresql":
                wait_for(hold_waits)
            seen.append("alice" in holds.present().people)

    def hold_meanwhile() -> None:
        wait_for(lambda: seen)
        hold_person("alice", reason=REASON, actor=OPERATOR)

    at_once(prune_slowly, hold_meanwhile)
    assert seen == [False, False]
    assert holds.present().people == {"alice"}


def hold_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return bool(cursor.fetchone()[0])
