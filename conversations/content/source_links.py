"""The addresses of documents that answers rest on, as their reader can open them now.

A document in an index of our own has an address only while it is there and the reader may use its bot.
"""

from collections.abc import Sequence
from typing import Protocol

from bedrock_chat.bedrock import document_links
from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity.caller import Caller
from bots import chatting
from bots.knowledge import linking


class Located(Protocol):
    """A stored document, or one that has just been found."""

    @property
    def source_link(self) -> str | None: ...
    @property
    def document_number(self) -> int | None: ...


def readable(documents: Sequence[Located], bot_id: str | None, *, actor: Caller) -> list[str | None]:
    """The address of each document, or None. `bot_id` is the bot of their conversation, `actor` who reads them.

    Of own documents that takes two queries, and none where there are no such documents. Addresses in S3 are signed:
    then the database connection is released.
    """
    numbers = {document.document_number for document in documents if document.document_number is not None}
    bot = chatting.find(bot_id, actor=actor) if numbers and bot_id is not None else None
    own = linking.addresses(numbers, bot.id) if bot is not None else {}
    if any(document_links.is_in_s3(document.source_link) for document in documents):
        release_connection()  # credentials may be a network away
    return [
        document_links.readable(document.source_link)
        if document.document_number is None
        else own.get(document.document_number)
        for document in documents
    ]
