"""What is true of a question that was accepted: it waits, runs, has failed, or has its answer."""

from enum import StrEnum

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import Conflict, NotFound
from conversations import access
from conversations.access import Answer
from conversations.models import Message, lease_lives
from publication.models import TurnRequest

RETRY_SECONDS = 1.0


class TurnStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    FAILED = "failed"
    DONE = "done"


HEADER = "X-Turn-Status"


class NotYet(NotFound):
    """The answer to a question is not there yet: `turn` waits, or runs."""

    def __init__(self, turn: TurnRequest, status: TurnStatus) -> None:
        self.turn = turn
        sentence = "It is being answered." if status is TurnStatus.RUNNING else "It waits for its answer."
        super().__init__(f"{sentence} Try again in a moment.", retry_after=RETRY_SECONDS, headers={HEADER: status})


def answer_of(conversation_id: str, message_id: str, *, actor: Caller) -> Answer:
    """The newest answer of a question that this publication accepted.

    Raises NotFound for an unknown question, NotYet for one whose answer is not there yet, and Conflict, with the
    reason, for one that has failed. The last two say the status in a header.
    """
    turn = _newest(conversation_id, message_id, actor)
    if turn is None:
        raise NotFound(f"Message {message_id} not found in conversation {conversation_id}")
    conversation = access.find_conversation(actor, conversation_id)
    if turn.done_at is None:
        is_running = conversation is not None and _runs(turn, conversation.pk)
        raise NotYet(turn, TurnStatus.RUNNING if is_running else TurnStatus.PENDING)
    if turn.reason:
        raise Conflict(turn.reason, headers={HEADER: TurnStatus.FAILED})
    if conversation is None:
        raise access.no_conversation(conversation_id)
    tree = access.read_tree(conversation, database_now())
    question = tree.by_external_id.get(message_id)
    answer = None if question is None else tree.newest_answer(question)
    if answer is None:
        raise NotFound(f"Message {message_id} not found in conversation {conversation_id}")
    return access.read_answer(conversation, tree, answer)


def _newest(conversation_id: str, message_id: str, actor: Caller) -> TurnRequest | None:
    of_publication = TurnRequest.objects.filter(publication_id=actor.publication_id, conversation_id=conversation_id)
    return of_publication.filter(message_id=message_id).order_by("-pk").first()


def _runs(turn: TurnRequest, conversation_pk: int) -> bool:
    """Whether a worker has opened the turn: its question's lease lives."""
    question = Message.objects.filter(conversation=conversation_pk, external_id=turn.message_id)
    return lease_lives(question.values_list("lease_expires_at", flat=True).first(), database_now())
