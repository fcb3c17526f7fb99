"""Stores chat completions where their publication says so: each as a conversation of its own, for its owner's eyes.

No key can read one. Every address of a published API takes an id for a single part of its path, and these ids have a
slash; `POST` refuses such an id (`naming.message_refusal`). Exports, erasures and the console find them like others.
"""

import logging
from datetime import datetime

from django.db import transaction

from bedrock_chat.blobs import storing
from bedrock_chat.database.connections import database_now, release_connection
from bedrock_chat.wire.ids import new_id
from conversations.content import rounds
from conversations.content.blocks import StoredBlock, size_of
from conversations.content.converse import from_converse
from conversations.models import BLOB_OWNER, Conversation, Message, Outcome, Role
from conversations.turn.registry import Run
from publication.models import Publication
from publication.openai.messages import USER, Utterance
from publication.openai.requests import ChatRequest

logger = logging.getLogger(__name__)

PREFIX = "openai/"


def new_ids() -> tuple[str, str]:
    """The ids of a conversation that no key can name, and of its last question."""
    return f"{PREFIX}{new_id()}", new_id()


def store(chat: ChatRequest, running: Run, *, model_key: str, instruction: str, stop_reason: str) -> None:
    """Stores the history of a call that has ended, and its answer. A failure is only logged: the client has its answer.

    Nothing is stored if the publication was withdrawn meanwhile, or does not want it any more.
    """
    try:
        files = chat.history.files
        if files:
            storing.store(files)
        with transaction.atomic():
            wanted = Publication.objects.select_for_update().filter(
                pk=running.booking.actor.publication_id, store_openai=True
            )
            if wanted.exists():
                _write(chat, running, model_key=model_key, instruction=instruction, stop_reason=stop_reason)
    except Exception:
        logger.exception("The chat completion %s could not be stored.", running.booking.turn_id)
    finally:
        release_connection()


def _write(chat: ChatRequest, running: Run, *, model_key: str, instruction: str, stop_reason: str) -> None:
    """Three insertions and the questions' parents, however long the history is."""
    booking, now = running.booking, database_now()
    answer = from_converse(running.answer.blocks())
    log = rounds.log_of(running.rounds, model_key) if running.rounds else None
    conversation = Conversation(
        external_id=booking.conversation_external_id,
        publication_id=booking.actor.publication_id,
        bot_id=booking.bot_id,
        model=model_key,
        instruction="\n\n".join(text for text in (instruction, *chat.history.instructions) if text),
        last_question=booking.question_external_id,
        created_at=now,
        updated_at=now,
        size=sum(utterance.content.size for utterance in chat.history.utterances)
        + size_of(answer)
        + rounds.size_of(log),
    )
    conversation.save(force_insert=True)
    of_user = [utterance for utterance in chat.history.utterances if utterance.role == USER]
    answers_before = [utterance.content.blocks for utterance in chat.history.utterances if utterance.role != USER]
    questions = [_question(conversation, utterance, now) for utterance in of_user]
    questions[-1].external_id = booking.question_external_id
    Message.objects.bulk_create(questions)
    reasons = [*("" for _ in answers_before), stop_reason]
    answers = [
        _answer(conversation, question, blocks, reason, now)
        for question, blocks, reason in zip(questions, [*answers_before, answer], reasons, strict=True)
    ]
    answers[-1].thinking_log = log
    Message.objects.bulk_create(answers)
    for question, above in zip(questions[1:], answers, strict=False):
        question.parent_id = above.pk
    Message.objects.bulk_update(questions[1:], ["parent"])
    storing.refer(BLOB_OWNER, conversation.pk, {*chat.history.files, *rounds.shas_of(log or ())})


def _question(conversation: Conversation, utterance: Utterance, now: datetime) -> Message:
    return Message(
        conversation=conversation,
        external_id=new_id(),
        role=Role.USER,
        outcome=Outcome.ANSWERED,
        model=conversation.model,
        created_at=now,
        content_digest=utterance.content.digest,
        content=utterance.content.blocks,
    )


def _answer(
    conversation: Conversation, question: Message, blocks: list[StoredBlock], stop_reason: str, now: datetime
) -> Message:
    return Message(
        conversation=conversation,
        external_id=new_id(),
        parent=question,
        role=Role.ASSISTANT,
        stop_reason=stop_reason,
        model=conversation.model,
        created_at=now,
        content_digest="",
        content=blocks,
    )
