"""What is true of a question that was accepted: it waits, runs, has failed, or has its answer."""

from enum import StrEnum

from django.db.models import QuerySet

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import Conflict, NotFound
from conversations import access
from conversations.access import Answer
from conversations.models import Message, lease_lives
from publication import running
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


def get(conversation_id: str, message_id: str, *, actor: Caller) -> TurnRequest:
    """The newest turn of a question that this publication accepted. Raises NotFound."""
    turn = turns_of(conversation_id, message_id, actor=actor).first()
    if turn is None:
        raise _not_found(conversation_id, message_id)
    return turn


def turns_of(conversation_id: str, message_id: str, *, actor: Caller) -> "QuerySet[TurnRequest]":
    """The turns of a question that this publication accepted, the newest first: its own and those that continue it."""
    of_publication = TurnRequest.objects.filter(publication_id=actor.publication_id, conversation_id=conversation_id)
    return of_publication.filter(message_id=message_id).defer("content").order_by("-pk")


def answer_of(conversation_id: str, message_id: str, *, actor: Caller) -> Answer:
    """The newest answer of a question that this publication accepted.

    Raises NotFound for an unknown question, NotYet for one whose answer is not there yet, and Conflict, with the
    reason, for one that has failed. The last two say the status in a header, and so does NotFound where the answer was
    there; of what nobody asked there is none.
    """
    turn = get(conversation_id, message_id, actor=actor)
    if turn.done_at is None:
        raise NotYet(turn, status_of(turn, runs=running_question(turn) is not None))
    if turn.reason:
        raise Conflict(turn.reason, headers={HEADER: TurnStatus.FAILED})
    try:
        return stored_answer(turn, actor=actor)
    except NotFound as gone:  # pruning takes a conversation before the questions that were asked in it
        raise NotFound(str(gone.detail), headers={HEADER: TurnStatus.DONE}) from None


def stored_answer(turn: TurnRequest, *, actor: Caller) -> Answer:
    """The newest answer of the question of a turn that has not failed. Raises NotFound where it was deleted."""
    conversation = access.get_conversation(actor, turn.conversation_id)
    tree = access.read_tree(conversation, database_now())
    question = tree.by_external_id.get(turn.message_id)
    answer = None if question is None else tree.newest_answer(question)
    if answer is None:
        raise _not_found(turn.conversation_id, turn.message_id)
    return access.read_answer(conversation, tree, answer)


def status_of(turn: TurnRequest, *, runs: bool) -> TurnStatus:
    """The status of a turn. `runs` says whether a process runs it now."""
    if turn.done_at is not None:
        return TurnStatus.FAILED if turn.reason else TurnStatus.DONE
    return TurnStatus.RUNNING if runs else TurnStatus.PENDING


def running_question(turn: TurnRequest) -> Message | None:
    """The question of a turn that runs, in whichever process; None while the turn waits.

    A continuation has the question of the turn before it, which perhaps still runs.
    """
    question = running.question_of(turn)
    if question is None or not lease_lives(question.lease_expires_at, database_now()):
        return None
    return None if turn.continue_generate and running.is_behind_another(turn) else question


def _not_found(conversation_id: str, message_id: str) -> NotFound:
    return NotFound(f"Message {message_id} not found in conversation {conversation_id}")
