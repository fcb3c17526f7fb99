"""The events of a turn that is over, made from its stored rows."""

from collections.abc import Iterator, Mapping, Sequence

from bedrock_chat.bedrock.events import ReasoningDelta, TextDelta, ToolUse
from bedrock_chat.bedrock.tools import FoundDocument, ToolResult
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger import recording
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.wire.errors import Conflict
from conversations import access
from conversations.access import Answer
from conversations.content import blocks, rounds, source_links
from conversations.content.blocks import part_shas
from conversations.content.files import Inline, ShowFile
from conversations.content.wire import part_to_wire
from conversations.models import Conversation, Message, Outcome, RelatedDocument, Role
from conversations.streaming.events import Failed, MessageStart, MessageStop, StreamEvent
from conversations.turn.types import wire_ids


def events_of_answer(actor: Caller, answer: Answer) -> list[StreamEvent]:
    """All events of a stored answer, as a listener would have received them."""
    ids = answer.conversation_external_id, answer.question_external_id
    return list(_events(actor, answer, recording.calls_of_newest_turn(actor, *ids)))


def events_of_newest_turn(actor: Caller, conversation: Conversation, question: Message) -> list[StreamEvent]:
    """All events of a question's newest turn. If there is no answer, the last one is an error that says so."""
    newest = {"parent": question, "role": Role.ASSISTANT, "attempt": question.attempt}
    row = Message.objects.filter(**newest).order_by("-pk").first()
    if question.outcome == Outcome.FAILED or row is None:
        ids = wire_ids(conversation.external_id, question.external_id)
        unanswered = Conflict("This message was not answered; send it again.", extra=ids)
        return [MessageStart(conversation.external_id, question.external_id, None), Failed.of(unanswered)]
    return events_of_answer(actor, access.stored_answer(conversation, question.external_id, row))


def _events(actor: Caller, answer: Answer, calls: Sequence[ModelCall]) -> Iterator[StreamEvent]:
    ids = answer.conversation_external_id, answer.question_external_id
    yield MessageStart(*ids, answer.external_id)
    if answer.thinking_log is not None:
        yield from _events_of_rounds(actor, answer)
    for block in answer.content:
        if block["contentType"] == "text":
            yield TextDelta(block["body"])
        elif block["contentType"] == "reasoning" and block["text"]:
            yield ReasoningDelta(block["text"])
        elif block["contentType"] == "toolUse":
            use = block["body"]
            yield ToolUse(use["toolUseId"], use["name"], use["input"])
    yield MessageStop.of(*ids, answer, calls)


def _events_of_rounds(actor: Caller, answer: Answer) -> Iterator[StreamEvent]:
    """What was told before the answer: round by round, what the model said, and what became of its tool uses."""
    log = rounds.readable_log(answer.thinking_log)
    stored = access.documents_of_answer(answer) if log else {}
    all_rows = [row for rows in stored.values() for row in rows]
    show = Inline()
    show.expect(sha256 for row in all_rows for sha256 in part_shas(row.content))
    addresses = source_links.readable(all_rows, answer.bot_id, actor=actor)
    address_of = {row.pk: address for row, address in zip(all_rows, addresses, strict=True)}
    names: dict[str, str] = {}
    for message in log:
        for block in message["content"]:
            if block["contentType"] == "text":
                yield TextDelta(block["body"])
            elif block["contentType"] == "reasoning" and block["text"]:
                yield ReasoningDelta(block["text"])
            elif block["contentType"] == "toolUse":
                use = block["body"]
                names[use["toolUseId"]] = use["name"]
                yield ToolUse(use["toolUseId"], use["name"], use["input"])
            elif block["contentType"] == "toolResult":
                yield from _events_of_result(block["body"], names, stored, address_of, show)


def _events_of_result(
    result: blocks.ToolResult,
    names: Mapping[str, str],
    stored: Mapping[str, list[RelatedDocument]],
    address_of: Mapping[int, str | None],
    show: ShowFile,
) -> Iterator[StreamEvent]:
    """A tool's result, and its documents: of a success those that are kept, of an error what it says.

    `address_of` has the address of each kept document, by its row's key.
    """
    tool_use_id = result["toolUseId"]
    yield ToolResult(tool_use_id, result["status"])
    for row in stored.get(tool_use_id, ()):
        place = row.source_name, address_of[row.pk], row.page_number
        yield FoundDocument(tool_use_id, part_to_wire(row.content, show), row.source_id, *place)
    if result["status"] == rounds.ERROR:
        for document in rounds.documents_of_error(tool_use_id, result["content"], names.get(tool_use_id, "")):
            shown = part_to_wire(document["content"], show)
            yield FoundDocument(tool_use_id, shown, document["sourceId"], document["sourceName"])
