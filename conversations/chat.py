"""What a turn is made of: the validated request, the open turn, the stored answer."""

from dataclasses import dataclass
from datetime import datetime

from bedrock_chat.bedrock import catalog
from bedrock_chat.identity.caller import Caller
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
