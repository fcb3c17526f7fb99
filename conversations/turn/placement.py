"""Where a POST belongs in its conversation: a pure decision over the tree, stored afterwards by `turn`."""

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
    """The question was answered; its newest stored answer is given again without another call."""

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
    """Decides for an ordinary POST. `last` is the node `lastMessageId` names.

    Raises BadRequest for ids that mean nothing here, Conflict where a running turn or other content is in the way.
    """
    if message_external_id is not None:
        if message_external_id in ROOT_IDS:
            raise BadRequest(f'message.messageId: "{message_external_id}" names the root of every conversation.')
        if named := tree.by_external_id.get(message_external_id):
            return _repeat(conversation_external_id, tree, named, content_digest)
    parent = _parent(conversation_external_id, tree, last, parent_external_id)
    if message_external_id is None and (twin := tree.failed_twin(parent, content_digest)):
        return AskAgain(twin)
    return Ask(parent)


def _repeat(conversation_external_id: str, tree: Tree, named: Node, content_digest: str) -> AskAgain | Replay:
    if not named.is_question:
        raise BadRequest("message.messageId: it names an answer; only a question can be sent again.")
    if named.content_digest != content_digest:
        raise Conflict(
            "A message with this id and other content is already in the conversation.",
            extra={"conversationId": conversation_external_id, "messageId": named.external_id},
        )
    if tree.is_running(named):
        raise being_answered(conversation_external_id, tree, named)
    answer = tree.newest_answer(named)
    if named.outcome == Outcome.ANSWERED and answer is not None:
        return Replay(named, answer)
    return AskAgain(named)


def _parent(
    conversation_external_id: str, tree: Tree, last: Node | None, parent_external_id: str | None
) -> Node | None:
    if parent_external_id == "system":
        return None
    named = tree.by_external_id.get(parent_external_id) if parent_external_id is not None else last
    if named is not None and not named.is_question and (tree.is_unfinished(named) or tree.is_continued(named)):
        raise being_answered(conversation_external_id, tree, tree.question_of(named))
    if named is None and parent_external_id is not None and tree.holds_answer():
        raise BadRequest("message.parentMessageId: there is no such message in this conversation.")
    if named is not None and named.is_question:
        return tree.parent_of(named)
    return named


def place_continuation(
    conversation_external_id: str, tree: Tree, last: Node | None, *, parent_external_id: str | None
) -> Continue:
    """Decides for a POST with `continueGenerate`. Whether the answer holds text is for the caller, who has its body."""
    answer = tree.by_external_id.get(parent_external_id) if parent_external_id is not None else last
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
