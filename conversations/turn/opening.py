"""Opening a turn: where the question belongs, and its row with the lease, in one short transaction."""

from datetime import datetime

from django.db import IntegrityError, transaction

from bedrock_chat.bedrock import offering
from bedrock_chat.blobs import storing
from bedrock_chat.database import compiled_sql
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.wire.errors import BadRequest, Forbidden, ServiceUnavailable
from bedrock_chat.wire.ids import new_id
from conversations import access
from conversations.content import parsing
from conversations.content.parsing import Block
from conversations.models import BLOB_OWNER, Conversation, ConversationQuerySet, Message, Outcome, Role
from conversations.tree import Node, Tree
from conversations.turn import context_window, leases, placement
from conversations.turn.types import Answer, ChatInput, OpenTurn


def open_turn(actor: Caller, chat: ChatInput) -> OpenTurn | Answer:
    """Stores the question, with a lease, or finds that it was answered before. One short transaction.

    Raises what `placement` raises, and BadRequest for what the model cannot see, before anything is written; Forbidden
    where the caller was erased meanwhile, and ServiceUnavailable where files of the question were removed again.
    """
    try:
        return _open_turn(actor, chat)
    except IntegrityError:
        if actor.user_id is not None and not User.objects.filter(pk=actor.user_id).exists():
            raise Forbidden("Your account is gone.") from None
        if storing.locate(chat.content.bodies).keys() != chat.content.bodies.keys():
            late = "This message took so long that its files were removed meanwhile; send it again."
            raise ServiceUnavailable(late, retry_after=1) from None
        raise


def _open_turn(actor: Caller, chat: ChatInput) -> OpenTurn | Answer:
    with transaction.atomic():
        now = database_now()
        new_external_id = chat.message_external_id or new_id()
        conversation, tree = _lock(actor, chat, new_external_id, now)
        last = tree.last_message(conversation.last_question)
        if chat.continue_generate:
            return _open_continuation(actor, chat, conversation, tree, last)
        digest = chat.content.digest
        placed = placement.place(
            chat.conversation_external_id,
            tree,
            last,
            message_external_id=chat.message_external_id,
            parent_external_id=chat.parent_external_id,
            content_digest=digest,
        )
        match placed:
            case placement.Replay(question, answer):
                row = Message.objects.get(pk=answer.pk)
                children = (child.external_id for child in tree.visible_children(answer.pk))
                return access.stored_answer(conversation, question.external_id, row, children)
            case placement.AskAgain(question):
                path = tree.path(tree.parent_of(question))
                bodies = _bodies_in_sight(chat, conversation, path)
                attempt = question.attempt + 1
                _write_attempt(question, attempt, now, outcome=Outcome.FAILED, model=chat.model.key)
                question_pk, question_external_id = question.pk, question.external_id
            case placement.Ask(parent):
                path = tree.path(parent)
                bodies = _bodies_in_sight(chat, conversation, path)
                attempt, question_external_id = 1, new_external_id
                question_pk = _write_question(chat, conversation, parent, question_external_id, digest, now)
        _write_last(conversation, question_external_id, now)
        return OpenTurn(
            actor=actor,
            chat=chat,
            conversation=conversation,
            question=question_pk,
            question_external_id=question_external_id,
            attempt=attempt,
            path=tuple(path),
            bodies=bodies,
            answer_external_id=new_id(),
        )


def _lock(actor: Caller, chat: ChatInput, question_external_id: str, now: datetime) -> tuple[Conversation, Tree]:
    """The conversation's row, locked until the transaction ends, and its tree; an unknown id makes a conversation."""
    if chat.continue_generate:
        conversation = access.get_conversation(actor, chat.conversation_external_id, lock=True)
    elif (found := access.find_conversation(actor, chat.conversation_external_id, lock=True)) is not None:
        conversation = found
    else:
        new = Conversation(
            external_id=chat.conversation_external_id,
            user_id=actor.user_id,
            publication_id=actor.publication_id,
            model=chat.model.key,
            last_question=question_external_id,
            created_at=now,
            updated_at=now,
        )
        if compiled_sql.insert_unless_taken(new, unique=(*ConversationQuerySet.owner(actor), "external_id")):
            return new, Tree.of((), now)
        # Of two parallel first turns one makes the row; the other waits for it and joins.
        conversation = access.get_conversation(actor, chat.conversation_external_id, lock=True)
    return conversation, access.read_tree(conversation, now)


def _open_continuation(
    actor: Caller, chat: ChatInput, conversation: Conversation, tree: Tree, last: Node | None
) -> OpenTurn:
    placed = placement.place_continuation(
        chat.conversation_external_id, tree, last, parent_external_id=chat.parent_external_id
    )
    question, answer = placed.question, placed.answer
    path = tree.path(answer)
    bodies = _bodies_in_sight(chat, conversation, path)
    if not parsing.has_text(bodies[answer.pk]):
        raise BadRequest("The answer holds no text to continue.")
    attempt = question.attempt + 1
    # The outcome stays as it is: a continuation that dies before new text has changed nothing.
    _write_attempt(question, attempt, tree.now, continues=answer.pk)
    compiled_sql.update(Message, {"pk": answer.pk}, attempt=attempt)
    _write_last(conversation, question.external_id, tree.now)
    return OpenTurn(
        actor=actor,
        chat=chat,
        conversation=conversation,
        question=question.pk,
        question_external_id=question.external_id,
        attempt=attempt,
        path=tuple(path),
        bodies=bodies,
        answer_external_id=answer.external_id,
        extends=answer,
    )


def _bodies_in_sight(chat: ChatInput, conversation: Conversation, path: list[Node]) -> dict[int, list[Block]]:
    """The bodies of the path, once nothing says that the model cannot read them. Refused before anything is written."""
    bodies = access.read_bodies(path)
    blocks = [block for node in path for block in bodies[node.pk]]
    if not chat.continue_generate:
        blocks += chat.content.blocks
    kinds = {block["contentType"] for block in blocks}
    offering.refuse_unreadable(chat.model, images="image" in kinds, documents="attachment" in kinds)
    context_window.refuse_what_cannot_fit(chat, conversation.instruction, blocks)
    return bodies


def _write_question(
    chat: ChatInput,
    conversation: Conversation,
    parent: Node | None,
    question_external_id: str,
    digest: str,
    now: datetime,
) -> int:
    question = Message(
        conversation=conversation,
        external_id=question_external_id,
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
    compiled_sql.insert(question)
    storing.refer(BLOB_OWNER, conversation.pk, chat.content.bodies)
    return question.pk


def _write_attempt(question: Node, attempt: int, now: datetime, **columns: object) -> None:
    lease = {"lease_holder": leases.HOLDER, "lease_expires_at": now + leases.duration()}
    compiled_sql.update(Message, {"pk": question.pk}, attempt=attempt, **lease, **columns)


def _write_last(conversation: Conversation, question_external_id: str, now: datetime) -> None:
    """Tells by `updated_at` that this turn may change something, also when its process dies before it can."""
    if (conversation.last_question, conversation.updated_at) != (question_external_id, now):  # it was not made just now
        compiled_sql.update(Conversation, {"pk": conversation.pk}, last_question=question_external_id, updated_at=now)
