"""Whether the model that is asked takes the files of the message: how many, how large, how many pixels.

Files of earlier messages give way to notes (`bedrock.attachments`), those of the message itself do not.
"""

from collections.abc import Sequence

from bedrock_chat.bedrock import attachments, offering
from bedrock_chat.bedrock.attachments import Attachment
from bedrock_chat.wire.errors import BadRequest
from conversations.content.converse import attachment_of
from conversations.turn.types import ChatInput


def refuse_excess(chat: ChatInput, words: Sequence[str]) -> None:
    """Raises BadRequest where the message holds more than its model takes in one request.

    `words` are all texts that are sent with it: a request's bytes count together.
    """
    files = _files(chat)
    attachments.refuse_excess(chat.model, files, attachments.bytes_beside(chat.model, files, words))


def are_kept(chat: ChatInput) -> bool:
    """Whether the files are stored before the question is opened: not if their model surely refuses them."""
    kinds = {file.kind for file in _files(chat)}
    try:
        offering.refuse_unreadable(chat.model, images="image" in kinds, documents="document" in kinds)
        refuse_excess(chat, ())
    except BadRequest:
        return False
    return True


def _files(chat: ChatInput) -> list[Attachment]:
    return [
        attachment_of(block, len(body), in_question=True, body=body)
        for block in chat.content.blocks
        if block["contentType"] == "image" or block["contentType"] == "attachment"
        for body in (chat.content.files[block["blob"]],)
    ]
