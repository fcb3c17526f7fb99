"""The tree of a conversation: which messages are visible, which turns run, and what a client's ids mean.

The rules are the contract's chapter on questions, answers and retries. Everything here is pure: nothing reads the
database, and rows come in as `Node`s, in the order in which they were written.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from bedrock_chat.bedrock.events import StopReason
from bedrock_chat.wire.ids import derived_id
from conversations.models import Outcome, Role, lease_length, lease_lives

CONTINUABLE = frozenset({StopReason.MAX_TOKENS, StopReason.INTERRUPTED, StopReason.STOPPED})
"""Stop reasons of answers that were cut short."""


def new_answer_id(question_pk: int, attempt: int) -> str:
    """The id of the answer that an attempt at a question writes. Clients learn it when the turn opens.

    It is derived, so that every process knows it as long as the answer has no row.
    """
    return derived_id("answer", question_pk, attempt)


@dataclass(frozen=True, slots=True)
class Node:
    """A message without its body; each field is the column of that name."""

    pk: int
    external_id: str
    parent_id: int | None
    role: str
    attempt: int
    outcome: str
    lease_expires_at: datetime | None
    continues: int | None
    stop_reason: str
    content_digest: str
    model: str

    @property
    def is_question(self) -> bool:
        return self.role == Role.USER


@dataclass(frozen=True, slots=True)
class Tree:
    """All messages of a conversation at one moment (`now`, by the database's clock)."""

    nodes: dict[int, Node]
    by_external_id: dict[str, Node]
    children: dict[int | None, list[Node]] = field(repr=False)
    now: datetime

    @classmethod
    def of(cls, nodes: Iterable[Node], now: datetime) -> "Tree":
        by_pk = {node.pk: node for node in nodes}
        children: dict[int | None, list[Node]] = defaultdict(list)
        for node in by_pk.values():
            children[node.parent_id].append(node)
        return cls(by_pk, {node.external_id: node for node in by_pk.values()}, children, now)

    def is_running(self, question: Node) -> bool:
        return lease_lives(question.lease_expires_at, self.now)

    def lease_left(self, question: Node) -> float:
        """Seconds until the question's lease is over; at least 1, so that clients do not retry without a pause, and at
        most its length, whatever the clock did since it was given.
        """
        if question.lease_expires_at is None:
            return 1.0
        left = min(question.lease_expires_at - self.now, lease_length())
        return max(1.0, left.total_seconds())

    def question_that_will_have(self, answer_external_id: str) -> Node | None:
        """The running question whose answer has this id already, although perhaps no row yet."""
        return next(
            (
                node
                for node in self.nodes.values()
                if node.is_question
                and self.is_running(node)
                and new_answer_id(node.pk, node.attempt) == answer_external_id
            ),
            None,
        )

    def is_unfinished(self, answer: Node) -> bool:
        """Whether the turn that writes this answer still runs; such an answer is not in the map."""
        question = self.question_of(answer)
        return self.is_running(question) and question.continues is None and answer.attempt == question.attempt

    def is_continued(self, answer: Node) -> bool:
        """Whether a turn that extends this answer runs."""
        question = self.question_of(answer)
        return self.is_running(question) and question.continues == answer.pk

    def question_of(self, answer: Node) -> Node:
        assert answer.parent_id is not None  # a database constraint
        return self.nodes[answer.parent_id]

    def parent_of(self, node: Node) -> Node | None:
        """The message above; None below `system`."""
        return self.nodes[node.parent_id] if node.parent_id is not None else None

    def is_visible(self, node: Node) -> bool:
        return node.is_question or not self.is_unfinished(node)

    def visible_children(self, parent: int | None) -> list[Node]:
        return [node for node in self.children.get(parent, ()) if self.is_visible(node)]

    def visible(self) -> Iterator[Node]:
        return (node for node in self.nodes.values() if self.is_visible(node))

    def holds_answer(self) -> bool:
        return any(not node.is_question for node in self.visible())

    def answer_of_newest_turn(self, question: Node) -> Node | None:
        """The answer that the question's newest turn has written or extended; None if there is none, or none yet."""
        below = self.visible_children(question.pk)
        return next((node for node in below if node.attempt == question.attempt), None)

    def newest_answer(self, question: Node) -> Node | None:
        return next((n for n in reversed(self.children.get(question.pk, ())) if self.is_visible(n)), None)

    def path(self, leaf: Node | None) -> list[Node]:
        """From the first question down to `leaf`, both included."""
        path: list[Node] = []
        while leaf is not None:
            path.append(leaf)
            leaf = self.parent_of(leaf)
        path.reverse()
        return path

    def last_message(self, last_question: str) -> Node | None:
        """The node that `lastMessageId` names. It belongs to the turn that was opened last, at the question of that id.

        It is the turn's answer once that is visible, else the newest leaf below the question, else the question itself.
        """
        question = self.by_external_id.get(last_question)
        if question is None:
            return None
        if answer := self.answer_of_newest_turn(question):
            return answer
        newest, pending = question, [question]
        while pending:
            node = pending.pop()
            below = self.visible_children(node.pk)
            pending.extend(below)
            if not below and (newest is question or node.pk > newest.pk):
                newest = node
        return newest

    def failed_twin(self, parent: Node | None, content_digest: str) -> Node | None:
        """The newest failed question with this content under this parent. A repeat asks it again in its place."""
        siblings = self.children.get(parent.pk if parent else None, ())
        return next(
            (
                node
                for node in reversed(siblings)
                if node.is_question
                and node.outcome == Outcome.FAILED
                and node.content_digest == content_digest
                and not self.is_running(node)
            ),
            None,
        )
