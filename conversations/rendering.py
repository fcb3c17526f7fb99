"""Builds the JSON of conversations and messages that clients read.

`serializers` only documents these shapes. They do not pass through it, because opening a conversation of two thousand
messages is a hot path.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from bedrock_chat.bedrock.events import StopReason
from bedrock_chat.blobs import storing
from bedrock_chat.identity.caller import Caller
from bedrock_chat.serving import answers
from bedrock_chat.wire.errors import NotFound
from bedrock_chat.wire.moments import milliseconds
from bots.chatting import ChattingBot
from conversations import access
from conversations.access import Answer
from conversations.content import rounds, source_links
from conversations.content.blocks import blob_shas, part_shas
from conversations.content.files import ShowFile
from conversations.content.rounds import Log
from conversations.content.wire import WireBlock, part_to_wire, to_wire
from conversations.models import BLOB_OWNER, Conversation, Message, RelatedDocument, Role
from conversations.turn import continuing

Wire = dict[str, Any]
SHOWN_STOP_REASONS = frozenset({StopReason.INTERRUPTED, StopReason.STOPPED, StopReason.GUARDRAIL_INTERVENED})
"""Our own, and that what is shown is a guardrail's sentence. Clients learn of others by `shouldContinue`."""


def _message(
    role: str,
    blocks: list[WireBlock],
    model: str,
    parent: str | None,
    children: list[str],
    feedback: Wire | None = None,
    thinking_log: list[Wire] | None = None,
) -> Wire:
    return {
        "role": role,
        "content": blocks,
        "model": model,
        "children": children,
        "feedback": feedback,
        "usedChunks": None,
        "parent": parent,
        "thinkingLog": thinking_log,
    }


def _with_stop_reason(message: Wire, stop_reason: str) -> Wire:
    return message | {"stopReason": stop_reason} if stop_reason in SHOWN_STOP_REASONS else message


def _log(log: Log | None, show: ShowFile) -> list[Wire] | None:
    """The rounds before an answer, as clients read them."""
    if log is None:
        return None
    return [{"role": one["role"], "content": to_wire(one["content"], show)} for one in rounds.readable_log(log)]


def chat_output(answer: Answer, show: ShowFile) -> Wire:
    """The response to `POST /conversation`."""
    show.expect(blob_shas(answer.content))
    if answer.thinking_log is not None:
        show.expect(rounds.shas_of(rounds.readable_log(answer.thinking_log)))
    message = _message(
        Role.ASSISTANT,
        to_wire(answer.content, show),
        answer.model,
        answer.question_external_id,
        list(answer.children),
        thinking_log=_log(answer.thinking_log, show),
    )
    return {
        "conversationId": answer.conversation_external_id,
        "message": _with_stop_reason(message, answer.stop_reason),
        "botId": answer.bot_id,
        "createTime": milliseconds(answer.created_at),
        "warnings": list(answer.warnings),
    }


def conversation_output(
    conversation: Conversation, now: datetime, show: ShowFile, bot: ChattingBot | None = None, *, actor: Caller
) -> Wire:
    """The response to `GET /conversation/{id}`: two queries, and then what `show` does for images and documents.

    `bot` is the conversation's, if the caller may use it; `actor`, who reads it.

    1. One query reads the tree, the other one the messages' contents. Raises NotFound if the conversation was deleted
       between the two: all its messages are deleted at once.
    2. `show` learns which files are to come, so that it can look them all up at once.
    3. The map has the root, `system`, and every visible message by its id.
    """
    tree = access.read_tree(conversation, now)
    columns = ("pk", "model", "content", "feedback", "thinking_log")
    rows = {pk: row for pk, *row in Message.objects.filter(conversation=conversation).values_list(*columns)}
    if not tree.nodes.keys() <= rows.keys():
        raise NotFound(f"No conversation found with id: {conversation.external_id}")
    show.expect(sha256 for node in tree.visible() for sha256 in blob_shas(rows[node.pk][1]))
    logs = [rounds.readable_log(row[3]) for row in rows.values() if row[3] is not None]
    if logs:
        show.expect(sha256 for log in logs for sha256 in rounds.shas_of(log))
    root = _message(
        "system",
        # As recorded, without the bot's instruction, which is its owner's.
        [WireBlock({"contentType": "text", "body": ""})],
        conversation.model,
        None,
        [node.external_id for node in tree.visible_children(None)],
        conversation.feedback,
    )
    message_map: dict[str, Wire] = {"system": root}
    for node in tree.visible():
        model, blocks, feedback, log = rows[node.pk]
        message = _message(
            node.role,
            to_wire(blocks, show),
            model,
            parent.external_id if (parent := tree.parent_of(node)) else "system",
            [child.external_id for child in tree.visible_children(node.pk)],
            feedback,
            _log(log, show),
        )
        # An answer that is being continued has its stop reason too: it is still cut short, and clients find the running
        # turn by it.
        message_map[node.external_id] = _with_stop_reason(message, node.stop_reason)
    last = tree.last_message(conversation.last_question)
    return {
        "id": conversation.external_id,
        "title": conversation.title,
        "createTime": milliseconds(conversation.created_at),
        "messageMap": message_map,
        "lastMessageId": last.external_id if last else "system",
        "botId": conversation.bot_id,
        "botAvailable": None if conversation.bot_id is None else bot is not None,
        "shouldContinue": last is not None
        and last.stop_reason == StopReason.MAX_TOKENS
        and continuing.is_possible(
            conversation, tree, last, {pk: row[1] for pk, row in rows.items()}, bot, actor=actor
        ),
    }


def unanswered_rounds(conversation: Conversation, show: ShowFile) -> dict[str, list[Wire]]:
    """Question → what tools gave for it, of questions whose turns were cut. No route shows that; exports do."""
    rows = Message.objects.filter(conversation=conversation, rounds__isnull=False).order_by("pk")
    logs = {
        external_id: rounds.log_of(rounds.readable(stored), model)
        for external_id, model, stored in rows.values_list("external_id", "model", "rounds")
    }
    show.expect(sha256 for log in logs.values() for sha256 in rounds.shas_of(log))
    return {external_id: _log(log, show) or [] for external_id, log in logs.items()}


def size_of(conversation: Conversation, *, with_files: bool) -> int:
    """About how many bytes the response to `GET /conversation/{id}` has. Files go as base64, or not at all."""
    size = conversation.size or 0
    if size <= answers.LARGE:
        return size
    of_files = storing.size_of(BLOB_OWNER, conversation.pk)
    return max(0, size + of_files // 3 if with_files else size - of_files)


def conversation_metas(rows: Any) -> list[Wire]:
    """The response to `GET /conversations`, in the order of the rows."""
    return [
        {"id": external_id, "title": title, "createTime": milliseconds(created_at), "model": model, "botId": bot_id}
        for external_id, title, created_at, model, bot_id in rows.values_list(
            "external_id", "title", "created_at", "model", "bot_id"
        )
    ]


def related_documents(
    rows: Iterable[RelatedDocument], show: ShowFile, conversation: Conversation, *, actor: Caller
) -> list[Wire]:
    """The response to `GET /conversation/{id}/related-documents`, in the order of the rows.

    Each has the address at which `actor` can open it for a while. The database connection may be released.
    """
    all_rows = list(rows)  # read before the first file, for which `show` may release the database connection
    show.expect(sha256 for row in all_rows for sha256 in part_shas(row.content))
    addresses = source_links.readable(all_rows, conversation.bot_id, actor=actor)
    return [_related_document(row, show, address) for row, address in zip(all_rows, addresses, strict=True)]


def exported_documents(rows: Iterable[RelatedDocument], show: ShowFile) -> list[Wire]:
    """The same with the addresses that are stored, for who takes them along: others would not hold for long."""
    all_rows = list(rows)
    show.expect(sha256 for row in all_rows for sha256 in part_shas(row.content))
    return [_related_document(row, show, row.source_link) for row in all_rows]


def related_document(row: RelatedDocument, show: ShowFile, conversation: Conversation, *, actor: Caller) -> Wire:
    """One of them: the response to `GET /conversation/{id}/related-documents/{source_id}`."""
    return related_documents([row], show, conversation, actor=actor)[0]


def _related_document(row: RelatedDocument, show: ShowFile, address: str | None) -> Wire:
    return {
        "content": part_to_wire(row.content, show),
        "sourceId": row.source_id,
        "sourceName": row.source_name,
        "sourceLink": address,
        "pageNumber": row.page_number,
    }
