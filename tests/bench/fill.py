"""Fills the bench's database, in the server's environment: `fill USERNAME CONVERSATIONS MESSAGES`."""

import sys

import django

django.setup()

from django.utils import timezone  # noqa: E402

from bedrock_chat.identity import local  # noqa: E402
from conversations.models import Conversation, Message  # noqa: E402
from tests import build  # noqa: E402

BATCH = 500


def main() -> None:
    username, conversations, messages = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    user, now = local.local_user(username), timezone.now()
    columns = {"user": user, "model": build.MODEL, "created_at": now, "updated_at": now}
    pk, key = build.next_pk(Message), build.next_pk(Conversation)
    for start in range(0, conversations, BATCH):
        rows = [
            Conversation(pk=key + number, external_id=f"bench-{number:06}", **columns)
            for number in range(start, min(start + BATCH, conversations))
        ]
        message_rows: list[Message] = []
        for conversation in rows:
            message_rows += build.linear(conversation, messages, pk)
            pk += messages
        Conversation.objects.bulk_create(rows)
        Message.objects.bulk_create(message_rows, batch_size=2000)


main()
