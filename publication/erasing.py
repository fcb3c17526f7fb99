"""Erases what APIs hold of a person who published them (`bedrock_chat/identity/erasing.py`).

The APIs themselves end with the person's bots, which are deleted before (`lifecycle.end_of_bot`). Left are the
conversations of all APIs that the person ever had, also of withdrawn ones, the questions that were accepted, and the
answers that were kept for idempotency keys.
"""

from collections.abc import Iterator
from functools import partial

from django.db import transaction
from django.db.models import QuerySet

from bedrock_chat.blobs import storing
from bedrock_chat.database.connections import yield_sqlite_lock
from bedrock_chat.identity.caller import Actor
from bedrock_chat.identity.erasing import refuse_erasing
from conversations import deleting
from conversations.models import Conversation
from conversations.persons.erasing import stop_turns
from publication import running
from publication.idempotency import removal
from publication.models import Gate, IdempotencyKey, PublicationOwner, TurnRequest

AT_A_TIME = 100


def prepare(user_id: str, *, actor: Actor) -> Iterator[str]:
    """Stops the turns of the person's APIs, and deletes their conversations and questions, in batches."""
    conversations = conversations_of(user_id)
    stopped = stop_turns(conversations)
    yield f"{stopped} running turns of APIs were stopped."
    refuse = partial(refuse_erasing, user_id)
    for deleted in deleting.delete_in_batches(conversations, before_each=refuse):
        yield f"{deleted} conversations of APIs are deleted."
    yield f"{_delete_questions(user_id)} questions of APIs are deleted."
    deleted = sum(removal.delete_in_batches(_idempotency_keys_of(user_id), before_each=refuse))
    yield f"{deleted} idempotency keys of APIs are deleted."


def finish(user_id: str, *, actor: Actor) -> Iterator[str]:
    """Deletes what requests under way have written since, what was used of limits, and whose the APIs were.

    A question that comes later still is removed by its job, which finds nobody whose API it was (`running.run`).
    """
    publications = list(PublicationOwner.objects.filter(user_id=user_id).values_list("pk", flat=True))
    conversations = conversations_of(user_id)
    deleting.delete_rows(list(conversations.select_for_update().values_list("pk", flat=True)))
    while _delete_some(_questions_of(user_id)):
        pass
    _idempotency_keys_of(user_id).delete()
    Gate.objects.filter(publication_id__in=publications_of(user_id)).delete()
    PublicationOwner.objects.filter(user_id=user_id).delete()
    yield f"{len(publications)} APIs are forgotten."


def conversations_of(user_id: str) -> QuerySet[Conversation]:
    """Those of all APIs that a person has or had."""
    return Conversation.objects.filter(publication_id__in=publications_of(user_id))


def _questions_of(user_id: str) -> QuerySet[TurnRequest]:
    return TurnRequest.objects.filter(publication_id__in=publications_of(user_id))


def _idempotency_keys_of(user_id: str) -> QuerySet[IdempotencyKey]:
    return IdempotencyKey.objects.filter(publication_id__in=publications_of(user_id))


def publications_of(user_id: str) -> "QuerySet[PublicationOwner, str]":
    return PublicationOwner.objects.filter(user_id=user_id).values_list("publication_id", flat=True)


def _delete_questions(user_id: str) -> int:
    """Deletes them in batches. Others can write in between."""
    deleted = 0
    while True:
        with yield_sqlite_lock(), transaction.atomic():
            refuse_erasing(user_id)
            some = _delete_some(_questions_of(user_id))
        if not some:
            return deleted
        deleted += some


def _delete_some(questions: QuerySet[TurnRequest]) -> int:
    """Deletes up to a hundred questions with what refers to their files, in a transaction. Returns how many."""
    some = list(questions.order_by("pk").select_for_update().values_list("pk", flat=True)[:AT_A_TIME])
    storing.forget(running.BLOB_OWNER, some)
    TurnRequest.objects.filter(pk__in=some).delete()
    return len(some)
