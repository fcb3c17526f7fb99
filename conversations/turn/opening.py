"""Opens a turn: decides where the question belongs, and writes its row with the lease, in one short transaction."""

from collections.abc import Sequence
from datetime import datetime

from django.db import IntegrityError, transaction

from bedrock_chat.bedrock import offering
from bedrock_chat.blobs import storing
from bedrock_chat.database import compiled_sql
from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.database.instances import new_row
from bedrock_chat.identity import users
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import BadRequest, Conflict, ServiceUnavailable
from bedrock_chat.wire.ids import new_id
from bots import chatting
from bots.chatting import ChattingBot
from bots.tools import offered
from conversations import access
from conversations.access import Answer
from conversations.content import rounds
from conversations.content.blocks import StoredBlock, has_text, texts
from conversations.models import BLOB_OWNER, Conversation, ConversationQuerySet, Message, Outcome, Role, lease_length
from conversations.tree import Node, Tree, new_answer_id
from conversations.turn import capacity, context_window, file_limits, leases, placement, spending
from conversations.turn.types import NO_TOOLS, ChatInput, OpenTurn, Tools


def open_turn(chat: ChatInput, *, actor: Caller) -> OpenTurn | Answer:
    """Stores the question with a lease; returns the stored answer if the question was answered before.

    All of it is one short transaction: if an error is raised, no row is written. Raises what `placement` raises, and
    BadRequest for content that the model cannot read or the conversation has no room for. Raises Forbidden if the
    caller's account was erased meanwhile, and ServiceUnavailable if files of the question were removed meanwhile.
    """
    try:
        with transaction.atomic():
            return _open_continuation(chat, actor) if chat.continue_generate else _open_question(chat, actor)
    except Conflict:
        conversations = Conversation.objects.visible_to(actor).filter(external_id=chat.conversation_external_id)
        leases.shorten(Message.objects.filter(conversation__in=conversations))
        raise
    except IntegrityError:
        users.refuse_erased(actor)
        if storing.locate(chat.content.files).keys() != chat.content.files.keys():
            sentence = "This message took so long that its files were removed meanwhile; send it again."
            raise ServiceUnavailable(sentence, retry_after=1) from None
        raise


def _open_question(chat: ChatInput, actor: Caller) -> OpenTurn | Answer:
    """Opens the turn of an ordinary question.

    1. The conversation's row is locked, or inserted if the id is new. A new one takes its bot's instruction.
    2. `placement` decides by the tree where the question belongs.
    3. If the question was answered before, its stored answer is returned, and nothing is written.
    4. The conversation's bot is read, and refused if the caller may not use it any more.
    5. The branch is read, and refused if the model cannot read it.
    6. The question's row is inserted, or takes the next attempt if it exists. Its outcome is the one that is true if
       this process dies.
    7. The conversation notes that the turn of this question was opened last, and the bot's alias that it was used.
    8. What the call may cost is reserved of all budgets that it counts for, or refused (`spending`).
    """
    new_external_id = chat.message_external_id or new_id()
    size = chat.content.size
    conversation, tree, bot = _lock_or_make(chat, actor, new_external_id, size)
    now, digest = tree.now, chat.content.digest
    decision = placement.place(
        chat.conversation_external_id,
        tree,
        tree.last_message(conversation.last_question),
        message_external_id=chat.message_external_id,
        parent_external_id=chat.parent_external_id,
        content_digest=digest,
    )
    match decision:
        case placement.Replay(answer=answer):
            return access.read_answer(conversation, tree, answer)
        case placement.AskAgain(question):
            bot = bot or _bot_of(chat, conversation.bot_id, actor)
            capacity.refuse_more_messages(tree, 1)
            capacity.refuse_more_bytes(conversation)
            path = tree.path(tree.parent_of(question))
            contents = _read_branch(chat, conversation, path)
            tools = _read_tools(chat, bot, path, actor, asked_again=question)
            attempt, question_pk, question_external_id = question.attempt + 1, question.pk, question.external_id
            with Batch() as batch:
                _write_attempt(batch, question, attempt, now, outcome=Outcome.FAILED, model=chat.model.key)
                _write_last(batch, conversation, question_external_id, now)
                _note_turn(batch, bot, now, actor, is_use=False)
                wish = spending.ask(batch, chat, conversation, bot, contents, now, tools, actor=actor)
        case placement.Ask(parent):
            bot = bot or _bot_of(chat, conversation.bot_id, actor)
            added = size if tree.nodes else 0  # the row of a new conversation has been inserted with it
            capacity.refuse_more_messages(tree, 2)
            capacity.refuse_more_bytes(conversation, added)
            path = tree.path(parent)
            contents = _read_branch(chat, conversation, path)
            tools = _read_tools(chat, bot, path, actor)
            attempt, question_external_id = 1, new_external_id
            with Batch() as batch:
                row = _write_question(batch, chat, conversation, parent, question_external_id, digest, now)
                _write_last(batch, conversation, question_external_id, now, added)
                _note_turn(batch, bot, now, actor, is_use=True)
                wish = spending.ask(batch, chat, conversation, bot, contents, now, tools, actor=actor)
            storing.refer(BLOB_OWNER, conversation.pk, chat.content.files)
            question_pk = row.pk
    return OpenTurn(
        actor=actor,
        chat=chat,
        conversation=conversation,
        question_pk=question_pk,
        question_external_id=question_external_id,
        attempt=attempt,
        path=tuple(path),
        contents=contents,
        answer_external_id=new_answer_id(question_pk, attempt),
        bot=bot,
        reservation=wish.finish(),
        **tools,
    )


def _open_continuation(chat: ChatInput, actor: Caller) -> OpenTurn:
    """Opens a turn that extends an answer.

    1. The conversation's row is locked.
    2. `placement` finds the answer and its question, and refuses an answer that cannot be continued.
    3. The conversation's bot is read, and refused if the caller may not use it any more.
    4. The branch is read, and refused if the model cannot read it, or if the answer has no text.
    5. The question's row takes the next attempt, and the answer's row gets the same number.
    6. The conversation notes that the turn of this question was opened last, and the bot's alias that it was used.
    7. What the call may cost is reserved, or refused.

    Raises NotFound for an unknown conversation.
    """
    conversation, tree = access.lock_conversation(actor, chat.conversation_external_id)
    if conversation is None:
        raise access.no_conversation(chat.conversation_external_id)
    _refuse_other_bot(chat, conversation)
    decision = placement.place_continuation(
        chat.conversation_external_id,
        tree,
        tree.last_message(conversation.last_question),
        parent_external_id=chat.parent_external_id,
    )
    question, answer = decision.question, decision.answer
    bot = _bot_of(chat, conversation.bot_id, actor)
    path = tree.path(answer)
    capacity.refuse_more_bytes(conversation)
    contents = _read_branch(chat, conversation, path)
    if not has_text(contents[answer.pk]):
        raise BadRequest("The answer holds no text to continue.")
    tools = _read_tools(chat, bot, path, actor, asked_again=question, extends=answer)
    attempt = question.attempt + 1
    # The outcome stays: if this process dies before the model writes new text, nothing has changed.
    with Batch() as batch:
        _write_attempt(batch, question, attempt, tree.now, continues=answer.pk)
        batch.update(Message, {"pk": answer.pk}, attempt=attempt)
        _write_last(batch, conversation, question.external_id, tree.now)
        _note_turn(batch, bot, tree.now, actor, is_use=False)
        wish = spending.ask(batch, chat, conversation, bot, contents, tree.now, tools, actor=actor)
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
        bot=bot,
        reservation=wish.finish(),
        **tools,
    )


def _lock_or_make(
    chat: ChatInput, actor: Caller, question_external_id: str, size: int
) -> tuple[Conversation, Tree, ChattingBot | None]:
    """Locks the conversation's row until the transaction ends, and reads its tree. Inserts the row if the id is new.

    The bot is that of a new conversation, whose instruction it takes for good. Others' is not read yet.
    """
    conversation, tree = access.lock_conversation(actor, chat.conversation_external_id)
    if conversation is not None:
        _refuse_other_bot(chat, conversation)
        return conversation, tree, None
    bot = _bot_of(chat, chat.bot_id, actor)
    new = new_row(
        Conversation,
        external_id=chat.conversation_external_id,
        user_id=actor.user_id,
        publication_id=actor.publication_id,
        bot_id=chat.bot_id,
        model=chat.model.key,
        instruction=bot.instruction if bot else "",
        last_question=question_external_id,
        created_at=tree.now,
        updated_at=tree.now,
        size=size + (len(bot.instruction.encode()) if bot else 0),
    )
    if compiled_sql.insert_unless_taken(new, unique=(*ConversationQuerySet.owner(actor), "external_id")):
        return new, tree, bot
    # Another first turn has inserted the row meanwhile. This turn has waited for it, and joins the conversation.
    conversation, tree = access.lock_conversation(actor, chat.conversation_external_id)
    if conversation is None:
        raise access.no_conversation(chat.conversation_external_id)
    _refuse_other_bot(chat, conversation)
    return conversation, tree, bot


def _refuse_other_bot(chat: ChatInput, conversation: Conversation) -> None:
    """Raises BadRequest for a bot that is not the conversation's. A request without a bot means that one."""
    if chat.bot_id is not None and chat.bot_id != conversation.bot_id:
        whose = "has no bot" if conversation.bot_id is None else "has another bot"
        raise BadRequest(f"botId: this conversation {whose}; begin a new one with this bot.")


def _bot_of(chat: ChatInput, bot_id: str | None, actor: Caller) -> ChattingBot | None:
    """The bot that a turn is with, in one query.

    Raises NotFound, also for one that is not the caller's to use any more, and what `ChattingBot.refuse` raises.
    """
    if bot_id is None:
        return None
    bot = chatting.get(bot_id, actor=actor)
    bot.refuse(chat.model)
    return bot


def _note_turn(batch: Batch, bot: ChattingBot | None, now: datetime, actor: Caller, *, is_use: bool) -> None:
    if bot is not None:
        chatting.note_turn(batch, bot, now, is_use=is_use, actor=actor)


def _read_branch(chat: ChatInput, conversation: Conversation, path: list[Node]) -> dict[int, list[StoredBlock]]:
    """The blocks of the branch's messages, by the messages' keys. Called before the question is written.

    Raises BadRequest if the model cannot read them, or the new message, or if both together cannot fit its window.
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


def _read_tools(
    chat: ChatInput,
    bot: ChattingBot | None,
    path: Sequence[Node],
    actor: Caller,
    *,
    asked_again: Node | None = None,
    extends: Node | None = None,
) -> Tools:
    """The tools that the bot offers, what tools gave for the answers of the branch, and rounds of an attempt that was
    cut. Nothing is read where no tools are offered.
    """
    if bot is None or not (tools := offered.offered(bot, chat.model, actor)).tools:
        return NO_TOOLS
    logs = access.read_logs(node for node in path if not node.is_question)
    stored = access.read_rounds(asked_again) if asked_again else []
    key = extends.pk if extends else None
    taken_over = tuple(one for one in stored if one["extends"] == key)
    if extends and extends.pk in logs:  # a checkpoint may have added those rounds to it
        logs[extends.pk] = rounds.without(logs[extends.pk], taken_over)
    return {
        "offered": tools,
        "logs": logs,
        "taken_over": taken_over,
        "other_rounds": tuple(one for one in stored if one["extends"] != key),
    }


def _write_question(
    batch: Batch,
    chat: ChatInput,
    conversation: Conversation,
    parent: Node | None,
    external_id: str,
    digest: str,
    now: datetime,
) -> Message:
    """Inserts the question's row, which has its key when the batch has run."""
    question = new_row(
        Message,
        conversation_id=conversation.pk,
        external_id=external_id,
        parent_id=parent.pk if parent else None,
        role=Role.USER,
        outcome=Outcome.FAILED,
        lease_holder=leases.HOLDER,
        lease_expires_at=now + lease_length(),
        model=chat.model.key,
        created_at=now,
        content_digest=digest,
        content=chat.content.blocks,
    )
    batch.insert(question)
    return question


def _write_attempt(batch: Batch, question: Node, attempt: int, now: datetime, **columns: object) -> None:
    """Gives the question's row its next attempt, with a new lease, and sets further columns."""
    lease = {"lease_holder": leases.HOLDER, "lease_expires_at": now + lease_length()}
    batch.update(Message, {"pk": question.pk}, attempt=attempt, **lease, **columns)


def _write_last(
    batch: Batch, conversation: Conversation, question_external_id: str, now: datetime, added: int = 0
) -> None:
    """Notes whose turn was opened last, and that the conversation has grown by `added` bytes.

    `updated_at` is set here too, so that search looks at the conversation again even if this process dies before the
    turn closes.
    """
    if (conversation.last_question, conversation.updated_at) != (question_external_id, now):  # else just inserted so
        columns = {"last_question": question_external_id, "updated_at": now}
        batch.update(Conversation, {"pk": conversation.pk}, {"size": added}, **columns)
