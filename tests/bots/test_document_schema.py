"""docs/bot.schema.json is what the code reads and writes."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from drf_spectacular.settings import spectacular_settings
from rest_framework.test import APIClient

from tests.bots import document_schema
from tests.bots.bot import document, make
from tests.bots.test_folders import export as export_folder
from tests.bots.test_transfer import FULL, REFUSED
from tests.bots.travel import export, make_with_file

SCHEMA: dict[str, Any] = json.loads(document_schema.PATH.read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
DECIDED_BY_CODE = (
    "id",
    "bot.bedrockKnowledgeBase.chunking",
    "agent.tools.1",
    "bot.files",
    "bot.knowledge.sourceUrls",
    "bot.title",
)
"""Places of refusals that no schema tells: formats, lengths and names that must differ."""


def test_the_file_is_what_the_code_says() -> None:
    assert spectacular_settings.OAS_VERSION.startswith("3.1"), "only there are schemas of OpenAPI JSON Schemas"
    assert document_schema.PATH.read_text(encoding="utf-8") == document_schema.laid_out(), (
        "`python -m tests.bots.document_schema` writes it again"
    )
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.django_db
def test_what_is_exported_is_valid(alice: APIClient, tmp_path: Path) -> None:
    make_with_file(alice, "full", "a.txt", b"x", **FULL)
    make(alice, "plain")
    for bot_id in ("full", "plain"):
        VALIDATOR.validate(export(alice, bot_id))
    export_folder(tmp_path)
    for path in tmp_path.glob("*.json"):
        VALIDATOR.validate(json.loads(path.read_text(encoding="utf-8")))
    VALIDATOR.validate(document())


def test_what_is_refused_for_its_shape_is_not_valid() -> None:
    wrong = [place for sent, place in REFUSED if not place.startswith(DECIDED_BY_CODE) and VALIDATOR.is_valid(sent)]
    assert wrong == []
