"""The events of a turn that is over, made from its stored rows."""

from collections.abc import Iterator, Sequence

from bedrock_chat.bedrock.events import ReasoningDelta, TextDelta, ToolUse
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger import recording
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.wire.errors import Conflict
from conversations import access
from conversations.access import Answer
from conversations.models import Conversation, Message, Outcome, Role
from conversations.streaming.events import Failed, MessageStart, MessageStop, StreamEvent
from conversations.turn.types import wire_ids


def events_of_answer(actor: Caller, answer: Answer) -> list[StreamEvent]:
    """All events of a stored answer, as a listener would have received them."""
    ids = answer.conversation_external_id, answer.question_external_id
    return list(_events(answer, recording.calls_of_newest_turn(actor, *ids)))


def events_of_newest_turn(actor: Caller, conversation: Conversation, question: Message) -> list[StreamEvent]:
    """All events of a question's newest turn. If there is no answer, the last one is an error that says so."""
    newest = {"parent": question, "role": Role.ASSISTANT, "attempt": question.attempt}
    row = Message.objects.filter(**newest).order_by("-pk").first()
    if question.outcome == Outcome.FAILED or row is None:
        ids = wire_ids(conversation.external_id, question.external_id)
        unanswered = Conflict("This message was not answered; send it again.", extra=ids)
        return [MessageStart(conversation.external_id, question.external_id, None), Failed.of(unanswered)]
    return events_of_answer(actor, access.stored_answer(conversation, question.external_id, row))


def _events(answer: Answer, calls: Sequence[ModelCall]) -> Iterator[StreamEvent]:
    ids = answer.conversation_external_id, answer.question_external_id
    yield MessageStart(*ids, answer.external_id)
    for block in answer.content:
        if block["contentType"] == "text":
            yield TextDelta(block["body"])
        elif block["contentType"] == "reasoning" and block["text"]:
            yield ReasoningDelta(block["text"])
        elif block["contentType"] == "toolUse":
            use = block["body"]
            yield ToolUse(use["toolUseId"], use["name"], use["input"])
    yield MessageStop.of(*ids, answer, calls)
