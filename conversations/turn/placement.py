"""Where a POST belongs in its conversation: a pure decision by the tree. `opening` then writes the rows."""

from dataclasses import dataclass

from bedrock_chat.wire.errors import BadRequest, Conflict
from conversations.models import ROOT_IDS, Outcome
from conversations.tree import CONTINUABLE, Node, Tree


@dataclass(frozen=True, slots=True)
class Ask:
    """A new question under `parent` (None: under `system`)."""

    parent: Node | None


@dataclass(frozen=True, slots=True)
class AskAgain:
    """A failed or interrupted question is asked again in its place."""

    question: Node


@dataclass(frozen=True, slots=True)
class Replay:
    """The question was answered before; its newest stored answer is returned, without another call."""

    question: Node
    answer: Node


@dataclass(frozen=True, slots=True)
class Continue:
    """An answer that was cut short is extended."""

    question: Node
    answer: Node


def being_answered(conversation_external_id: str, tree: Tree, question: Node) -> Conflict:
    return Conflict(
        "This message is being answered right now; try again when that turn is over.",
        retry_after=tree.lease_left(question),
        extra={"conversationId": conversation_external_id, "messageId": question.external_id},
    )


def place(
    conversation_external_id: str,
    tree: Tree,
    last: Node | None,
    *,
    message_external_id: str | None,
    parent_external_id: str | None,
    content_digest: str,
) -> Ask | AskAgain | Replay:
    """Decides where an ordinary POST belongs. `last` is the node that `lastMessageId` names.

    1. If the conversation has a message of that id already, the POST is a repeat (`_repeat`).
    2. Otherwise its place is below its parent (`_parent`).
    3. If it has no id, and the same question failed below that parent before, the failed one is asked again.

    Raises BadRequest for ids that mean nothing here. Raises Conflict if a turn is running there, or if the message of
    that id has other content.
    """
    if message_external_id is not None:
        if message_external_id in ROOT_IDS:
            raise BadRequest(f'message.messageId: "{message_external_id}" names the root of every conversation.')
        if existing := tree.by_external_id.get(message_external_id):
            return _repeat(conversation_external_id, tree, existing, content_digest)
    parent = _parent(conversation_external_id, tree, last, parent_external_id)
    if message_external_id is None and (twin := tree.failed_twin(parent, content_digest)):
        return AskAgain(twin)
    return Ask(parent)


def _repeat(conversation_external_id: str, tree: Tree, existing: Node, content_digest: str) -> AskAgain | Replay:
    """Decides for a POST whose message id the conversation has already: an answered question is not asked again."""
    if not existing.is_question:
        raise BadRequest("message.messageId: it names an answer; only a question can be sent again.")
    if existing.content_digest != content_digest:
        raise Conflict(
            "A message with this id and other content is already in the conversation.",
            extra={"conversationId": conversation_external_id, "messageId": existing.external_id},
        )
    if tree.is_running(existing):
        raise being_answered(conversation_external_id, tree, existing)
    answer = tree.newest_answer(existing)
    if existing.outcome == Outcome.ANSWERED and answer is not None:
        return Replay(existing, answer)
    return AskAgain(existing)


def _parent(
    conversation_external_id: str, tree: Tree, last: Node | None, parent_external_id: str | None
) -> Node | None:
    """The answer below which a new question goes; None: below `system`.

    Without a parent id it is the last message. If the parent is a question, the new question goes beside it. An unknown
    id counts as `system` as long as the conversation has no answer.
    """
    if parent_external_id == "system":
        return None
    parent = _named(conversation_external_id, tree, last, parent_external_id)
    if parent is not None and not parent.is_question and (tree.is_unfinished(parent) or tree.is_continued(parent)):
        raise being_answered(conversation_external_id, tree, tree.question_of(parent))
    if parent is None and parent_external_id is not None and tree.holds_answer():
        raise BadRequest("message.parentMessageId: there is no such message in this conversation.")
    if parent is not None and parent.is_question:
        return tree.parent_of(parent)
    return parent


def place_continuation(
    conversation_external_id: str, tree: Tree, last: Node | None, *, parent_external_id: str | None
) -> Continue:
    """Decides for a POST with `continueGenerate`. The caller checks whether the answer has text: nodes have no content.

    Raises BadRequest if the id names no answer, or one that is complete or has messages below it. Raises Conflict if a
    turn of its question is running.
    """
    answer = _named(conversation_external_id, tree, last, parent_external_id)
    if answer is None or answer.is_question:
        raise BadRequest("message.parentMessageId: to continue, name the answer that is to be extended.")
    question = tree.question_of(answer)
    if tree.is_running(question):
        raise being_answered(conversation_external_id, tree, question)
    if tree.visible_children(answer.pk):
        raise BadRequest("The answer already has messages below it; only the end of a branch can be continued.")
    if answer.stop_reason not in CONTINUABLE:
        raise BadRequest("The answer is complete; only one that was cut short can be continued.")
    return Continue(question, answer)


def _named(conversation_external_id: str, tree: Tree, last: Node | None, external_id: str | None) -> Node | None:
    """The message of that id, `last` for no id; None for an unknown one.

    Raises Conflict for the id of an answer that is being written and has no row yet.
    """
    if external_id is None:
        return last
    node = tree.by_external_id.get(external_id)
    if node is None and (question := tree.question_that_will_have(external_id)):
        raise being_answered(conversation_external_id, tree, question)
    return node
