"""The bot's own files are read from where they are stored, and only where their bytes have changed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bedrock_chat.blobs import storing
from bots.knowledge.sources import fetching, uploads
from bots.knowledge.sources.locations import NOTHING_KNOWN, FetchContext, Known, SourceFault

BODY = "有給休暇".encode()


@pytest.fixture
def stored(context: FetchContext) -> FetchContext:
    """A context that knows where the body is."""
    digest = storing.digest(BODY)
    storing.store({digest: BODY})
    return replace(context, stored=storing.locate([digest]))


@pytest.mark.django_db(transaction=True)
def test_a_file_is_read_once_for_its_bytes(stored: FetchContext) -> None:
    location = uploads.location("handbook.txt", {"sha256": storing.digest(BODY), "size": len(BODY)})
    assert (location.location, location.name, location.link) == ("file:handbook.txt", "handbook.txt", "")
    fetched = fetching.fetch(location, NOTHING_KNOWN, stored)
    assert fetched.path is not None
    assert (fetched.path.read_bytes(), fetched.kind, fetched.digest) == (BODY, "txt", location.digest)
    unchanged = fetching.fetch(location, Known(digest=location.digest), stored)
    assert (unchanged.is_unchanged, unchanged.path) == (True, None)


def test_a_file_that_is_not_read_says_why(context: FetchContext, settings: Any, folder: Path) -> None:
    settings.KNOWLEDGE_FILE_MB = 1
    for name, size, sentence in (
        ("a.doc", 1, "This type of file is not supported; save it as DOCX."),
        ("a.pdf", 1_048_577, "This file is larger than 1 MB."),
        ("a.pdf", 1, "This file is not there any more; upload it again."),
    ):
        with pytest.raises(SourceFault) as fault:
            fetching.fetch(uploads.location(name, {"sha256": "0" * 64, "size": size}), NOTHING_KNOWN, context)
        assert fault.value.sentence == sentence
    assert list(folder.iterdir()) == []
