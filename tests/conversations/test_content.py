"""Content blocks: which are accepted, which are refused and with which message, and what the model gets."""

import base64
import io
from typing import Any

import pytest
from PIL import Image
from rest_framework.exceptions import ValidationError

from bedrock_chat.wire.errors import field_errors
from conversations.content import parsing
from conversations.content.blocks import blob_shas, extend
from conversations.content.converse import answer_to_converse, from_converse, question_to_converse
from conversations.content.wire import to_wire


def b64(body: bytes) -> str:
    return base64.b64encode(body).decode()


def picture(form: str = "png", size: tuple[int, int] = (2, 2)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size).save(file, form)
    return file.getvalue()


def image(form: str = "png", **fields: Any) -> dict[str, Any]:
    return {"content_type": "image", "media_type": f"image/{form}", "body": b64(picture(form)), **fields}


def document(name: str = "notes.txt", body: bytes = b"some notes") -> dict[str, Any]:
    return {"content_type": "attachment", "file_name": name, "body": b64(body)}


TEXT = {"content_type": "text", "body": "hello"}


def refusal(blocks: Any) -> list[str]:
    with pytest.raises(ValidationError) as refused:
        parsing.parse(blocks)
    return list(field_errors(refused.value.detail, "content"))


@pytest.mark.parametrize("form", parsing.IMAGE_FORMATS)
def test_every_image_format_of_bedrock_is_taken(form: str) -> None:
    parsed = parsing.parse([image(form)])
    assert parsed.blocks == [{"contentType": "image", "mediaType": f"image/{form}", "blob": next(iter(parsed.files))}]


@pytest.mark.parametrize("form", parsing.DOCUMENT_FORMATS)
def test_every_document_format_of_bedrock_is_taken(form: str) -> None:
    parsed = parsing.parse([document(name := f"My Notes.{form.upper()}")])
    assert parsed.blocks == [{"contentType": "attachment", "fileName": name, "blob": next(iter(parsed.files))}]


def test_bodies_are_kept_once_and_apart_from_the_blocks() -> None:
    parsed = parsing.parse([document(), document("copy.txt"), TEXT])
    assert list(parsed.files.values()) == [b"some notes"]
    assert "body" not in parsed.blocks[0]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (5, "content.0: Expected a content block (an object)."),
        ({}, "content.0.contentType: This field is required."),
        ({"content_type": "video"}, "content.0.contentType: Expected one of text, image"),
        ({"content_type": "reasoning", "text": "x"}, "content.0.contentType: Reasoning is the model's"),
        ({"content_type": "text"}, "content.0.body: This field is required."),
        ({"content_type": "text", "body": 5}, "content.0.body: Expected a string."),
        ({**image(), "media_type": None}, "content.0.mediaType: This field is required."),
        ({**image(), "media_type": "png"}, "content.0.mediaType: Expected one of image/gif"),
        ({**image(), "media_type": "image/svg+xml"}, "content.0.mediaType: Expected one of image/gif"),
        ({**image(), "media_type": "image/jpeg"}, "content.0.body: The image is a png, not a jpeg."),
        ({**image(), "body": "abc"}, "content.0.body: Expected base64."),
        ({**image(), "body": "üüüü"}, "content.0.body: Expected base64."),
        ({**image(), "body": ""}, "content.0.body: The file is empty."),
        ({**image(), "body": b64(b"<svg/>")}, "content.0.body: This is no image that can be read"),
        ({**image(), "body": b64(picture()[:30])}, "content.0.body: This is no image that can be read"),
        ({**image(), "body": b64(picture(size=(8001, 1)))}, "content.0.body: An image is at most 8000"),
        ({**image(), "body": b64(picture() + bytes(4_000_000))}, "content.0.body: An image holds at most 3.75 MB."),
        (document("program.exe"), "content.0.fileName: Expected a file of one of these kinds"),
        (document("noending"), "content.0.fileName: Expected a file of one of these kinds"),
        (document(body=bytes(4_718_593)), "content.0.body: A document holds at most 4.5 MB."),
        ({"content_type": "toolUse", "body": {"tool_use_id": "t"}}, "content.0.name: This field is required."),
        ({"content_type": "toolResult", "body": {"status": "maybe"}}, "content.0.status: Expected one of error"),
    ],
)
def test_a_refusal_names_the_field_and_the_rule(block: Any, expected: str) -> None:
    assert refusal([block])[0].startswith(expected)


def test_every_faulty_block_is_named() -> None:
    errors = refusal([TEXT, {"content_type": "text"}, {}])
    assert [error.partition(":")[0] for error in errors] == ["content.1.body", "content.2.contentType"]


def test_numbers_of_images_and_documents_are_bedrocks() -> None:
    assert len(parsing.parse([image()] * 20 + [document()] * 5).blocks) == 25
    assert refusal([image()] * 21) == ["content: A message holds at most 20 images."]
    assert refusal([document()] * 6) == ["content: A message holds at most 5 documents."]


@pytest.mark.parametrize("blocks", [[], [{"content_type": "text", "body": " \n"}]])
def test_blank_text_says_nothing(blocks: list[dict[str, Any]]) -> None:
    assert not parsing.parse(blocks).says_something()


def test_equal_content_has_an_equal_digest() -> None:
    assert parsing.parse([image(), TEXT]).digest == parsing.parse([image(), TEXT]).digest
    assert parsing.parse([TEXT]).digest != parsing.parse([{**TEXT, "body": "other"}]).digest


def test_tool_results_come_back_as_they_were() -> None:
    parts = [
        {"text": "fine"},
        {"json": {"someKey": [1], "other_key": None}},
        {"format": "png", "image": b64(picture())},
        {"format": "txt", "name": "n", "document": b64(b"d")},
    ]
    body = {"tool_use_id": "t1", "status": "success", "content": parts}
    parsed = parsing.parse([{"content_type": "toolResult", "body": body}])

    def show(sha256: str, content_type: str, file_name: str) -> dict[str, str]:
        return {"body": b64(parsed.files[sha256])}

    assert to_wire(parsed.blocks, show) == [
        {"contentType": "toolResult", "body": {"toolUseId": "t1", "status": "success", "content": parts}}
    ]
    assert set(blob_shas(parsed.blocks)) == set(parsed.files)


def test_the_model_gets_text_images_and_documents_alone() -> None:
    use = {"content_type": "toolUse", "body": {"tool_use_id": "t", "name": "n", "input": {}}}
    parsed = parsing.parse([use, image("jpeg"), document("page.HTM"), {"content_type": "text", "body": " "}, TEXT])
    sent = question_to_converse(parsed.blocks, parsed.files.__getitem__)
    assert [next(iter(block)) for block in sent] == ["image", "document", "text"]
    assert sent[0]["image"]["format"] == "jpeg"
    assert sent[1]["document"]["format"] == "html"


def test_an_answer_of_tools_or_blanks_goes_back_as_no_answer() -> None:
    use = {"contentType": "toolUse", "body": {"toolUseId": "t", "name": "n", "input": {}}}
    for blocks in ([], [use], [{"contentType": "text", "body": " \n"}]):
        assert answer_to_converse(blocks) == [{"text": "(no answer)"}]


def test_redacted_reasoning_survives_the_round_trip() -> None:
    blocks = [{"reasoningContent": {"redactedContent": b"\x00\xff"}}, {"text": "so"}]
    assert answer_to_converse(from_converse(blocks)) == blocks


def test_new_text_joins_the_last_text_where_the_model_went_on() -> None:
    before = [{"contentType": "text", "body": "One, two \n"}]
    more = [{"contentType": "text", "body": " three"}]
    assert extend(before, more) == [{"contentType": "text", "body": "One, two three"}]
    assert extend(before, []) == before
