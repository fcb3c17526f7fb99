"""Accepting a question over a published API: it is stored with its job, and answered later."""

from dataclasses import dataclass

import orjson
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from bedrock_chat.bedrock import catalog, offering
from bedrock_chat.blobs import storing
from bedrock_chat.database.compiled_sql import NOW, Batch
from bedrock_chat.database.composing import Slot
from bedrock_chat.database.connections import database_now, release_connection
from bedrock_chat.database.instances import new_row
from bedrock_chat.identity.caller import Caller
from bedrock_chat.metrics import refusals
from bedrock_chat.wire.errors import BadRequest, ServiceUnavailable
from bedrock_chat.wire.ids import new_id
from bots import chatting
from conversations import access
from conversations.content.blocks import Content
from conversations.turn import continuing, placement, spending
from publication import running
from publication.idempotency import claiming
from publication.idempotency.claiming import Keyed
from publication.models import TurnRequest

RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Question:
    """A validated POST of a published API."""

    model: catalog.Model
    content: Content
    conversation_id: str | None = None
    continue_generate: bool = False
    enable_reasoning: bool = False
    user_label: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The ids by which the answer is asked for."""

    conversation_id: str
    message_id: str


def accept(question: Question, keyed: tuple[Keyed, str] | None = None, *, actor: Caller, host: str = "") -> TurnRequest:
    """Stores a question and asks for its turn, in one transaction, in which its idempotency key is claimed.

    `keyed` is that key, with the digest of the body. `host` is the process that will stream the answer.

    1. What can be refused without the bot and the conversation is refused at once.
    2. The question's files are stored, outside of any transaction, unless the bot refuses it.
    3. The question gets the id of its message. A continuation has that of the question whose answer grows.
    4. Bot, backlog and question go to the database together. What the bot or the backlog refuses is not stored.

    Raises BadRequest, BudgetUsedUp, ServiceUnavailable where as many turns wait as may, and what `claiming.keep`
    raises.
    """
    assert actor.published is not None
    assert actor.publication_id is not None
    assert actor.key_id is not None
    bot_id = actor.published.bot_id
    _refuse_at_once(question, actor)
    spending.refuse_used_up(question.model, bot_id, actor=actor)
    files = {} if question.continue_generate else question.content.files
    if files:
        chatting.get(bot_id, actor=actor).refuse(question.model)
        release_connection()
        storing.store(files)
    with transaction.atomic():
        if question.conversation_id is not None:
            running.lock(actor.publication_id, question.conversation_id)
        turn = new_row(
            TurnRequest,
            message_id=_continued(question, actor) if question.continue_generate else new_id(),
            publication_id=actor.publication_id,
            key_id=actor.key_id,
            conversation_id=question.conversation_id or new_id(),
            model=question.model.key,
            content=[] if question.continue_generate else question.content.blocks,
            continue_generate=question.continue_generate,
            enable_reasoning=question.enable_reasoning,
            user_label=question.user_label,
            host=host,
        )
        if keyed is not None:
            accepted = Accepted(turn.conversation_id, turn.message_id)
            claiming.keep(*keyed, orjson.dumps(accepted).decode())
        with Batch() as batch:
            bot = chatting.get_in(batch, bot_id, actor=actor)
            last = batch.queryset(
                _last_that_may_wait, (settings.PUBLISHED_BACKLOG,), {"publication": actor.publication_id}
            )
            batch.insert_unless_taken(turn, accepted_at=NOW)
        bot().refuse(question.model)
        if last.result:
            refusals.count("published_backlog")
            raise ServiceUnavailable("As many questions wait here as may; try again later.", retry_after=RETRY_SECONDS)
        storing.refer(running.BLOB_OWNER, turn.pk, files)
        running.enqueue(turn, is_new_conversation=question.conversation_id is None)
    return turn


def accepted_before(kept: str) -> Accepted:
    """What `accept` kept for an idempotency key."""
    return Accepted(**orjson.loads(kept))


def _last_that_may_wait(backlog: int) -> "QuerySet[TurnRequest, tuple[int]]":
    """The question that fills the backlog of a publication, if as many wait."""
    waiting = TurnRequest.objects.filter(publication_id=Slot("publication"), done_at__isnull=True)
    return waiting.order_by("conversation_id", "pk").values_list("pk")[backlog - 1 : backlog]


def _refuse_at_once(question: Question, actor: Caller) -> None:
    """Raises BadRequest for a model that is not offered, and for a message that says nothing."""
    offering.refuse_unless_offered(question.model, actor)
    if question.continue_generate:
        if question.conversation_id is None:
            raise BadRequest("conversationId: to continue, name the conversation.")
        if not continuing.takes_prefill(question.model):
            raise BadRequest(f"message.model: {question.model.display_name} cannot continue an answer.")
    elif not question.content.says_something():
        raise BadRequest("message.content: a message needs text, an image or a document.")


def _continued(question: Question, actor: Caller) -> str:
    """The id of the question whose answer grows. Raises BadRequest where none could.

    Behind a turn that is not done it is that turn's question; whether that one can be continued shows when it ends.
    """
    assert question.conversation_id is not None
    of_conversation = {"publication_id": actor.publication_id, "conversation_id": question.conversation_id}
    newest = TurnRequest.objects.filter(**of_conversation).order_by("-pk").values_list("message_id", "done_at").first()
    if newest is None:
        raise BadRequest("conversationId: there is no such conversation to continue.")
    message_id, done_at = newest
    if done_at is None:
        return message_id
    conversation = access.find_conversation(actor, question.conversation_id)
    tree = None if conversation is None else access.read_tree(conversation, database_now())
    last = None if conversation is None or tree is None else tree.last_message(conversation.last_question)
    if tree is None or last is None or last.is_question:
        raise BadRequest("conversationId: its last question has no answer that could be continued.")
    place = placement.place_continuation(question.conversation_id, tree, last, parent_external_id=None)
    return place.question.external_id
