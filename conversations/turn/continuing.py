"""Whether an answer can be continued: what `shouldContinue` promises, `POST /conversation` keeps."""

from collections.abc import Mapping, Sequence

from bedrock_chat.bedrock import catalog, offering
from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import BadRequest, Conflict
from bots.chatting import ChattingBot
from conversations.content.blocks import StoredBlock, has_text
from conversations.models import Conversation
from conversations.tree import Node, Tree
from conversations.turn import capacity, context_window, placement


def takes_prefill(model: Model) -> bool:
    """Whether the model goes on from the text of an answer. None in the catalogue means that it is not known to."""
    return model.prefill is True


def is_possible(
    conversation: Conversation,
    tree: Tree,
    answer: Node,
    contents: Mapping[int, Sequence[StoredBlock]],
    bot: ChattingBot | None,
    *,
    actor: Caller,
) -> bool:
    """Whether a POST with `continueGenerate` is accepted for this answer and the model that wrote it.

    While the answer is being continued, or its question is asked again, that POST is told to wait: it is possible then,
    too, and who asks for the running turn's stream gets it. `contents` are the blocks of the messages by their keys.
    `bot` is the conversation's, if the caller may use it.
    """
    if conversation.bot_id is not None and bot is None:
        return False
    model = catalog.find(answer.model)
    branch = [block for node in tree.path(answer) for block in contents[node.pk]]
    try:
        if bot is not None and not bot.answers_with(model):
            return False
        capacity.refuse_more_bytes(conversation)
        context_window.refuse_branch_that_cannot_fit(model, conversation.instruction, branch)
        placement.place_continuation(conversation.external_id, tree, answer, parent_external_id=None)
    except Conflict:
        pass
    except BadRequest:
        return False
    return has_text(contents[answer.pk]) and takes_prefill(model) and offering.is_offered(model, actor)
