"""What a turn is made of: the validated request, the open turn, its events, the stored answer."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bedrock_chat.bedrock import catalog, events
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger.models import ModelCall
from conversations.content import Block, Content
from conversations.tree import Node


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
    attempt: int = 0


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

    @property
    def ids(self) -> dict[str, str]:
        """What an error tells beside its sentence, so that the client finds the question again."""
        return {"conversationId": self.chat.conversation_id, "messageId": self.question_id}


@dataclass(frozen=True, slots=True)
class ToolResult:
    """A tool that the model asked for has run; `status` is success or error."""

    tool_use_id: str
    status: str


@dataclass(frozen=True, slots=True)
class RelatedDocument:
    """What a tool found, for the reader to look at. `content` is a tool result's part, such as `{"text": …}`."""

    tool_use_id: str
    content: dict[str, Any]
    source_id: str
    source_name: str | None = None
    source_link: str | None = None
    page_number: int | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """The question is stored and the model is about to be asked. `question` is its row.

    `continued_text`: the answer was there before with this text, and what the model says now joins it.
    """

    conversation_id: str
    message_id: str
    answer_id: str
    question: int
    attempt: int
    continued_text: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The rows exist. `answer` is None where the turn was stopped before the model had said anything.

    `call` is the ledger's row; None where a stored answer was found, without a call.
    """

    answer: Answer | None
    call: ModelCall | None = None


TurnEvent = Opened | events.Event | ToolResult | RelatedDocument | Finished
