"""The files of a conversation against the limits of the model that is asked: old ones give way, and what is too much in
the message itself is refused before anything is stored.
"""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.blobs import storing
from bedrock_chat.blobs.models import Blob
from bedrock_chat.identity import local
from conversations.models import Conversation, Message
from tests import build
from tests.bedrock.fates import fates
from tests.conversations.chat import read, say
from tests.emulator import Emulator
from tests.pictures import b64, phone_picture, picture

pytestmark = [pytest.mark.django_db(transaction=True)]
ClientOf = Callable[..., APIClient]

LLAMA, SONNET_37, SONNET_45, NOVA = (
    "llama3-2-90b-instruct",
    "claude-v3.7-sonnet",
    "claude-v4.5-sonnet",
    "amazon-nova-pro",
)
TEXT = {"contentType": "text", "body": "look"}


@pytest.fixture
def alice(client_of: ClientOf, emulator: Emulator) -> APIClient:
    return client_of("alice")


def image(body: bytes | None = None, media_type: str = "image/png") -> dict[str, Any]:
    return {"contentType": "image", "mediaType": media_type, "body": b64(body or picture())}


def document(name: str = "notes.txt", body: bytes = b"some notes") -> dict[str, Any]:
    return {"contentType": "attachment", "fileName": name, "body": b64(body)}


def history(*files: tuple[str, bytes], model: str = SONNET_45) -> None:
    """Alice's conversation `c1`, in which each of these files (name, body) was a question's."""
    conversation = build.conversation(local.local_user("alice"), "c1")
    under = None
    for name, body in files:
        sha256 = storing.digest(body)
        storing.store({sha256: body})
        storing.refer("conversation", conversation.pk, [sha256])
        form = name.rpartition(".")[2]
        block = (
            {"contentType": "image", "mediaType": f"image/{form}", "blob": sha256}
            if form in ("png", "jpeg")
            else {"contentType": "attachment", "fileName": name, "blob": sha256}
        )
        question = build.question(conversation, "look", under=under)
        Message.objects.filter(pk=question.pk).update(content=[block, TEXT])
        under = build.answer(question, "I see.")


def sent(emulator: Emulator) -> str:
    """What became of each file in the newest request, as `fates` says."""
    return fates(emulator.requests()[-1]["body"])


def refusal(client: APIClient, content: list[dict[str, Any]], emulator: Emulator, **fields: Any) -> str:
    """The sentence of a 400 that left nothing behind."""
    before = (Conversation.objects.count(), Message.objects.count(), Blob.objects.count())
    response = say(client, "c1", content, **fields)
    assert response.status_code == 400, response.content[:500]
    assert (Conversation.objects.count(), Message.objects.count(), Blob.objects.count()) == before
    assert emulator.requests() == []
    sentence: str = response.json()["detail"]
    return sentence


# ---- A message ------------------------------------------------------------------------------------------------------


@pytest.mark.both
@pytest.mark.parametrize(
    ("model", "content", "sentence"),
    [
        (
            LLAMA,
            [image(), image(), TEXT],
            "Llama 3.2 90B Instruct takes at most 1 image at a time; this message holds 2.",
        ),
        (LLAMA, [image(picture(size=(1, 1121))), TEXT], "takes images of at most 1120 × 1120 pixels"),
        (SONNET_37, [document("a.pdf", bytes(4_500_001)), TEXT], "a pdf document of at most 4.5 MB"),
        (SONNET_45, [document("a.docx", bytes(4_500_001)), TEXT], "a docx document of at most 4.5 MB"),
        ("amazon-nova-micro", [image(), TEXT], "cannot see images"),
    ],
)
def test_a_message_that_alone_is_too_much_is_refused_before_anything_is_stored(
    alice: APIClient, emulator: Emulator, model: str, content: list[dict[str, Any]], sentence: str
) -> None:
    assert sentence in refusal(alice, content, emulator, model=model)
    assert sentence in refusal(alice, content, emulator, model=model, message_id="q1")


@pytest.mark.parametrize(("model", "megabytes"), [(SONNET_45, 26), pytest.param(NOVA, 19.5, marks=pytest.mark.slow)])
def test_so_are_files_that_are_too_large_together(
    alice: APIClient, emulator: Emulator, model: str, megabytes: float
) -> None:
    half = bytes(int(megabytes * 500_000))
    content = [document("a.pdf", half), document("b.pdf", half + b"\n"), TEXT]
    sentence = refusal(alice, content, emulator, model=model)
    assert (
        f"too large together for {'Nova Pro' if model == NOVA else 'Claude Sonnet 4.5'}: {megabytes + 0.1:.1f} MB."
        in sentence
    )
    assert f"it takes {25 if model == NOVA else 32} MB." in sentence


@pytest.mark.parametrize(("model", "name", "megabytes"), [(SONNET_45, "a.pdf", 5), (NOVA, "a.docx", 5)])
def test_larger_documents_go_to_models_that_take_them(
    alice: APIClient, emulator: Emulator, model: str, name: str, megabytes: int
) -> None:
    body = bytes(megabytes * 1_000_000)
    assert say(alice, "c1", [document(name, body), TEXT], model=model).status_code == 200
    assert sent(emulator) == "s"


def test_the_message_is_judged_in_its_conversation_too(alice: APIClient, emulator: Emulator) -> None:
    history(("a.png", picture()), model=LLAMA)
    before = read(alice, "c1")
    assert "takes at most 1 image" in refusal(alice, [image(), image(), TEXT], emulator, model=LLAMA)
    assert read(alice, "c1") == before


def test_what_another_model_has_answered_is_told_again(alice: APIClient, emulator: Emulator) -> None:
    content = [image(), image(picture("webp")), TEXT]
    assert say(alice, "c1", content, model=SONNET_45, message_id="q1").status_code == 200
    again = say(alice, "c1", content, model=LLAMA, message_id="q1")
    assert (again.status_code, len(emulator.requests())) == (200, 1)


def test_a_question_that_failed_is_refused_for_a_model_that_takes_less(alice: APIClient, emulator: Emulator) -> None:
    emulator.script(fault="ModelErrorException", times=1)
    content = [image(), image(picture("webp")), TEXT]
    assert say(alice, "c1", content, model=SONNET_45, message_id="q1").status_code == 502
    response = say(alice, "c1", content, model=LLAMA, message_id="q1")
    assert (response.status_code, "at most 1 image" in response.json()["detail"]) == (400, True)
    assert Message.objects.get().attempt == 1
    assert say(alice, "c1", content, model=SONNET_45, message_id="q1").status_code == 200


# ---- A conversation -------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_the_images_of_a_conversation_never_outgrow_the_model(alice: APIClient, emulator: Emulator) -> None:
    history(*(("a.png", picture(size=(2, number + 1))) for number in range(24)))
    last = Message.objects.latest("pk").external_id
    for model, expected in (
        (SONNET_37, "-" * 5 + "s" * 20),
        (SONNET_45, "s" * 25),
        (NOVA, "-" * 5 + "s" * 20),
        (LLAMA, "-" * 24 + "s"),
    ):
        assert say(alice, "c1", [image(), TEXT], model=model, parent=last).status_code == 200
        assert sent(emulator) == expected


def test_images_that_are_left_out_are_not_even_read(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    history(*(("a.png", picture(size=(2, number + 1))) for number in range(24)))
    read_file, files_read = storing.StoredFiles.read, []

    def counted(files: storing.StoredFiles, sha256: str) -> bytes:
        files_read.append(sha256)
        return read_file(files, sha256)

    monkeypatch.setattr(storing.StoredFiles, "read", counted)
    assert say(alice, "c1", "and now?", model=SONNET_37).status_code == 200
    assert sent(emulator) == "----" + "s" * 20
    assert len(files_read) == 20


def test_of_more_than_twenty_none_is_large(alice: APIClient, emulator: Emulator) -> None:
    large, small = picture(size=(2001, 1)), (("a.png", picture(size=(2, number + 1))) for number in range(20))
    history(("a.png", large), *small)
    assert say(alice, "c1", "and now?", model=SONNET_45).status_code == 200
    assert sent(emulator) == "-" + "s" * 20


def test_the_same_image_twice_counts_twice(alice: APIClient, emulator: Emulator) -> None:
    history(*[("a.png", picture())] * 22)
    assert say(alice, "c1", "and now?", model=SONNET_37).status_code == 200
    assert sent(emulator) == "--" + "s" * 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "expected"), [(SONNET_45, "-sss"), (NOVA, "--ss"), (SONNET_37, "----"), ("mistral-large-2", "----")]
)
def test_the_bytes_of_a_conversation_never_outgrow_the_model(
    alice: APIClient, emulator: Emulator, model: str, expected: str
) -> None:
    history(*((f"{name}.pdf", name.encode() * 7_800_000) for name in "abcd"))
    assert say(alice, "c1", "and now?", model=model).status_code == 200
    assert sent(emulator) == expected


def test_a_document_that_another_model_took_gives_way(alice: APIClient, emulator: Emulator) -> None:
    history(("a.pdf", bytes(4_600_000)), ("b.pdf", b"small"))
    assert say(alice, "c1", "and now?", model=SONNET_37).status_code == 200
    assert sent(emulator) == "-s"


def test_an_answer_goes_on_whatever_files_its_question_had(alice: APIClient, emulator: Emulator) -> None:
    history(("a.pdf", bytes(4_600_000)))
    Message.objects.filter(role="assistant").update(stop_reason="max_tokens")
    assert say(alice, "c1", [], model=SONNET_37, continue_generate=True).status_code == 200
    assert sent(emulator) == "-"


# ---- Bedrock's own refusal ------------------------------------------------------------------------------------------

TOO_LONG = "Input is too long for requested model."


def test_a_refusal_for_bytes_names_the_files_and_their_size(alice: APIClient, emulator: Emulator) -> None:
    history(("a.png", picture(weight=3_000_000)), ("b.png", picture(weight=2_000_000)))
    emulator.script(fault="ValidationException", message=TOO_LONG)
    sentence = say(alice, "c1", "and now?", model=SONNET_45).json()["detail"]
    assert "The files of the conversation are too large together for Claude Sonnet 4.5: 2 of 5.0 MB" in sentence
    assert "6.7 MB in base64" in sentence
    assert sentence.endswith(f"Bedrock says: {TOO_LONG}")


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("and now?", "The model returned the following errors: prompt is too long: 286028 tokens > 200000 maximum"),
        ("x" * 500_000, TOO_LONG),  # more than half of the window
    ],
)
def test_a_refusal_for_tokens_names_the_tokens(
    alice: APIClient, emulator: Emulator, question: str, message: str
) -> None:
    history(("a.png", picture()))
    emulator.script(fault="ValidationException", message=message)
    sentence = say(alice, "c1", question, model=SONNET_45).json()["detail"]
    assert sentence.startswith("The conversation is too long for Claude Sonnet 4.5: it holds about ")


def test_so_it_is_without_any_file(alice: APIClient, emulator: Emulator) -> None:
    emulator.script(fault="ValidationException", message=TOO_LONG)
    assert "it holds about" in say(alice, "c1", "hello", model=SONNET_45).json()["detail"]


# ---- Cache points, and the bytes of images, from end to end ---------------------------------------------------------


@pytest.mark.parametrize("model", [SONNET_45, "claude-v4.6-opus", NOVA])
def test_a_text_with_any_document_behind_it_is_answered_and_cached(
    alice: APIClient, emulator: Emulator, model: str
) -> None:
    for form in ("csv", "doc", "docx", "html", "md", "pdf", "txt", "xls", "xlsx"):
        assert say(alice, form, [TEXT, document(f"a.{form}")], model=model).status_code == 200
        sent_content = emulator.requests()[-1]["body"]["messages"][0]["content"]
        assert [next(iter(block)) for block in sent_content] == ["document", "text", "cachePoint"]
        assert [block["contentType"] for block in shown(alice, form)] == ["text", "attachment"]  # as Alice sent it


@pytest.mark.both
@pytest.mark.parametrize(
    ("body", "media_type", "form"),
    [
        (phone_picture(), "image/jpeg", "jpeg"),
        (picture("webp"), "image/png", "webp"),
        (picture("gif"), "image/jpg", "gif"),
    ],
    ids=["a phone's", "a WebP typed PNG", "a GIF typed JPEG"],
)
@pytest.mark.parametrize("model", [SONNET_45, NOVA])
def test_the_bytes_of_an_image_decide_what_is_sent_and_shown(
    alice: APIClient, emulator: Emulator, model: str, body: bytes, media_type: str, form: str
) -> None:
    assert say(alice, "c1", [image(body, media_type), TEXT], model=model, message_id="q1").status_code == 200
    sent_image = emulator.requests()[-1]["body"]["messages"][0]["content"][0]["image"]
    assert (sent_image["format"], base64.b64decode(sent_image["source"]["bytes"])) == (form, body)
    assert shown(alice)[0] == image(body, f"image/{form}")


@pytest.mark.parametrize(
    "body",
    [picture("bmp"), picture("tiff"), b"<svg/>", b"\0\0\0\x18ftypheic" + bytes(40)],
    ids=["BMP", "TIFF", "SVG", "HEIC"],
)
def test_what_no_model_can_read_is_refused(alice: APIClient, emulator: Emulator, body: bytes) -> None:
    assert "no image that can be read" in refusal(alice, [image(body), TEXT], emulator)


def shown(client: APIClient, conversation: str = "c1") -> list[dict[str, Any]]:
    """The content of the only question."""
    [question] = [m for m in read(client, conversation)["messageMap"].values() if m["role"] == "user"]
    content: list[dict[str, Any]] = question["content"]
    return content
