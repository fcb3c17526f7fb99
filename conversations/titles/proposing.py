"""Has a model propose a title. It is not stored: the client sends the title that it wants."""

import time

from django.conf import settings

from bedrock_chat.bedrock import catalog, events, offering, request, runtime
from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.events import StopReason
from bedrock_chat.bedrock.faults import ModelFault
from bedrock_chat.bedrock.request import Guardrail
from bedrock_chat.bedrock.shapes import ConverseMessage
from bedrock_chat.database.connections import database_now, release_connection
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger import recording
from bedrock_chat.ledger.budgets import expiring, payers, reserving
from bedrock_chat.ledger.budgets.refusals import BudgetExceeded, Unpriced
from bedrock_chat.ledger.models import Purpose
from bedrock_chat.process.interruption import Interruption
from bedrock_chat.resilience.deadlines import hang_up_after
from bots import chatting
from conversations import access
from conversations.content.blocks import StoredBlock, texts
from conversations.models import UNTITLED, Conversation
from conversations.titles import cleaning
from conversations.tree import Node
from conversations.turn import admission

LONGEST_MESSAGE = 2000
MESSAGES = 8
MOST_TOKENS = 200  # enough for a title in scripts that take many; a model that rambles is cut off
LONGEST_WAIT = 15.0  # seconds: a client shows the conversation's list meanwhile
INSTRUCTION = (
    "Propose a title for the conversation above: at most eight words, in the language of the conversation, naming its "
    "subject. Do not answer the conversation and do not explain. Write the title alone, on one line, without quotation "
    "marks, labels, or a full stop at the end. If there is no subject yet, use the gist of the first message."
)


def propose(external_id: str, *, actor: Caller) -> str:
    """A title in the conversation's language, of at most 100 characters and never blank.

    1. The first MESSAGES messages of the branch of the last message are read.
    2. The title model is asked (`_ask`), under the guardrail of the conversation's bot. That counts as a turn. Where
       that guardrail is not there yet, or operators do not let the caller use that model, no model is asked.
    3. If the model fails, takes too long, is blocked or answers nonsense, the title is the beginning of the first
       message with visible text, else that of the present title.

    Raises NotFound, and what `admission` raises where too many turns run.
    """
    conversation = access.get_conversation(actor, external_id)
    tree = access.read_tree(conversation, database_now())
    path = tree.path(tree.last_message(conversation.last_question))[:MESSAGES]
    contents = access.read_contents(path)
    bot = chatting.find(conversation.bot_id, actor=actor) if conversation.bot_id else None
    model = catalog.find(settings.TITLE_MODEL)
    is_asked = bool(path) and not (bot and bot.lacks_guardrail) and offering.is_open(model, actor)
    release_connection()
    with admission.admitted(actor):
        guardrail = bot.guardrail if bot else None
        proposed = _ask(model, conversation, path, contents, guardrail, actor) if is_asked else ""
    beginnings = map(cleaning.beginning, (*(_text(contents[node.pk]) for node in path), conversation.title))
    return proposed or next(filter(None, beginnings), UNTITLED)


def _ask(
    model: Model,
    conversation: Conversation,
    path: list[Node],
    contents: dict[int, list[StoredBlock]],
    guardrail: Guardrail | None,
    actor: Caller,
) -> str:
    """The title that the model proposes; empty if its answer is none.

    1. The request is composed, with a limit of MOST_TOKENS. Where a budget has no room for it, no model is asked.
    2. The model is called, and the call is ended after LONGEST_WAIT seconds.
    3. However the call ended, its ledger row is written.
    4. The title is taken out of the answer (`cleaning`).
    """
    model_request = request.compose(
        model,
        offering.route(model),
        _messages(path, contents),
        parameters=request.Parameters(max_tokens=MOST_TOKENS),
        prompt_caching=False,
        guardrail=guardrail,
    )
    try:
        reservation = reserving.reserve(payers.payers_of(actor, conversation.bot_id), model_request)
    except (BudgetExceeded, Unpriced):
        return ""
    finally:
        release_connection()
    answer, closed, fault = events.AnswerBuilder(), None, ""
    started = time.monotonic()
    interrupt = Interruption()
    pk = reservation.pk if reservation else None
    with expiring.kept(pk), hang_up_after(LONGEST_WAIT, interrupt.request):
        try:
            for event in runtime.call(model_request, stream=False, interrupt=interrupt):
                answer.feed(event)
                closed = event if isinstance(event, events.Closed) else closed
        except ModelFault as error:
            fault = "TooLate" if interrupt.requested else error.code
    call = recording.build_call(
        actor,
        model_request,
        purpose=Purpose.TITLE,
        conversation_external_id=conversation.external_id,
        bot_id=conversation.bot_id,
        closed=closed,
        latency_ms=int((time.monotonic() - started) * 1000),
        fault=fault,
    )
    recording.insert_late([call], reservation)
    recording.log_spending([call])
    if closed is not None and closed.stop_reason == StopReason.GUARDRAIL_INTERVENED:
        return ""
    words = "".join(block["text"] for block in answer.blocks() if "text" in block)
    return "" if fault else cleaning.proposed(words, INSTRUCTION)


def _messages(path: list[Node], contents: dict[int, list[StoredBlock]]) -> list[ConverseMessage]:
    """The branch as plain text, and the instruction as the last message. A title needs no files."""
    messages: list[ConverseMessage] = []
    for node in path:
        text = _text(contents[node.pk])[:LONGEST_MESSAGE] or "(no text)"
        messages.append({"role": "user" if node.is_question else "assistant", "content": [{"text": text}]})
    if path[-1].is_question:
        messages.append({"role": "assistant", "content": [{"text": "(no answer)"}]})
    messages.append({"role": "user", "content": [{"text": INSTRUCTION}]})
    return messages


def _text(blocks: list[StoredBlock]) -> str:
    return "\n".join(texts(blocks)).strip()
