"""Database rows that tests start from. They are written directly, without asking a model."""

from datetime import timedelta
from typing import Any

from django.core.files.storage import default_storage
from django.core.management.color import no_style
from django.db import connection
from django.db.models import Model
from django.utils import timezone

from bedrock_chat.blobs import storing
from bedrock_chat.identity.models import User
from bedrock_chat.wire.ids import new_id
from conversations.content.blocks import Content
from conversations.models import Conversation, Message, Outcome, RelatedDocument, Role

MODEL = "claude-v3.7-sonnet"


def text(body: str) -> list[dict[str, Any]]:
    return [{"contentType": "text", "body": body}]


def conversation(user: User, external_id: str | None = None, **columns: Any) -> Conversation:
    now = timezone.now()
    columns = {"model": MODEL, "created_at": now, "updated_at": now, **columns}
    return Conversation.objects.create(user=user, external_id=external_id or new_id(), **columns)


def question(
    conversation: Conversation,
    body: str,
    *,
    under: Message | None = None,
    outcome: Outcome = Outcome.ANSWERED,
    lease: timedelta | None = None,
    holder: str = "another-process",
    **columns: Any,
) -> Message:
    """A question. With a positive `lease` its turn is running; a negative one means that its process was killed."""
    blocks = text(body)
    row = Message.objects.create(
        conversation=conversation,
        external_id=columns.pop("external_id", None) or new_id(),
        parent=under,
        role=Role.USER,
        outcome=outcome,
        lease_holder=holder if lease else "",
        lease_expires_at=timezone.now() + lease if lease else None,
        model=MODEL,
        created_at=timezone.now(),
        content_digest=Content(blocks, {}).digest,
        content=blocks,
        **columns,
    )
    Conversation.objects.filter(pk=conversation.pk).update(last_question=row.external_id)
    return row


def answer(question: Message, body: str, *, stop_reason: str = "end_turn", **columns: Any) -> Message:
    return Message.objects.create(
        conversation_id=question.conversation_id,
        external_id=columns.pop("external_id", None) or new_id(),
        parent=question,
        role=Role.ASSISTANT,
        attempt=question.attempt,
        stop_reason=stop_reason,
        model=MODEL,
        created_at=timezone.now(),
        content_digest="",
        content=columns.pop("content", text(body)),
        **columns,
    )


def exchange(
    conversation: Conversation, body: str, *, under: Message | None = None, stop_reason: str = "end_turn"
) -> Message:
    """A question and its answer; returns the answer."""
    outcome = {"interrupted": Outcome.INTERRUPTED}.get(stop_reason, Outcome.ANSWERED)
    return answer(question(conversation, body, under=under, outcome=outcome), f"Echo: {body}", stop_reason=stop_reason)


def related_document(answer: Message, source_id: str, **columns: Any) -> RelatedDocument:
    columns = {"content": {"text": f"About {source_id}"}, **columns}
    return RelatedDocument.objects.create(
        conversation_id=answer.conversation_id, answer=answer, source_id=source_id, **columns
    )


def body_of(sha256: str) -> bytes:
    """The bytes that are stored for a blob. Raises FileNotFoundError."""
    return storing.StoredFiles().read(sha256)


def file_of(sha256: str) -> str:
    """The name of a blob's file in storage."""
    return storing.locate([sha256])[sha256]


def lose(sha256: str) -> None:
    """Deletes a blob's file and leaves its row."""
    default_storage.delete(file_of(sha256))


def linear(conversation: Conversation, messages: int, first_pk: int) -> list[Message]:
    """Unsaved rows of a conversation without branches. `messages` is even; the keys count up from `first_pk`.

    Sets the conversation's `last_question`, and does not save it.
    """
    rows = []
    for index in range(messages):
        is_question = index % 2 == 0
        blocks = text(f"message {index}")
        rows.append(
            Message(
                pk=first_pk + index,
                conversation=conversation,
                external_id=new_id(),
                parent_id=first_pk + index - 1 if index else None,
                role=Role.USER if is_question else Role.ASSISTANT,
                outcome=Outcome.ANSWERED if is_question else "",
                stop_reason="" if is_question else "end_turn",
                model=MODEL,
                created_at=conversation.created_at,
                content_digest=Content(blocks, {}).digest if is_question else "",
                content=blocks,
            )
        )
    conversation.last_question = rows[-2].external_id
    return rows


def next_pk(model: type[Model]) -> int:
    """The first key above those of all rows."""
    return (model._default_manager.order_by("-pk").values_list("pk", flat=True).first() or 0) + 1


def long_conversation(user: User, exchanges: int, external_id: str | None = None) -> Conversation:
    """A conversation without branches. Its messages are written at once, however many they are."""
    row = conversation(user, external_id)
    Message.objects.bulk_create(linear(row, exchanges * 2, next_pk(Message)))
    row.save(update_fields=["last_question"])
    with connection.cursor() as cursor:  # the rows brought their own keys, so the sequence does not know them
        for statement in connection.ops.sequence_reset_sql(no_style(), [Message]):
            cursor.execute(statement)
    return row
