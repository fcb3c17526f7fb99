"""Of a conversation's files the newest go into a request, a note takes the place of the others, and what a question
holds beyond its model's limits is refused by name.
"""

from typing import Any

import pytest

from bedrock_chat.bedrock import attachments, catalog
from bedrock_chat.bedrock.attachments import Attachment
from bedrock_chat.wire.errors import BadRequest
from tests.bedrock.fates import fates
from tests.bedrock.test_request import ask, assistant, check, user
from tests.pictures import document_block, image_block, picture

SMALL, LARGE, TALL = picture(), picture(size=(2001, 1)), picture(size=(1, 1121))
LLAMA, MEGABYTE = "llama3-2-90b-instruct", 1_000_000


def conversation(*bodies: Any, question: Any = "and now?") -> list[dict[str, Any]]:
    """A history with these blocks, one a question, and a question without any."""
    messages: list[dict[str, Any]] = []
    for body in bodies:
        block = image_block(body) if isinstance(body, bytes) else body
        messages += [user(block, "look"), assistant("I see.")]
    return [*messages, question if isinstance(question, dict) else user(question)]


def heavy(form: str, megabytes: float) -> dict[str, Any]:
    return document_block(form, bytes(int(megabytes * MEGABYTE)))


# ---- The number -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "images", "sent"),
    [
        ("claude-v3.7-sonnet", 20, 20),
        ("claude-v3.7-sonnet", 23, 20),
        ("claude-v4.5-haiku", 23, 23),
        ("claude-v4.5-haiku", 103, 100),
        ("claude-v4.7-opus", 103, 100),
        ("amazon-nova-lite", 23, 20),
        ("llama3-2-11b-instruct", 1, 1),
        (LLAMA, 3, 1),
    ],
)
def test_the_newest_images_are_sent_as_many_as_the_model_takes(key: str, images: int, sent: int) -> None:
    request = ask(key, *conversation(*[SMALL] * images))
    check(request)
    assert fates(request.body) == "-" * (images - sent) + "s" * sent


def test_a_note_stands_where_the_image_stood() -> None:
    request = ask(LLAMA, *conversation(SMALL, SMALL))
    first, _, second, *_ = request.body["messages"]
    assert first["content"][0] == {"text": "(An image that was attached here is no longer sent.)"}
    assert "image" in second["content"][0]


def test_a_new_image_takes_the_place_of_the_older_one() -> None:
    request = ask(LLAMA, *conversation(SMALL, SMALL, question=user(image_block(), "this?")))
    check(request)
    assert fates(request.body) == "--s"


def test_images_and_documents_are_counted_apart() -> None:
    blocks = [document_block(), image_block()] * 6
    request = ask(LLAMA, *conversation(*blocks))
    check(request)
    assert fates(request.body) == "--" + "s-" * 4 + "ss"


def test_files_of_tool_results_count_and_give_way_too() -> None:
    use = {"toolUse": {"toolUseId": "t1", "name": "look", "input": {}}}
    tool_result = {
        "toolResult": {"toolUseId": "t1", "content": [image_block(), {"text": "two pictures"}, image_block()]}
    }
    for key, expected in ((LLAMA, 0), ("claude-v3.7-sonnet", 2)):
        request = ask(key, user(image_block(), "look"), assistant(use), user(tool_result))
        results = request.body["messages"][-1]["content"][0]["toolResult"]["content"]
        assert sum("image" in part for part in results) == expected
        assert "image" in request.body["messages"][0]["content"][0]  # what was asked about is sent in any case


# ---- Pixels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([LARGE] * 20, "s" * 20),  # not many
        ([LARGE, *[SMALL] * 20], "-" + "s" * 20),
        ([SMALL, LARGE, *[SMALL] * 20], "s-" + "s" * 20),
        ([*[SMALL] * 3, LARGE, *[SMALL] * 19], "---" + "s" * 20),  # a large one among the newest twenty
        ([*[SMALL] * 20, LARGE], "-" + "s" * 20),
        ([*[LARGE] * 3, *[SMALL] * 30], "---" + "s" * 30),
    ],
)
def test_of_more_than_twenty_images_none_is_large(images: list[bytes], expected: str) -> None:
    request = ask("claude-v4.5-sonnet", *conversation(*images))
    check(request)
    assert fates(request.body) == expected


def test_a_large_image_in_the_question_leaves_the_newest_nineteen_others() -> None:
    question = user(image_block(LARGE), "this?")
    request = ask("claude-v4.6-opus", *conversation(*[SMALL] * 25, question=question))
    check(request)
    assert fates(request.body) == "-" * 6 + "s" * 20


def test_an_earlier_image_that_is_too_large_for_another_model_gives_way() -> None:
    request = ask(LLAMA, *conversation(TALL))
    check(request)
    assert fates(request.body) == "-"


def test_no_image_is_opened_where_its_pixels_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments.images, "read_header", lambda _: pytest.fail("opened"))
    for key in ("claude-v4.5-sonnet", "claude-v3.7-sonnet", "amazon-nova-pro"):
        assert fates(ask(key, *conversation(*[SMALL] * 20)).body) == "s" * 20
    assert fates(ask("amazon-nova-pro", *conversation(*[SMALL] * 30)).body).count("s") == 20


# ---- Bytes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "sizes", "expected"),
    [
        ("claude-v4.5-sonnet", [8, 8, 7.9], "sss"),
        ("claude-v4.5-sonnet", [8, 8, 8, 8], "--ss"),
        ("claude-v4.5-sonnet", [1, 8, 8, 8], "--ss"),  # the small one is older than what did not fit
        ("claude-v4.5-sonnet", [23.9], "s"),
        ("amazon-nova-pro", [9, 9], "ss"),
        ("amazon-nova-pro", [9, 9, 9], "-ss"),
        ("claude-v3.7-sonnet", [9, 4.5, 4.4], "-ss"),  # it takes no such PDF
        ("mistral-large", [4.4] * 5, "-ssss"),
    ],
)
def test_the_oldest_files_give_way_where_a_request_would_be_too_large(
    key: str, sizes: list[float], expected: str
) -> None:
    request = ask(key, *conversation(*(heavy("pdf", size) for size in sizes)))
    assert fates(request.body) == expected
    sent = attachments.of_messages(request.body["messages"])
    assert sum(file.request_bytes for file in sent) <= attachments.most_request_bytes(request.model)


def test_the_text_of_a_conversation_counts_as_it_is_written_in_json() -> None:
    files = [heavy("pdf", 8), heavy("pdf", 15.6)]
    assert fates(ask("claude-v4.5-sonnet", *conversation(*files)).body) == "ss"
    assert fates(ask("claude-v4.5-sonnet", *conversation(*files, question="x" * 700_000)).body) == "-s"
    six_bytes_each = "語" * 120_000
    assert fates(ask("claude-v4.5-sonnet", *conversation(*files, question=six_bytes_each)).body) == "-s"
    assert fates(ask("claude-v4.5-sonnet", *conversation(*files), instruction="x" * 700_000).body) == "-s"


# ---- What a question holds ------------------------------------------------------------------------------------------


def files(*sizes: tuple[str, int], body: bytes | None = None) -> list[Attachment]:
    kinds = [("image" if form in ("png", "jpeg") else "document", form, size) for form, size in sizes]
    return [Attachment(kind, form, size, in_question=True, body=body) for kind, form, size in kinds]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "question_files", "sentence"),
    [
        (LLAMA, files(("png", 9), ("png", 9)), "takes at most 1 image at a time; this message holds 2."),
        (LLAMA, files(("png", 9), body=TALL), "at most 1120 × 1120 pixels; this message has one of 1121."),
        (LLAMA, files(("png", 9), body=SMALL), ""),
        ("claude-v3.7-sonnet", files(*[("png", 9)] * 21), "at most 20 images at a time; this message holds 21."),
        (
            "claude-v3.7-sonnet",
            files(("pdf", 4_500_001)),
            "a pdf document of at most 4.5 MB; this message has one of 4.6",
        ),
        ("claude-v4.5-sonnet", files(("pdf", 22_000_000)), ""),
        ("claude-v4.5-sonnet", files(("docx", 4_500_001)), "a docx document of at most 4.5 MB"),
        ("amazon-nova-pro", files(("docx", 18_000_000)), ""),
        ("amazon-nova-pro", files(("xlsx", 4_500_001)), "a xlsx document of at most 4.5 MB"),
        ("claude-v4.5-sonnet", files(*[("txt", 9)] * 6), "takes at most 5 documents at a time; this message holds 6."),
        ("claude-v4.5-sonnet", files(*[("png", 3_932_160)] * 6), ""),
        ("claude-v4.5-sonnet", files(*[("png", 3_932_160)] * 7), "too large together for Claude Sonnet 4.5: 27.6 MB."),
        ("claude-v4.5-sonnet", files(("pdf", 13_000_000), ("pdf", 13_000_000)), "it takes 32 MB."),
        ("mistral-large", files(*[("pdf", 4_400_000)] * 5), "it takes 25 MB."),
    ],
)
def test_a_question_that_alone_is_too_much_is_refused_by_name(
    key: str, question_files: list[Attachment], sentence: str
) -> None:
    model = catalog.find(key)
    if not sentence:
        attachments.refuse_excess(model, question_files)
        return
    with pytest.raises(BadRequest) as refused:
        attachments.refuse_excess(model, question_files)
    assert model.display_name in str(refused.value.detail)
    assert sentence in str(refused.value.detail)


def test_composing_refuses_it_too() -> None:
    with pytest.raises(BadRequest, match="takes at most 1 image at a time"):
        ask(LLAMA, user(image_block(), image_block(), "which?"))
    with pytest.raises(BadRequest, match="too large together"):
        ask("claude-v4.5-sonnet", *conversation(question=user(heavy("pdf", 13), heavy("pdf", 13), "which?")))


def test_a_continuation_asks_nothing_so_all_its_files_may_give_way() -> None:
    history = [user(image_block(), image_block(), "which?"), assistant("The sec")]
    request = ask("amazon-nova-pro", *history)
    assert fates(request.body) == "ss"
    assert not any(file.in_question for file in attachments.of_messages(history))
