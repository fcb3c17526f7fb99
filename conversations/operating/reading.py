"""A conversation as an operator reads it: its whole tree, some messages a page, whatever their length.

Messages are in the order of the tree: below each one the first message that follows it, with all that is below that,
and then the next one. Each has a number, so that a branch can say where it begins.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bedrock_chat.database.connections import database_now
from conversations import access
from conversations.content.blocks import ResultPart, StoredBlock, described
from conversations.content.rounds import readable_log
from conversations.models import Conversation, Message, RelatedDocument, Role
from conversations.tree import Node, Tree

MESSAGES_A_PAGE: Final = 20
LONGEST_TEXT: Final = 50_000
MOST_CHARACTERS: Final = 1_000_000
"""Of one text, and of all that a page shows. What is more is in an export."""
MOST_DOCUMENTS: Final = 100
"""Related documents of a page."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a message. `kind` says in a word what it is. `left_out` is how many characters are not shown."""

    kind: str
    text: str
    name: str = ""
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """A document that a tool found for an answer. Its link is text here: nothing is loaded from it."""

    name: str
    link: str
    page_number: int | None
    part: Part


@dataclass(frozen=True, slots=True)
class ReadMessage:
    """A message of a page. `below` is the number of the message that it follows; 0: it is a first question.

    `is_branch`: it does not follow the message before it. `state` says in words how its turn ended, if not well.
    """

    number: int
    is_question: bool
    model: str
    created_at: datetime
    state: str
    below: int
    is_branch: bool
    parts: Sequence[Part]
    documents: Sequence[Document]
    feedback: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class ReadPage:
    """One page. Pages are numbered from 1, and there is always a first one."""

    messages: Sequence[ReadMessage]
    number: int
    pages: int
    total: int


def page_of(conversation: Conversation, number: int) -> ReadPage:
    """A page of what was said: three queries. A number beyond the last page is the last one."""
    tree = access.read_tree(conversation, database_now())
    nodes = in_order(tree)
    pages = max(1, -(-len(nodes) // MESSAGES_A_PAGE))
    number = min(number, pages)
    first = (number - 1) * MESSAGES_A_PAGE
    shown = nodes[first : first + MESSAGES_A_PAGE]
    keys = [node.pk for node in shown]
    columns = ("pk", "created_at", "content", "feedback", "thinking_log")
    rows = {pk: row for pk, *row in Message.objects.filter(pk__in=keys).values_list(*columns)}
    room = _Room(MOST_CHARACTERS)
    documents = _documents(keys, room)
    numbers = {node.pk: place for place, node in enumerate(nodes, 1)}
    messages = [
        _message(node, rows[node.pk], documents.get(node.pk, []), tree, numbers, room)
        for node in shown
        if node.pk in rows  # else deleted meanwhile
    ]
    return ReadPage(messages, number, pages, len(nodes))


def in_order(tree: Tree) -> list[Node]:
    """All visible messages, each before what is below it."""
    nodes: list[Node] = []
    waiting = list(reversed(tree.visible_children(None)))
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting += reversed(tree.visible_children(node.pk))
    return nodes


class _Room:
    """How many characters a page may still show."""

    def __init__(self, characters: int) -> None:
        self.left = characters

    def part(self, kind: str, text: str, name: str = "") -> Part:
        shown = text[: min(LONGEST_TEXT, self.left)]
        self.left -= len(shown)
        return Part(kind, shown, name, len(text) - len(shown))


def _message(
    node: Node, row: list[Any], documents: list[Document], tree: Tree, numbers: dict[int, int], room: _Room
) -> ReadMessage:
    created_at, content, feedback, log = row
    rounds = [block for message in readable_log(log) for block in message["content"]]
    number, parent = numbers[node.pk], tree.parent_of(node)
    below = 0 if parent is None else numbers[parent.pk]
    return ReadMessage(
        number=number,
        is_question=node.is_question,
        model=node.model,
        created_at=created_at,
        state=_state(node, tree),
        below=below,
        is_branch=below != number - 1,
        parts=[part for block in [*rounds, *content] for part in _parts(block, room)],
        documents=documents,
        feedback=feedback,
    )


def _state(node: Node, tree: Tree) -> str:
    if node.role == Role.ASSISTANT:
        return "" if node.stop_reason == "end_turn" else node.stop_reason
    if tree.is_running(node):
        return "is being answered"
    return "" if tree.newest_answer(node) else "without an answer"


def _parts(block: StoredBlock, room: _Room) -> list[Part]:
    match block["contentType"]:
        case "text":
            return [room.part("text", block["body"])]
        case "image" | "attachment":
            media_type, name = described(block)
            return [Part("file", media_type, name)]
        case "toolUse":
            return [room.part("tool call", _json(block["body"]["input"]), block["body"]["name"])]
        case "toolResult":
            status = block["body"]["status"]
            return [_result(part, status, room) for part in block["body"]["content"]]
        case "reasoning":
            return [room.part("reasoning", block["text"] or "(encrypted by the model's maker)")]


def _result(part: ResultPart, status: str, room: _Room) -> Part:
    if "blob" in part:
        return Part("file", f"{part.get('kind', 'file')}, {part.get('format', '')}", part.get("name", ""))
    return room.part("tool result", part["text"] if "text" in part else _json(part.get("json")), status)


def _documents(answers: Sequence[int], room: _Room) -> dict[int, list[Document]]:
    """Answer's key → its documents, of some answers."""
    found_by: dict[int, list[Document]] = {}
    rows = RelatedDocument.objects.filter(answer__in=answers).order_by("pk")[:MOST_DOCUMENTS]
    for row in rows:
        part = _result(row.content, "", room)
        document = Document(row.source_name or row.source_id, row.source_link or "", row.page_number, part)
        found_by.setdefault(row.answer_id, []).append(document)
    return found_by


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
