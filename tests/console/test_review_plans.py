"""How databases find what the lists of conversations and feedback show."""

import pytest
from django.contrib import admin
from django.db import connection
from django.utils import timezone

from bedrock_chat.identity.models import User
from bedrock_chat.ledger.models import ModelCall
from conversations.models import Conversation, Message, RatedMessage
from tests import build
from tests.ledger.calls import call

pytestmark = [pytest.mark.django_db, pytest.mark.both]


def test_indexes_find_conversations_costs_and_what_has_a_thumb() -> None:
    at = timezone.now()
    columns = {"model": build.MODEL, "created_at": at, "updated_at": at}
    people = User.objects.bulk_create(User(id=f"u{number}", username=f"u{number}") for number in range(100))
    Conversation.objects.bulk_create(
        Conversation(
            external_id=f"n{number}",
            user=people[number % 100],
            bot_id="b1" if number % 500 == 0 else None,
            **columns,
        )
        for number in range(5_000)
    )
    alice = User.objects.create(id="alice", username="alice")
    talk = build.conversation(alice, "c1")
    rows = build.linear(talk, 4_000, build.next_pk(Message))
    for message in rows[::400]:
        message.feedback = {"thumbsUp": False, "category": "notHelpful", "comment": ""}
    Message.objects.bulk_create(rows, batch_size=1_000)
    ModelCall.objects.bulk_create(
        [call(at, user_id="alice", conversation_external_id=f"c{number}") for number in range(2_000)]
    )
    page = admin.site._registry[RatedMessage]
    rated = page.get_queryset(None).filter(feedback__thumbsUp=False).order_by("-pk")[:51]  # type: ignore[arg-type]
    spent = ModelCall.objects.filter(user_id__in=["alice"], conversation_external_id__in=["c1", "c2"])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        explain = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
        every = Conversation.objects.order_by("-pk")
        is_sqlite = connection.vendor == "sqlite"
        for query, index in (
            (rated, "messages_rated"),
            (spent, "calls_of_a_user"),
            (
                every.filter(pk__lt=talk.pk)[:51],
                "INTEGER PRIMARY KEY" if is_sqlite else "conversations_conversation_pkey",
            ),
            (every.filter(bot_id="b1")[:51], "conversations_of_a_bot"),
            (every.filter(user_id="u1")[:51], "(user_id=?)" if is_sqlite else "conversation_id_unique_per_user"),
        ):
            sql, parameters = query.query.sql_with_params()
            if not is_sqlite:  # of ten rows with a thumb, sorting costs no more than an index in their order
                cursor.execute(f"SET LOCAL enable_sort TO {'off' if query is rated else 'on'}")
            cursor.execute(f"{explain} {sql}", parameters)
            plan = " ".join(str(row) for row in cursor.fetchall())
            assert index in plan, plan
