"""A hold that is placed while somebody is being erased: what has not been deleted by then stays."""

import pytest
from django.conf import LazySettings
from django.utils import timezone

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.identity import erasing
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.jobs.models import Job
from bedrock_chat.people import erasing as people_erasing
from bedrock_chat.people import suspending
from bedrock_chat.people.models import Erasure
from bedrock_chat.retention.holds import OnHold, hold_person, release_person
from bots import editing
from bots.models import Bot, TakenBotId
from conversations import deleting
from conversations.models import Conversation
from publication.models import IdempotencyKey, PublicationOwner, Route, TurnRequest
from tests import build
from tests.encryption.vault import new_key
from tests.identity.test_operating import run_erasure
from tests.retention.keeping import OPERATOR, conversation, person

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]
OLGA = Caller(user_id="local:olga", is_operator=True)


@pytest.fixture(autouse=True)
def _small_batches(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]
    monkeypatch.setattr(deleting, "AT_A_TIME", 1)


@pytest.fixture
def alice() -> User:
    """She has a bot, two conversations, and an API with a conversation, a question and an idempotency key."""
    alice, at = person("alice"), timezone.now()
    TakenBotId.objects.create(id="hers")
    Bot.objects.create(id="hers", owner=alice, title="hers", configuration={}, created_at=at, updated_at=at)
    conversation(alice, "first", 1)
    conversation(alice, "second", 1)
    PublicationOwner.objects.create(publication_id="p", user_id="alice", bot_id="other")
    columns = {"model": build.MODEL, "created_at": at, "updated_at": at}
    Conversation.objects.create(external_id="of the API", publication_id="p", **columns)
    TurnRequest.objects.create(
        message_id="q", publication_id="p", key_id="k", conversation_id="gone", model="m", accepted_at=at, done_at=at
    )
    of_key = {"publication_id": "p", "lineage": "k", "route": Route.CONVERSATION, "claimed_at": at}
    IdempotencyKey.objects.create(digest="d", payload="p", **of_key)
    return alice


def left() -> list[str]:
    conversations = Conversation.objects.order_by("pk").values_list("external_id", flat=True)
    rows = {"bot": Bot, "question": TurnRequest, "key": IdempotencyKey}
    return [*conversations, *(name for name, model in rows.items() if model.objects.exists())]


@pytest.mark.parametrize(
    ("last_sentence", "stays"),
    [
        ("0 uploaded files that no bot has are removed.", ["first", "second", "of the API", "bot", "question", "key"]),
        ("0 running turns were stopped.", ["first", "second", "of the API", "question", "key"]),
        ("1 conversations are deleted.", ["second", "of the API", "question", "key"]),
        ("0 running turns of APIs were stopped.", ["of the API", "question", "key"]),
        ("1 conversations of APIs are deleted.", ["question", "key"]),
        ("1 questions of APIs are deleted.", ["key"]),
    ],
)
def test_nothing_is_deleted_once_the_hold_is_committed(alice: User, last_sentence: str, stays: list[str]) -> None:
    steps = erasing.erase("alice", actor=OPERATOR)
    assert last_sentence in iter(steps)  # that many steps are done
    hold_person("alice", reason="claim 4711", actor=OPERATOR)
    with pytest.raises(OnHold, match="claim 4711"):
        list(steps)
    assert left() == stays
    assert User.objects.filter(pk="alice").exists()


def test_an_erasure_that_a_hold_has_stopped_is_over_and_says_why(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def hold_meanwhile(bot: Bot, actor: object) -> None:
        hold_person("alice", reason="claim 4711", actor=OPERATOR)

    people_erasing.ask("alice", actor=OLGA)
    monkeypatch.setattr(editing, "_endings", [*editing._endings, hold_meanwhile])
    run_erasure()
    erasure = Erasure.objects.get()
    assert erasure.finished_at is not None
    assert erasure.refusal == "The person alice is on hold: claim 4711"
    assert not Job.objects.filter(kind=people_erasing.KIND).exists()
    assert not AuditEntry.objects.filter(verb="erase").exists()
    assert Conversation.objects.filter(user=alice).open_to_operators().count() == 2, "they are read as all others"
    assert suspending.restore("alice", actor=OLGA)
    release_person("alice", actor=OPERATOR)
    people_erasing.ask("alice", actor=OLGA)
    run_erasure()
    assert Erasure.objects.get().refusal == ""
    assert left() == []
