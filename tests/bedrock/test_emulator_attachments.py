"""The emulator refuses images, documents and whole requests that are too many, too large or mislabelled."""

from typing import Any

import pytest

from tests.bedrock.boto import TOOLS, assistant, boto, user
from tests.bedrock.test_emulator_validation import (
    HAIKU,
    NOVA,
    OPUS_47,
    SONNET,
    TOOL_USE,
    image,
    refusal,
    result,
)
from tests.emulator import Emulator
from tests.pictures import b64, document_block, image_block, phone_picture, picture

LLAMA_VISION, MISTRAL = "us.meta.llama3-2-90b-instruct-v1:0", "mistral.mistral-large-2402-v1:0"
BIG, TALL = picture(size=(2001, 1)), picture(size=(1, 1121))


def document(form: str, size: int, name: str = "n") -> dict[str, Any]:
    return {"document": {"format": form, "name": name, "source": {"bytes": b64(bytes(size))}}}


def many(count: int, **last: Any) -> list[Any]:
    """A conversation with so many images, one a question; the last one is `body`."""
    messages: list[Any] = []
    for _ in range(count - 1):
        messages += [user(image(), "a"), assistant("b")]
    return [*messages, user(image(**last), "a")]


@pytest.mark.parametrize(
    ("model", "messages", "reason"),
    [
        # the number, over the whole request
        (SONNET, many(20), ""),
        (SONNET, many(21), "The model returned the following errors: too many images and documents: 21 + 0 > 20"),
        (HAIKU, many(100), ""),
        (HAIKU, many(101), "too many images and documents: 101 + 0 > 100"),
        (OPUS_47, many(101), "too many images and documents: 101 + 0 > 100"),
        (LLAMA_VISION, many(1), ""),
        (LLAMA_VISION, many(2), "The model returned the following errors: Validation Error"),
        (NOVA, many(40), ""),
        (NOVA, [user(*[image()] * 21, "a")], "too many images"),
        # pixels
        (HAIKU, many(20, body=BIG), ""),
        (HAIKU, many(21, body=BIG), "max allowed size for many-image requests: 2000 pixels"),
        (HAIKU, many(1, body=picture(size=(8001, 1))), "dimensions exceed max allowed size: 8000 pixels"),
        (NOVA, many(1, body=picture(size=(8001, 1))), "Image exceeds max pixels allowed."),
        (LLAMA_VISION, many(1, body=TALL), "Image exceeds max pixels allowed."),
        (LLAMA_VISION, many(1, body=picture(size=(1120, 1120))), ""),
        # bytes
        (
            SONNET,
            many(2, body=picture(weight=3_932_161)),
            "messages.2.content.0.image.source.bytes: image exceeds 5 MB maximum: 5242884 bytes > 5242880 bytes",
        ),
        (NOVA, many(1, body=picture(weight=3_932_161)), ""),
        # the format
        (SONNET, many(1, body=phone_picture(), form="jpeg"), ""),
        (
            SONNET,
            many(1, body=picture("webp"), form="png"),
            "messages.0.content.0.image.source.bytes: The image was specified using the image/png media type, but the "
            "image appears to be a image/webp image",
        ),
        (NOVA, many(1, body=picture("webp"), form="png"), "does not match the specified image format."),
        (SONNET, many(1, body=b"no picture"), "Could not process image"),
    ],
)
def test_images(model: str, messages: list[Any], reason: str) -> None:
    message = refusal(*messages, model=model)
    assert reason in message
    assert bool(reason) == bool(message)


def test_images_in_tool_results_count() -> None:
    tool_result = result(content=[image() for _ in range(20)])
    conversation = [user(image(), "a"), assistant(TOOL_USE), user(tool_result)]
    assert "21 + 0 > 20" in refusal(*conversation, toolConfig=TOOLS)
    assert refusal("a", *conversation[1:], toolConfig=TOOLS) == ""


@pytest.mark.parametrize(
    ("model", "form", "size", "is_taken"),
    [
        (SONNET, "pdf", 4_500_000, True),
        (SONNET, "pdf", 4_500_001, False),
        (HAIKU, "pdf", 4_500_001, True),
        (HAIKU, "docx", 4_500_001, False),
        (NOVA, "pdf", 4_500_001, True),
        (NOVA, "docx", 4_500_001, True),
        (NOVA, "xlsx", 4_500_001, False),
        (MISTRAL, "pdf", 4_500_001, False),
        (LLAMA_VISION, "pdf", 4_500_001, False),
    ],
)
def test_the_size_of_a_document(model: str, form: str, size: int, is_taken: bool) -> None:
    message = refusal(user(document(form, size), "a"), model=model)
    assert ("The maximum document size is 4.5 MB" in message) is not is_taken
    assert (message == "") is is_taken


@pytest.mark.parametrize(
    ("model", "size", "reason"),
    [
        (SONNET, 32_000_000, ""),
        (SONNET, 32_000_001, "Input is too long for requested model."),
        (OPUS_47, 32_000_001, "Input is too long for requested model."),
        (NOVA, 25_000_000, ""),
        (NOVA, 25_000_001, "exceeds 25 MB"),
        (MISTRAL, 60_000_000, ""),  # its limit is not known
    ],
)
def test_the_size_of_a_request(model: str, size: int, reason: str) -> None:
    message = refusal("a", model=model, size=size)
    assert reason in message
    assert bool(reason) == bool(message)


@pytest.mark.slow
def test_boto3_sees_that_a_whole_request_is_too_large(emulator: Emulator) -> None:
    client = boto(emulator)
    pdf = [document_block("pdf", bytes(8_000_000), name) for name in ("a", "b", "c")]
    for model, sentence in ((HAIKU, "Input is too long for requested model."), (NOVA, "exceeds 25 MB")):
        with pytest.raises(client.exceptions.ValidationException, match=sentence):
            client.converse(modelId=model, messages=[user(*pdf, "x")])
        assert client.converse(modelId=model, messages=[user(*pdf[:2], "x")])


def test_boto3_sees_that_many_images_are_too_large(emulator: Emulator) -> None:
    client = boto(emulator)
    with pytest.raises(client.exceptions.ValidationException, match="many-image requests"):
        client.converse(modelId=HAIKU, messages=[user(*[image_block()] * 20, image_block(BIG), "x")])
    assert client.converse(modelId=HAIKU, messages=[user(*[image_block()] * 19, image_block(BIG), "x")])
