"""Whether an answer can be continued now: what `shouldContinue` promises, `POST /conversation` keeps."""

from collections.abc import Sequence

from bedrock_chat.bedrock import catalog, offering
from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.wire.errors import ApiError
from conversations.content.blocks import StoredBlock, has_text
from conversations.models import Conversation
from conversations.tree import Node, Tree
from conversations.turn import capacity, placement


def takes_prefill(model: Model) -> bool:
    """Whether the model goes on from the text of an answer. None in the catalogue means that it is not known to."""
    return model.prefill is True


def is_possible(conversation: Conversation, tree: Tree, answer: Node, blocks: Sequence[StoredBlock]) -> bool:
    """Whether a POST with `continueGenerate` would be accepted for this answer and the model that wrote it.

    `blocks` are the answer's content. Whether the branch still fits the model's window is not looked at.
    """
    try:
        placement.place_continuation(conversation.external_id, tree, answer, parent_external_id=None)
        capacity.refuse_more_bytes(conversation)
    except ApiError:
        return False
    model = catalog.find(answer.model)
    return has_text(blocks) and takes_prefill(model) and offering.is_offered(model)
