"""Fills the bench's database, in the server's environment: `fill USERNAME CONVERSATIONS MESSAGES`."""

import sys
from datetime import datetime
from typing import Any

import django

django.setup()

from django.utils import timezone  # noqa: E402

from bedrock_chat.identity import local  # noqa: E402
from bedrock_chat.wire.ids import new_id  # noqa: E402
from conversations.content import Content  # noqa: E402
from conversations.models import Conversation, Message, Outcome, Role  # noqa: E402

MODEL = "claude-v3.7-sonnet"
BATCH = 500


def rows(conversation: Conversation, first: int, messages: int, now: datetime) -> list[Message]:
    """A linear conversation whose rows have the keys from `first` on."""
    made = []
    for index in range(messages):
        asks = index % 2 == 0
        blocks: list[dict[str, Any]] = [{"contentType": "text", "body": f"message {index}"}]
        made.append(
            Message(
                pk=first + index,
                conversation=conversation,
                message_id=new_id(),
                parent_id=first + index - 1 if index else None,
                role=Role.USER if asks else Role.ASSISTANT,
                outcome=Outcome.ANSWERED if asks else "",
                stop_reason="" if asks else "end_turn",
                model=MODEL,
                created_at=now,
                content_digest=Content(blocks, {}).digest if asks else "",
                content=blocks,
            )
        )
    conversation.last_question = made[-2].message_id
    return made


def main() -> None:
    username, conversations, messages = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    user, now = local.local_user(username), timezone.now()
    pk = (Message.objects.order_by("-pk").values_list("pk", flat=True).first() or 0) + 1
    key = (Conversation.objects.order_by("-pk").values_list("pk", flat=True).first() or 0) + 1
    for start in range(0, conversations, BATCH):
        made = [
            Conversation(
                pk=key + number,
                conversation_id=f"bench-{number:06}",
                user=user,
                model=MODEL,
                created_at=now,
                updated_at=now,
            )
            for number in range(start, min(start + BATCH, conversations))
        ]
        written = []
        for conversation in made:
            written += rows(conversation, pk, messages, now)
            pk += messages
        Conversation.objects.bulk_create(made)
        Message.objects.bulk_create(written, batch_size=2000)


main()
