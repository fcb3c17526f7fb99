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
from conversations.access import Answer
from conversations.content.blocks import StoredBlock, has_text, texts
from conversations.models import BLOB_OWNER, Conversation, ConversationQuerySet, Message, Outcome, Role
from conversations.tree import Node, Tree
from conversations.turn import context_window, file_limits, leases, placement
from conversations.turn.types import ChatInput, OpenTurn


def open_turn(chat: ChatInput, *, actor: Caller) -> OpenTurn | Answer:
    """Stores the question, with a lease, or finds that it was answered before. One short transaction.

    Raises what `placement` raises, and BadRequest for what the model cannot see, before anything is written; Forbidden
    where the caller was erased meanwhile, and ServiceUnavailable where files of the question were removed again.
    """
    try:
        with transaction.atomic():
            return _open_continuation(chat, actor) if chat.continue_generate else _open_question(chat, actor)
    except IntegrityError:
        if actor.user_id is not None and not User.objects.filter(pk=actor.user_id).exists():
            raise Forbidden("Your account is gone.") from None
        if storing.locate(chat.content.files).keys() != chat.content.files.keys():
            late = "This message took so long that its files were removed meanwhile; send it again."
            raise ServiceUnavailable(late, retry_after=1) from None
        raise


def _open_question(chat: ChatInput, actor: Caller) -> OpenTurn | Answer:
    """Opens the turn of an ordinary question.

    1. The conversation's row is locked, or made.
    2. `placement` decides by the tree where the question belongs.
    3. A question that was answered before has its stored answer given again; nothing is written.
    4. The branch is read, and refused where the model cannot read it.
    5. The question is written, or its row takes the next attempt, with the outcome that is true if this process dies.
    6. The conversation remembers whose turn was opened last.
    """
    now = database_now()
    new_external_id = chat.message_external_id or new_id()
    conversation, tree = _lock_or_make(chat, actor, new_external_id, now)
    digest = chat.content.digest
    placed = placement.place(
        chat.conversation_external_id,
        tree,
        tree.last_message(conversation.last_question),
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
            contents = _read_branch(chat, conversation, path)
            attempt = question.attempt + 1
            _write_attempt(question, attempt, now, outcome=Outcome.FAILED, model=chat.model.key)
            question_pk, question_external_id = question.pk, question.external_id
        case placement.Ask(parent):
            path = tree.path(parent)
            contents = _read_branch(chat, conversation, path)
            attempt, question_external_id = 1, new_external_id
            question_pk = _write_question(chat, conversation, parent, question_external_id, digest, now)
    _write_last(conversation, question_external_id, now)
    return OpenTurn(
        actor=actor,
        chat=chat,
        conversation=conversation,
        question_pk=question_pk,
        question_external_id=question_external_id,
        attempt=attempt,
        path=tuple(path),
        contents=contents,
        answer_external_id=new_id(),
    )


def _open_continuation(chat: ChatInput, actor: Caller) -> OpenTurn:
    """Opens a turn that extends an answer: its question takes the next attempt, and the answer is marked with it."""
    conversation = access.get_conversation(actor, chat.conversation_external_id, lock=True)
    tree = access.read_tree(conversation, database_now())
    placed = placement.place_continuation(
        chat.conversation_external_id,
        tree,
        tree.last_message(conversation.last_question),
        parent_external_id=chat.parent_external_id,
    )
    question, answer = placed.question, placed.answer
    path = tree.path(answer)
    contents = _read_branch(chat, conversation, path)
    if not has_text(contents[answer.pk]):
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
        question_pk=question.pk,
        question_external_id=question.external_id,
        attempt=attempt,
        path=tuple(path),
        contents=contents,
        answer_external_id=answer.external_id,
        extends=answer,
    )


def _lock_or_make(
    chat: ChatInput, actor: Caller, question_external_id: str, now: datetime
) -> tuple[Conversation, Tree]:
    """The conversation's row, locked until the transaction ends, and its tree; an unknown id makes a conversation."""
    conversation = access.find_conversation(actor, chat.conversation_external_id, lock=True)
    if conversation is None:
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


def _read_branch(chat: ChatInput, conversation: Conversation, path: list[Node]) -> dict[int, list[StoredBlock]]:
    """The contents of the branch, once nothing says that the model cannot read them. Called before anything is written.

    Raises BadRequest.
    """
    contents = access.read_contents(path)
    blocks = [block for node in path for block in contents[node.pk]]
    if not chat.continue_generate:
        blocks += chat.content.blocks
    kinds = {block["contentType"] for block in blocks}
    offering.refuse_unreadable(chat.model, images="image" in kinds, documents="attachment" in kinds)
    if not chat.continue_generate:
        file_limits.refuse_excess(chat, [conversation.instruction, *texts(blocks)])
    context_window.refuse_what_cannot_fit(chat, conversation.instruction, blocks)
    return contents


def _write_question(
    chat: ChatInput, conversation: Conversation, parent: Node | None, external_id: str, digest: str, now: datetime
) -> int:
    """The new row's key."""
    question = Message(
        conversation=conversation,
        external_id=external_id,
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
    storing.refer(BLOB_OWNER, conversation.pk, chat.content.files)
    return question.pk


def _write_attempt(question: Node, attempt: int, now: datetime, **columns: object) -> None:
    lease = {"lease_holder": leases.HOLDER, "lease_expires_at": now + leases.duration()}
    compiled_sql.update(Message, {"pk": question.pk}, attempt=attempt, **lease, **columns)


def _write_last(conversation: Conversation, question_external_id: str, now: datetime) -> None:
    """Tells by `updated_at` that this turn may change something, also when its process dies before it can."""
    if (conversation.last_question, conversation.updated_at) != (question_external_id, now):  # it was not made just now
        columns = {"last_question": question_external_id, "updated_at": now}
        compiled_sql.update(Conversation, {"pk": conversation.pk}, **columns)
