"""A turn: the user's message is stored, the model is asked, the answer is stored. Whoever asks consumes its events.

    open    one short transaction: access, the conversation's row locked, the question stored with a lease
    ask     no transaction, no pooled connection: prompt → model → events
    close   one short transaction, fenced by the attempt: answer, ledger, lease given back

Between open and close the rows already say what is true if the process dies now: the question failed once its lease
is over.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import BigIntegerField, Case, F, Value, When

from bedrock_chat import blobs
from bedrock_chat.bedrock import catalog, events, request, runtime
from bedrock_chat.bedrock.faults import ModelFault
from bedrock_chat.database import database_now, release_connection
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import ApiError, BadRequest, Conflict, NotFound
from bedrock_chat.wire.ids import new_id
from conversations import access, admission, content, leases, placement, prompt, usage
from conversations.content import Block, Content
from conversations.models import Conversation, Message, ModelCall, Outcome, Purpose, Role
from conversations.tree import Node, Tree

BLOB_OWNER = "conversation"


@dataclass(frozen=True, slots=True)
class ChatInput:
    """A validated `POST /conversation`, whatever transport it came by."""

    conversation_id: str
    model: catalog.Model
    content: Content
    message_id: str | None = None
    parent_message_id: str | None = None
    bot_id: str | None = None
    continue_generate: bool = False
    enable_reasoning: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored answer with what a client is told of it."""

    conversation_id: str
    created_at: datetime
    bot_id: str | None
    message_id: str
    parent_id: str
    model: str
    stop_reason: str
    content: list[Block]
    children: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """The question is stored and the model is about to be asked."""

    conversation_id: str
    message_id: str
    answer_id: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The rows exist."""

    answer: Answer


TurnEvent = Opened | events.Event | Finished


class LeaseLost(Exception):
    """Raised by `on_close` of a job that no longer owns its work; nothing of the close is kept."""


@dataclass(frozen=True, slots=True)
class Turn:
    """An open turn: everything the model is asked with, and what its close is fenced by."""

    actor: Caller
    chat: ChatInput
    conversation: int
    created_at: datetime
    question: int
    question_id: str
    attempt: int
    path: tuple[Node, ...]
    bodies: dict[int, list[Block]]
    instruction: str
    answer_id: str
    extends: Node | None = None


def run(actor: Caller, chat: ChatInput, on_close: Callable[[], None] | None = None) -> Iterator[TurnEvent]:
    """One turn from the question to the stored answer.

    `on_close` runs inside the closing transaction and may raise LeaseLost. Raises the errors of `placement`, NotFound,
    ServiceUnavailable beyond `TURNS`, and the model's faults; an error after the question was stored carries
    `conversationId` and `messageId`.
    """
    with admission.admitted():
        _check(chat)
        if not chat.continue_generate:
            blobs.store(chat.content.bodies)
        opened = _open(actor, chat)
        if isinstance(opened, Answer):
            yield Finished(opened)
            return
        leases.hold(opened.question, opened.attempt)
        try:
            yield Opened(chat.conversation_id, opened.question_id, opened.answer_id)
            yield from _ask(opened, on_close)
        finally:
            leases.drop(opened.question, opened.attempt)


def drain(turn_events: Iterator[TurnEvent]) -> Answer:
    """The stored answer of a turn that nobody listens to."""
    answer = None
    for event in turn_events:
        if isinstance(event, Finished):
            answer = event.answer
    assert answer is not None  # the last event of every turn that did not raise
    return answer


def _check(chat: ChatInput) -> None:
    """What can be refused without looking at the conversation."""
    if chat.bot_id:
        raise NotFound(f"No bot found with id: {chat.bot_id}")
    if settings.GLOBAL_AVAILABLE_MODELS and chat.model.key not in settings.GLOBAL_AVAILABLE_MODELS:
        raise BadRequest(f"message.model: {chat.model.key} is not available here.")
    if chat.continue_generate:
        if chat.model.prefill is not True:
            raise BadRequest(f"message.model: {chat.model.display_name} cannot continue an answer.")
    elif not chat.content.says_something():
        raise BadRequest("message.content: a message needs text, an image or a document.")


# ---- Open -----------------------------------------------------------------------------------------------------------


def _open(actor: Caller, chat: ChatInput) -> Turn | Answer:
    with transaction.atomic():
        now = database_now()
        conversation, tree = _lock(actor, chat, now)
        last = tree.last_message(conversation.last_question, conversation.last_answer)
        if chat.continue_generate:
            return _open_continuation(actor, chat, conversation, tree, last)
        digest = chat.content.digest
        placed = placement.place(
            chat.conversation_id,
            tree,
            last,
            message_id=chat.message_id,
            parent_message_id=chat.parent_message_id,
            content_digest=digest,
        )
        match placed:
            case placement.Replay(question, answer):
                return _stored_answer(conversation, tree, question, answer)
            case placement.AskAgain(question):
                path = tree.path(tree.nodes[question.parent] if question.parent is not None else None)
                bodies = _bodies_in_sight(chat, path)
                attempt = question.attempt + 1
                _write_attempt(question, attempt, now, outcome=Outcome.FAILED, model=chat.model.key)
                question_pk, question_id = question.pk, question.message_id
            case placement.Ask(parent):
                path = tree.path(parent)
                bodies = _bodies_in_sight(chat, path)
                attempt, question_id = 1, chat.message_id or new_id()
                question_pk = _write_question(chat, conversation, parent, question_id, digest, now)
        _write_last(conversation, now, question=question_pk, answer=None)
        return Turn(
            actor=actor,
            chat=chat,
            conversation=conversation.pk,
            created_at=conversation.created_at,
            question=question_pk,
            question_id=question_id,
            attempt=attempt,
            path=tuple(path),
            bodies=bodies,
            instruction=conversation.instruction,
            answer_id=new_id(),
        )


def _lock(actor: Caller, chat: ChatInput, now: datetime) -> tuple[Conversation, Tree]:
    """The conversation's row, locked until the transaction ends, and its tree; an unknown id makes a conversation."""
    rows = Conversation.objects.visible_to(actor).select_for_update().filter(conversation_id=chat.conversation_id)
    conversation = rows.first()
    if conversation is None:
        if chat.continue_generate:
            raise NotFound(f"No conversation found with id: {chat.conversation_id}")
        made = Conversation(
            conversation_id=chat.conversation_id,
            user_id=actor.user_id,
            publication_id=actor.publication_id,
            model=chat.model.key,
            created_at=now,
            updated_at=now,
        )
        # Of two parallel first turns one makes the row; the other waits for it here and joins.
        Conversation.objects.bulk_create([made], ignore_conflicts=True)
        conversation = rows.get()
    return conversation, access.read_tree(conversation, now)


def _open_continuation(
    actor: Caller, chat: ChatInput, conversation: Conversation, tree: Tree, last: Node | None
) -> Turn:
    placed = placement.place_continuation(
        chat.conversation_id, tree, last, parent_message_id=chat.parent_message_id
    )
    question, answer = placed.question, placed.answer
    path = tree.path(answer)
    bodies = _bodies_in_sight(chat, path)
    if not content.has_text(bodies[answer.pk]):
        raise BadRequest("The answer holds no text to continue.")
    attempt = question.attempt + 1
    # The outcome stays as it is: a continuation that dies before new text has changed nothing.
    _write_attempt(question, attempt, tree.now, continues=answer.pk)
    _write_last(conversation, tree.now, question=question.pk, answer=answer.pk)
    return Turn(
        actor=actor,
        chat=chat,
        conversation=conversation.pk,
        created_at=conversation.created_at,
        question=question.pk,
        question_id=question.message_id,
        attempt=attempt,
        path=tuple(path),
        bodies=bodies,
        instruction=conversation.instruction,
        answer_id=answer.message_id,
        extends=answer,
    )


def _bodies_in_sight(chat: ChatInput, path: list[Node]) -> dict[int, list[Block]]:
    """The bodies of the path, once it is certain that the model can read them. Refused before anything is written."""
    bodies = access.read_bodies(path)
    blocks = [block for node in path for block in bodies[node.pk]]
    if not chat.continue_generate:
        blocks += chat.content.blocks
    kinds = {block["contentType"] for block in blocks}
    if "image" in kinds and chat.model.images is False:
        raise BadRequest(f"{chat.model.display_name} cannot see images; choose a model that can.")
    if "attachment" in kinds and chat.model.documents is False:
        raise BadRequest(f"{chat.model.display_name} cannot read documents; choose a model that can.")
    return bodies


def _write_question(
    chat: ChatInput, conversation: Conversation, parent: Node | None, question_id: str, digest: str, now: datetime
) -> int:
    question = Message.objects.create(
        conversation=conversation,
        message_id=question_id,
        parent_id=parent.pk if parent else None,
        role=Role.USER,
        outcome=Outcome.FAILED,
        lease_holder=leases.HOLDER,
        lease_expires_at=now + leases.duration(),
        model=chat.model.key,
        created_at=now,
        content_digest=digest,
        content=chat.content.blocks,
    )
    blobs.refer(BLOB_OWNER, conversation.pk, chat.content.bodies)
    return question.pk


def _write_attempt(question: Node, attempt: int, now: datetime, **columns: object) -> None:
    Message.objects.filter(pk=question.pk).update(
        attempt=attempt, lease_holder=leases.HOLDER, lease_expires_at=now + leases.duration(), **columns
    )


def _write_last(conversation: Conversation, now: datetime, *, question: int, answer: int | None) -> None:
    Conversation.objects.filter(pk=conversation.pk).update(last_question=question, last_answer=answer, updated_at=now)


def _stored_answer(conversation: Conversation, tree: Tree, question: Node, answer: Node) -> Answer:
    row = Message.objects.get(pk=answer.pk)
    return Answer(
        conversation_id=conversation.conversation_id,
        created_at=conversation.created_at,
        bot_id=conversation.bot_id,
        message_id=answer.message_id,
        parent_id=question.message_id,
        model=row.model,
        stop_reason=row.stop_reason,
        content=row.content,
        children=tuple(child.message_id for child in tree.visible_children(answer.pk)),
    )


# ---- Ask ------------------------------------------------------------------------------------------------------------


def _ask(turn: Turn, on_close: Callable[[], None] | None) -> Iterator[TurnEvent]:
    release_connection()
    started = time.monotonic()
    built = events.AnswerBuilder()
    closed: events.Closed | None = None
    try:
        asked = _compose(turn)
    except BaseException:
        _close_failed(turn, None)
        raise
    try:
        for event in runtime.call(asked, stream=False):
            built.feed(event)
            if isinstance(event, events.Closed):
                closed = event
            yield event
    except BaseException as error:
        fault = error.code if isinstance(error, ModelFault) else type(error).__name__
        _close_failed(turn, _ledger(turn, asked, None, started, fault=fault))
        if isinstance(error, ApiError):
            error.extra = {**error.extra, **_ids(turn)}
        raise
    assert closed is not None  # the last event of every call that did not raise
    yield Finished(_close(turn, content.from_converse(built.blocks()), _ledger(turn, asked, closed, started), on_close))


def _compose(turn: Turn) -> request.ModelRequest:
    chat = turn.chat
    read = access.BlobReader(chat.content.bodies.items())
    messages = prompt.build(turn.path, turn.bodies, read)
    if turn.extends:
        messages = prompt.prefill(messages)
    else:
        messages.append({"role": "user", "content": content.question_to_converse(chat.content.blocks, read)})
    return request.compose(
        chat.model,
        route(chat.model),
        messages,
        instruction=turn.instruction,
        reasoning=chat.enable_reasoning and not turn.extends,
    )


def route(model: catalog.Model) -> catalog.Target:
    """Where this deployment calls a model."""
    return catalog.route(
        model,
        region=settings.BEDROCK_REGION,
        cross_region=settings.CROSS_REGION_INFERENCE,
        global_inference=settings.GLOBAL_INFERENCE,
        profile_arns=settings.INFERENCE_PROFILE_ARNS,
    )


def _ledger(
    turn: Turn, asked: request.ModelRequest, closed: events.Closed | None, started: float, *, fault: str = ""
) -> ModelCall:
    return usage.ledger_entry(
        turn.actor,
        asked,
        purpose=Purpose.TURN,
        conversation_id=turn.chat.conversation_id,
        message_id=turn.question_id,
        closed=closed,
        latency_ms=int((time.monotonic() - started) * 1000),
        fault=fault,
    )


# ---- Close ----------------------------------------------------------------------------------------------------------


class _Refused(Exception):
    """The fence holds: the conversation is gone, or a later attempt owns the question."""


def _close(turn: Turn, answered: list[Block], call: ModelCall, on_close: Callable[[], None] | None) -> Answer:
    try:
        with transaction.atomic():
            now = database_now()
            deleted = not _touch(turn, now)
            if deleted or not _give_back(turn, outcome=Outcome.ANSWERED):
                raise _Refused
            answer_pk, answer = _write_answer(turn, answered, call.stop_reason, now)
            _name_last(turn, answer_pk)
            call.save(force_insert=True)
            if on_close is not None:
                on_close()
    except (_Refused, LeaseLost) as error:
        call.pk = None
        call.save(force_insert=True)
        if isinstance(error, LeaseLost):
            raise
        if deleted:
            raise NotFound(f"Conversation {turn.chat.conversation_id} was deleted meanwhile.", extra=_ids(turn)) from None
        raise Conflict("Another attempt has taken over this message.", extra=_ids(turn)) from None
    return answer


def _close_failed(turn: Turn, call: ModelCall | None) -> None:
    """Gives the lease back at once; what the rows say of the turn was true before it began."""
    with transaction.atomic():
        _give_back(turn)
        if call is not None:
            call.save(force_insert=True)


def _touch(turn: Turn, now: datetime) -> bool:
    """Locks the conversation first, as a deletion does: the answer cannot slip in between its two statements."""
    return bool(Conversation.objects.filter(pk=turn.conversation).update(updated_at=now))


def _give_back(turn: Turn, **columns: object) -> bool:
    return bool(
        Message.objects.filter(pk=turn.question, attempt=turn.attempt, lease_holder=leases.HOLDER).update(
            lease_holder="", lease_expires_at=None, continues=None, **columns
        )
    )


def _write_answer(turn: Turn, answered: list[Block], stop_reason: str, now: datetime) -> tuple[int, Answer]:
    answer = Answer(
        conversation_id=turn.chat.conversation_id,
        created_at=turn.created_at,
        bot_id=None,
        message_id=turn.answer_id,
        parent_id=turn.question_id,
        model=turn.chat.model.key,
        stop_reason=stop_reason,
        content=answered,
    )
    if turn.extends:
        answer = replace(answer, content=content.extend(turn.bodies[turn.extends.pk], answered))
        Message.objects.filter(pk=turn.extends.pk).update(content=answer.content, stop_reason=stop_reason)
        return turn.extends.pk, answer
    row = Message.objects.create(
        conversation_id=turn.conversation,
        message_id=answer.message_id,
        parent_id=turn.question,
        role=Role.ASSISTANT,
        attempt=turn.attempt,
        stop_reason=stop_reason,
        model=answer.model,
        created_at=now,
        content_digest="",
        content=answered,
    )
    return row.pk, answer


def _name_last(turn: Turn, answer: int) -> None:
    """The answer becomes `lastMessageId`, unless another turn was opened meanwhile."""
    mine = When(last_question=turn.question, then=Value(answer, output_field=BigIntegerField()))
    Conversation.objects.filter(pk=turn.conversation).update(last_answer=Case(mine, default=F("last_answer")))


def _ids(turn: Turn) -> dict[str, str]:
    return {"conversationId": turn.chat.conversation_id, "messageId": turn.question_id}
