"""What a turn is made of: the validated request, the open turn, and what happens in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypedDict

from bedrock_chat.bedrock import catalog, events
from bedrock_chat.bedrock.tools import FoundDocument, ToolResult
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger.budgets.reserving import Reserved
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.wire.ids import new_id
from bots.chatting import ChattingBot
from bots.tools.offered import NOTHING as NOTHING_OFFERED
from bots.tools.offered import Offered
from conversations.access import Answer
from conversations.content.blocks import Content, StoredBlock
from conversations.content.rounds import Log, StoredRound
from conversations.models import Conversation
from conversations.tree import Node

NO_LOGS: Final[Mapping[int, Log]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ChatInput:
    """A validated `POST /conversation`, whatever transport it came by."""

    conversation_external_id: str
    model: catalog.Model
    content: Content
    message_external_id: str | None = None
    parent_external_id: str | None = None
    bot_id: str | None = None
    continue_generate: bool = False
    enable_reasoning: bool = False


@dataclass(frozen=True, slots=True)
class Booking:
    """Whom and what the ledger books calls for. They share the `turn_id`. Ids are empty where nothing is stored."""

    actor: Caller
    conversation_external_id: str = ""
    question_external_id: str = ""
    bot_id: str | None = None
    turn_id: str = field(default_factory=new_id)


def wire_ids(conversation_external_id: str, question_external_id: str) -> dict[str, str]:
    """The ids that an error carries beside its sentence, so that the client finds the question again."""
    return {"conversationId": conversation_external_id, "messageId": question_external_id}


class Tools(TypedDict, total=False):
    """What an open turn knows of tools; nothing where none are offered."""

    offered: Offered
    logs: Mapping[int, Log]
    taken_over: tuple[StoredRound, ...]
    other_rounds: tuple[StoredRound, ...]


NO_TOOLS: Final[Tools] = {}


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """An open turn: everything that the model is asked with, and the fence of its writes.

    `question_pk` and `attempt` are the fence. `path` is the branch that is sent, and `contents` has the blocks of its
    messages by the messages' keys. `extends` is the answer that a continuation extends. `bot` is the conversation's, as
    it is now. `reservation` is what the first call may cost, of all its budgets. `turn_id` is the turn's id in the
    ledger.

    `offered` are the bot's tools. With tools, `logs` has the logs of the branch's answers by their keys, and
    `taken_over` the rounds of an earlier attempt that was cut. `other_rounds` are stored with the question and belong
    to another answer.
    """

    actor: Caller
    chat: ChatInput
    conversation: Conversation
    question_pk: int
    question_external_id: str
    attempt: int
    path: tuple[Node, ...]
    contents: dict[int, list[StoredBlock]]
    answer_external_id: str
    extends: Node | None = None
    bot: ChattingBot | None = None
    reservation: Reserved | None = None
    offered: Offered = NOTHING_OFFERED
    logs: Mapping[int, Log] = field(default_factory=lambda: NO_LOGS)
    taken_over: tuple[StoredRound, ...] = ()
    other_rounds: tuple[StoredRound, ...] = ()
    turn_id: str = field(default_factory=new_id)

    @property
    def thinks(self) -> bool:
        """Whether the model is asked to think. Rounds that it has not written, thinking, it could not go on from so."""
        if not self.chat.enable_reasoning or self.extends:
            return False
        model = self.chat.model.key
        return all(stored["model"] == model and stored["thinks"] for stored in self.taken_over)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the bot's settings ask for and this turn does not do."""
        return () if self.bot is None else tuple(self.bot.warnings(self.chat.model, thinks=self.thinks))

    @property
    def headers(self) -> dict[str, str]:
        """Fields of the response: what is left of budgets."""
        return self.reservation.headers if self.reservation else {}

    @property
    def ids(self) -> dict[str, str]:
        return wire_ids(self.conversation.external_id, self.question_external_id)

    @property
    def booking(self) -> Booking:
        ids = self.conversation.external_id, self.question_external_id
        return Booking(self.actor, *ids, bot_id=self.conversation.bot_id, turn_id=self.turn_id)


@dataclass(frozen=True, slots=True)
class TurnOpened:
    """The question is stored and the model is about to be asked.

    `continued_text` is the text of the answer that a continuation extends. The model's new text is appended to it.
    `headers` are fields of the response.
    """

    conversation_external_id: str
    question_external_id: str
    answer_external_id: str
    question_pk: int
    attempt: int
    continued_text: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event: the rows are stored. `answer` is None if the turn was stopped before the model wrote any text.

    `calls` are the ledger's rows, one for each round, and those of what its tools have asked models. There are none if
    a stored answer was found. With `is_another` the answer is another turn's, which has taken this one over: what this
    turn has yielded of its own answer is void.
    """

    answer: Answer | None
    calls: tuple[ModelCall, ...] = ()
    is_another: bool = False


TurnEvent = TurnOpened | events.Event | ToolResult | FoundDocument | Finished
