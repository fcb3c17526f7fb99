"""A title proposed by a model. It is not stored: the client sends the one it likes."""

import time

from django.conf import settings

from bedrock_chat.bedrock import catalog, events, request, runtime
from bedrock_chat.bedrock.faults import ModelFault
from bedrock_chat.database import database_now, release_connection
from bedrock_chat.identity.caller import Caller
from conversations import access, admission, usage
from conversations.content import Block
from conversations.models import Purpose
from conversations.tree import Node
from conversations.turn import route

LONGEST_TITLE = 100
LONGEST_MESSAGE = 2000
MESSAGES = 8
INSTRUCTION = (
    "Propose a title for the conversation above: at most eight words, in the language of the conversation, naming its "
    "subject. Do not answer the conversation and do not explain. Write the title alone, on one line, without quotation "
    "marks, labels, or a full stop at the end. If there is no subject yet, use the gist of the first message."
)


def propose(conversation_id: str, *, actor: Caller) -> str:
    """A short title in the conversation's language. Raises NotFound.

    Where the title model fails or says nothing, the beginning of the first question is the title.
    """
    conversation = access.get_conversation(actor, conversation_id)
    tree = access.read_tree(conversation, database_now())
    path = tree.path(tree.last_message(conversation.last_question))[:MESSAGES]
    bodies = access.read_bodies(path)
    release_connection()
    with admission.admitted():
        proposed = _ask(conversation_id, path, bodies, actor) if path else ""
    return proposed or _beginning(path, bodies) or conversation.title


def _ask(conversation_id: str, path: list[Node], bodies: dict[int, list[Block]], actor: Caller) -> str:
    model = catalog.find(settings.TITLE_MODEL)
    asked = request.compose(model, route(model), _messages(path, bodies), prompt_caching=False)
    built, closed, fault = events.AnswerBuilder(), None, ""
    started = time.monotonic()
    try:
        for event in runtime.call(asked, stream=False):
            built.feed(event)
            closed = event if isinstance(event, events.Closed) else closed
    except ModelFault as error:
        fault = error.code
    usage.ledger_entry(
        actor,
        asked,
        purpose=Purpose.TITLE,
        conversation_id=conversation_id,
        closed=closed,
        latency_ms=int((time.monotonic() - started) * 1000),
        fault=fault,
    ).save(force_insert=True)
    return "" if fault else _clean("".join(block["text"] for block in built.blocks() if "text" in block))


def _messages(path: list[Node], bodies: dict[int, list[Block]]) -> list[dict[str, object]]:
    """The branch as plain text, and the instruction as the last thing said; a title needs no files."""
    found: list[dict[str, object]] = []
    for node in path:
        text = _text(bodies[node.pk])[:LONGEST_MESSAGE] or "(no text)"
        found.append({"role": node.role, "content": [{"text": text}]})
    if path[-1].is_question:
        found.append({"role": "assistant", "content": [{"text": "(no answer)"}]})
    found.append({"role": "user", "content": [{"text": INSTRUCTION}]})
    return found


def _text(blocks: list[Block]) -> str:
    return "\n".join(block["body"] for block in blocks if block["contentType"] == "text").strip()


def _clean(title: str) -> str:
    """One line without the quotation marks and labels that models add in spite of being told."""
    lines = [line.strip() for line in title.splitlines() if line.strip()]
    if INSTRUCTION[:40].lower() in title.lower():
        return ""  # it repeats what it was told instead of doing it
    return _cut(lines[0].strip("\"'“”「」『』*#` ").rstrip(".。")) if lines else ""


def _beginning(path: list[Node], bodies: dict[int, list[Block]]) -> str:
    return _cut(" ".join(_text(bodies[path[0].pk]).split())) if path else ""


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TITLE else text[: LONGEST_TITLE - 1].rstrip() + "…"
