"""Stores the documents that the tools of a turn found, with the turn's answer, so that its reader can look at them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from bedrock_chat.bedrock.tools import FoundDocument
from bedrock_chat.blobs import storing
from bedrock_chat.database.text import storable
from conversations import naming
from conversations.content import parsing
from conversations.models import BLOB_OWNER, SOURCE_ID_LENGTH, Message, RelatedDocument
from conversations.turn.types import OpenTurn

logger = logging.getLogger(__name__)

LARGEST_PAGE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Kept:
    """Unsaved rows, still without their answer, and the blobs that they name. The blobs are stored already.

    `size` counts the bytes of both.
    """

    rows: list[RelatedDocument] = field(default_factory=list)
    shas: frozenset[str] = frozenset()
    size: int = 0


def keep(turn: OpenTurn, documents: Sequence[FoundDocument]) -> Kept:
    """Puts the files of found documents into storage. Call it outside any transaction.

    A document that cannot be kept is left out and logged: its answer was paid for, and must be stored all the same.
    """
    rows: dict[str, RelatedDocument] = {}
    shas: set[str] = set()
    size = 0
    for document in documents:
        files: dict[str, bytes] = {}
        try:
            row = _row(turn, document, files)
            storing.store(files)
        except parsing.Refused as error:
            logger.warning("a tool's document is left out: %s", error.get_codes())
        except Exception:
            logger.exception("a tool's document is left out")
        else:
            rows[row.source_id] = row  # if two documents have the same id, the later one counts
            shas.update(files)
            size += len(orjson.dumps(row.content)) + sum(map(len, files.values()))
    return Kept(list(rows.values()), frozenset(shas), size)


def _row(turn: OpenTurn, document: FoundDocument, files: dict[str, bytes]) -> RelatedDocument:
    """The unsaved row of a document. Its file, if it has one, is added to `files`. Raises Refused."""
    source_id = naming.nameable_source(storable(document.source_id))
    if not 0 < len(source_id) <= SOURCE_ID_LENGTH:
        raise parsing.Refused("source_id", "The source id is empty or too long.")
    page, number = document.page_number, document.document_number
    return RelatedDocument(
        conversation_id=turn.conversation.pk,
        source_id=source_id,
        source_name=storable(document.source_name),
        source_link=storable(document.source_link) if number is None else None,
        page_number=page if page is not None and 0 <= page <= LARGEST_PAGE else None,
        content=parsing.parse_result_part(storable(document.content), files),
        document_number=number,
    )


def write(turn: OpenTurn, answer_external_id: str, documents: Kept) -> None:
    """Writes the rows. Call it in the transaction that has just written the turn's answer.

    If the conversation already has a row with the same source id, that row is overwritten.
    """
    if not documents.rows:
        return
    where = {"conversation_id": turn.conversation.pk, "external_id": answer_external_id}
    answer = Message.objects.only("pk").get(**where)
    for row in documents.rows:
        row.answer = answer
    RelatedDocument.objects.bulk_create(
        documents.rows,
        update_conflicts=True,
        unique_fields=["conversation", "source_id"],
        update_fields=["answer", "source_name", "source_link", "page_number", "content", "document_number"],
    )
    storing.refer(BLOB_OWNER, turn.conversation.pk, documents.shas)
