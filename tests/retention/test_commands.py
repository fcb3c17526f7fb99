"""The commands: what would go is printed first, and wrong words are refused in a sentence."""

import json
from io import StringIO
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from bedrock_chat.retention import policies
from bedrock_chat.retention.models import BotRetention
from bots.models import TakenBotId
from conversations.models import Conversation
from tests.retention.keeping import conversation, person

pytestmark = [pytest.mark.django_db(transaction=True)]


def lines_of(*arguments: str) -> list[str]:
    output = StringIO()
    call_command(*arguments, stdout=output)
    return output.getvalue().splitlines()


def document_of(*arguments: str) -> Any:
    return json.loads("\n".join(lines_of(*arguments, "--json")))


def test_a_dry_run_prints_what_goes_and_deletes_nothing() -> None:
    conversation(person("alice"), "old", 100)
    conversation(person("alice"), "young", 1)
    dry = lines_of("prune", "--older-than", "90d", "--dry-run")
    assert dry == ["To be deleted: 1 conversations, 2 messages."]
    assert Conversation.objects.count() == 2
    assert lines_of("prune", "--older-than", "90d") == ["Deleted: 1 conversations, 2 messages."]
    assert document_of("prune", "--older-than", "90d") == {"dryRun": False, "counts": {}}
    assert lines_of("prune") == ["Deleted: nothing."]


def test_policies_and_holds_are_set_and_listed(settings: LazySettings) -> None:
    settings.RETENTION_DAYS, settings.LEDGER_RETENTION_DAYS = 90, 400
    person("alice")
    TakenBotId.objects.create(id="b")
    assert lines_of("set_retention", "b", "--days", "30") == ["Conversations with b are kept for 30 days."]
    assert lines_of("hold", "user", "alice", "--reason", "claim 1") == ["The user alice is on hold: claim 1"]
    assert document_of("hold", "bot", "b", "--reason", "claim 2")["reason"] == "claim 2"
    listed = lines_of("retention")
    assert listed[:4] == [
        "Conversations: 90 days (RETENTION_DAYS)",
        "Calls: 400 days (LEDGER_RETENTION_DAYS)",
        "Sums: for ever (ROLLUP_RETENTION_DAYS)",
        "Conversations with the bot b: 30 days",
    ]
    assert [line.partition(": ")[2] for line in listed[4:]] == ["bot b: claim 2", "person alice: claim 1"]
    assert document_of("retention")["bots"] == {"b": 30}
    lines_of("release", "user", "alice")
    lines_of("release", "bot", "b")
    assert lines_of("set_retention", "b", "--remove") == ["Conversations with b are kept as RETENTION_DAYS says."]
    assert len(lines_of("retention")) == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("prune", "--older-than", "90"), "a number of days such as 90d"),
        (("prune", "--older-than", "0d"), "a number of days such as 90d"),
        (("hold", "user", "nobody", "--reason", "r"), "No user found with id: nobody"),
        (("hold", "bot", "nothing", "--reason", "r"), "No bot found with id: nothing"),
        (("release", "bot", "b"), "There is no hold on the bot b"),
        (("set_retention", "nothing", "--days", "5"), "No bot found with id: nothing"),
        (("set_retention", "b", "--days", "0"), "Conversations are kept for 1 to 36500 days"),
        (("set_retention", "b", "--days", "401"), "Calls are kept for 400 days"),
        (("set_retention", "b", "--keep"), "Calls are kept for 400 days"),
        (("set_retention", "b", "--remove"), "The bot b has no policy of its own"),
    ],
)
def test_wrong_words_are_refused(arguments: tuple[str, ...], sentence: str, settings: LazySettings) -> None:
    settings.LEDGER_RETENTION_DAYS = 400
    TakenBotId.objects.create(id="b")
    with pytest.raises(CommandError, match=sentence):
        lines_of(*arguments)


def test_a_server_does_not_start_where_conversations_outlive_their_calls(settings: LazySettings) -> None:
    BotRetention.objects.create(bot_id="b", days=500)
    assert policies.lack() is None
    settings.LEDGER_RETENTION_DAYS = 400
    assert "the bot b are kept for 500 days, and calls for 400" in (policies.lack() or "")
    BotRetention.objects.update(days=None)
    assert "kept for ever" in (policies.lack() or "")
    BotRetention.objects.update(days=400)
    assert policies.lack() is None
