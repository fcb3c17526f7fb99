"""Every fault of Bedrock, before or during a stream, is an error of the API with a status and a helpful sentence."""

import logging
import socket
from typing import Any

import botocore.exceptions
import pytest

from bedrock_chat.bedrock import clients, faults, retrying
from bedrock_chat.bedrock.events import Closed, Event, TextDelta
from bedrock_chat.wire.errors import body_of
from tests.bedrock.asking import ask, request_to_model
from tests.bedrock.scripted import (
    HELLO,
    START,
    ScriptedBedrock,
    Stream,
    Whole,
    delta,
    exception,
    frame,
    refuses,
    says,
    stop,
    stop_block,
)

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])

REFUSALS = [
    # Bedrock's name, its HTTP status, our status, our class
    ("ThrottlingException", 429, 503, faults.Throttled),
    ("ModelNotReadyException", 429, 503, faults.NotReady),
    ("ServiceUnavailableException", 503, 503, faults.Unavailable),
    ("InternalServerException", 500, 502, faults.InternalFault),
    ("ModelErrorException", 424, 502, faults.ModelError),
    ("ModelTimeoutException", 408, 504, faults.TimedOut),
    ("AccessDeniedException", 403, 502, faults.AccessDenied),
    ("ResourceNotFoundException", 404, 502, faults.UnknownModel),
    ("ServiceQuotaExceededException", 400, 502, faults.QuotaExceeded),
    ("ValidationException", 400, 400, faults.Invalid),
    ("UnrecognizedClientException", 403, 502, faults.NoCredentials),
    ("ExpiredTokenException", 403, 502, faults.NoCredentials),
    ("InvalidSignatureException", 403, 502, faults.NoCredentials),
    # for names that we do not know, the status decides
    ("BrandNewException", 429, 503, faults.Throttled),
    ("BrandNewException", 503, 503, faults.Unavailable),
    ("BrandNewException", 418, 502, faults.ModelError),
    ("", 503, 503, faults.Unavailable),
    ("", 502, 502, faults.InternalFault),
    ("", 504, 504, faults.TimedOut),
    ("", 403, 502, faults.AccessDenied),
    ("", 413, 400, faults.TooLarge),
]


@BOTH
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: f"{refusal[0]}-{refusal[1]}")
def test_a_refusal_before_the_answer_has_a_status_and_a_sentence(
    bedrock: ScriptedBedrock, refusal: tuple[str, int, int, type], stream: bool
) -> None:
    code, status, expected, kind = refusal
    bedrock.play(refuses(code, status))
    with pytest.raises(kind) as caught:
        ask(stream=stream)
    fault = caught.value
    assert fault.status_code == expected
    assert code in ("", fault.code)
    assert str(fault.detail).endswith(".")
    assert ("Retry-After" in fault.headers) is (expected == 503)
    assert len(bedrock.requests) == 1


MID_STREAM = [
    ("throttlingException", 503, faults.Throttled),
    ("serviceUnavailableException", 503, faults.Unavailable),
    ("internalServerException", 502, faults.InternalFault),
    ("modelStreamErrorException", 502, faults.StreamError),
    ("validationException", 400, faults.Invalid),
    ("brandNewException", 502, faults.StreamError),
]


@pytest.mark.parametrize(("code", "expected", "kind"), MID_STREAM)
def test_a_fault_in_mid_stream_comes_after_the_text_and_is_never_retried(
    bedrock: ScriptedBedrock, settings: Any, code: str, expected: int, kind: type
) -> None:
    settings.MODEL_RETRY_SECONDS = 5
    bedrock.play(Stream((START, delta("Half an ans"), exception(code))))
    seen: list[Event] = []
    with pytest.raises(kind) as caught:
        ask(stream=True, into=seen)
    assert TextDelta("Half an ans") in seen
    assert caught.value.status_code == expected
    assert caught.value.code[0].isupper()
    assert len(bedrock.requests) == 1


def test_an_error_message_in_the_stream_goes_by_its_own_code(bedrock: ScriptedBedrock) -> None:
    error = {":message-type": "error", ":error-code": "internalServerException", ":error-message": "No."}
    bedrock.play(Stream((START, frame(error, b""))))
    with pytest.raises(faults.InternalFault):
        ask(stream=True)


@pytest.mark.parametrize("frames", [(), (START,), HELLO[:3]], ids=["at once", "after the start", "after text"])
def test_a_cut_connection_is_502(bedrock: ScriptedBedrock, frames: tuple[bytes, ...]) -> None:
    bedrock.play(Stream(frames, ends="cut"))
    with pytest.raises(faults.ConnectionCut) as caught:
        ask(stream=True)
    assert caught.value.status_code == 502


def test_a_connection_cut_inside_a_frame_is_502(bedrock: ScriptedBedrock) -> None:
    bedrock.play(Stream((START, delta("Half")[:-9]), ends="cut"))
    with pytest.raises(faults.ConnectionCut):
        ask(stream=True)


def test_a_cut_whole_answer_is_502_and_not_asked_twice(bedrock: ScriptedBedrock, settings: Any) -> None:
    settings.MODEL_RETRY_SECONDS = 5
    bedrock.play(Whole(says({"text": "Hello"}).body, ends="cut"))
    with pytest.raises(faults.Incomplete) as caught:  # botocore does not compare a body with its Content-Length
        ask(stream=False)
    assert caught.value.status_code == 502
    assert len(bedrock.requests) == 1


@pytest.mark.parametrize("ends", ["well", "closed"])
@pytest.mark.parametrize("frames", [(), HELLO[:3], HELLO[:4]], ids=["nothing", "open block", "closed block"])
def test_a_stream_that_ends_without_a_message_stop_is_a_failure(
    bedrock: ScriptedBedrock, frames: tuple[bytes, ...], ends: str
) -> None:
    bedrock.play(Stream(frames, ends=ends))
    with pytest.raises(faults.Incomplete) as caught:
        ask(stream=True)
    assert caught.value.status_code == 502


def test_a_whole_answer_without_a_stop_reason_is_a_failure(bedrock: ScriptedBedrock) -> None:
    bedrock.play(Whole({"output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}}}))
    with pytest.raises(faults.Incomplete):
        ask(stream=False)


@pytest.mark.parametrize(
    "after",
    [
        Stream((START, delta("Hello"), stop_block(), stop()), ends="cut"),
        Stream((START, delta("Hello"), stop_block(), stop(), exception("internalServerException"))),
        Stream((START, delta("Hello"), stop_block(), stop())),
    ],
    ids=["cut", "fault", "no usage"],
)
def test_what_fails_after_the_message_stop_costs_the_usage_alone(bedrock: ScriptedBedrock, after: Stream) -> None:
    bedrock.play(after)
    *_, closed = ask(stream=True)
    assert isinstance(closed, Closed)
    assert (closed.usage, closed.stop_reason) == (None, "end_turn")


@pytest.mark.parametrize(
    ("stream", "play"),
    [
        (False, Whole({}, ends="silent")),
        (True, Whole({}, ends="silent")),
        (True, Stream((START, delta("Hm")), "silent")),
    ],
    ids=["plain", "before a stream", "in mid-stream"],
)
def test_silence_is_504_and_never_asked_again(
    bedrock: ScriptedBedrock, settings: Any, play: Stream | Whole, stream: bool
) -> None:
    settings.MODEL_READ_TIMEOUT = 0.3
    settings.MODEL_RETRY_SECONDS = 5
    clients.reset()
    bedrock.play(play)
    with pytest.raises(faults.TimedOut) as caught:
        ask(stream=stream)
    assert (caught.value.status_code, caught.value.code) == (504, "ReadTimeout")
    assert len(bedrock.requests) == 1


@BOTH
def test_nobody_listening_is_503_at_once(bedrock: ScriptedBedrock, settings: Any, stream: bool) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        settings.BEDROCK_ENDPOINT_URL = f"http://127.0.0.1:{unused.getsockname()[1]}"
        settings.MODEL_RETRY_SECONDS = 5
        clients.reset()
        with pytest.raises(faults.Unreachable) as caught:
            ask(stream=stream)
    assert caught.value.status_code == 503
    assert "Retry-After" in caught.value.headers


def test_a_damaged_frame_is_502(bedrock: ScriptedBedrock) -> None:
    damaged = bytearray(delta("Hello"))
    damaged[-6] ^= 1
    bedrock.play(Stream((START, bytes(damaged))))
    with pytest.raises(faults.Unreadable) as caught:
        ask(stream=True)
    assert caught.value.status_code == 502


def test_a_body_that_is_no_json_is_502(bedrock: ScriptedBedrock) -> None:
    bedrock.play(Whole(b"<html>"))
    with pytest.raises(faults.ModelFault) as caught:
        ask(stream=False)
    assert caught.value.status_code == 502


@pytest.mark.parametrize(
    "error",
    [
        botocore.exceptions.NoCredentialsError(),
        botocore.exceptions.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        botocore.exceptions.CredentialRetrievalError(provider="sso", error_msg="expired"),
        botocore.exceptions.ProfileNotFound(profile="work"),
        botocore.exceptions.SSOTokenLoadError(error_msg="expired"),
        botocore.exceptions.TokenRetrievalError(provider="sso", error_msg="expired"),
    ],
)
def test_missing_credentials_are_502_whatever_botocore_calls_them(error: Exception) -> None:
    assert isinstance(clients.fault_of(error), faults.NoCredentials)


def test_an_error_of_our_own_is_not_dressed_up_as_bedrocks() -> None:
    assert clients.fault_of(KeyError("messages")) is None


# ---- Sentences ------------------------------------------------------------------------------------------------------


@BOTH
def test_bedrocks_validation_sentence_reaches_the_client_without_resource_names(
    bedrock: ScriptedBedrock, stream: bool
) -> None:
    sentence = "messages.0: too many images\n for arn:aws:bedrock:eu-west-1:123456789012:inference-profile/x, sorry."
    bedrock.play(refuses("ValidationException", 400, sentence))
    with pytest.raises(faults.Invalid) as caught:
        ask(stream=stream)
    detail = "Bedrock refused the request: messages.0: too many images for (resource), sorry."
    assert body_of(caught.value) == {"detail": detail, "errors": [detail]}


def test_a_validation_sentence_without_end_is_cut() -> None:
    assert len(str(faults.of("ValidationException", "a" * 10_000).detail)) < 600
    assert str(faults.of("ValidationException", "").detail) == faults.Invalid.default_detail


@pytest.mark.parametrize("code", [code for code, *_ in REFUSALS if code not in ("", "ValidationException")])
def test_no_other_sentence_of_aws_reaches_the_client(code: str) -> None:
    inside = "User: arn:aws:sts::123456789012:assumed-role/secret-role is not authorized"
    assert "secret-role" not in str(body_of(faults.of(code, inside)))


@pytest.mark.parametrize(
    "message",
    [
        "The provided model identifier is invalid.",
        "Invocation of model ID anthropic.x with on-demand throughput isn’t supported.",
        "Retry your request with the ID or ARN of an inference profile that contains this model.",
    ],
)
def test_a_model_id_that_bedrock_does_not_take_is_the_operators_matter(message: str) -> None:
    fault = faults.of("ValidationException", message)
    assert isinstance(fault, faults.UnknownModel)
    assert (fault.status_code, fault.for_operators) == (502, True)


@BOTH
@pytest.mark.parametrize(
    "refusal",
    [
        ("AccessDeniedException", 403, logging.ERROR),
        ("ResourceNotFoundException", 404, logging.ERROR),
        ("UnrecognizedClientException", 403, logging.ERROR),
        ("ServiceQuotaExceededException", 400, logging.ERROR),
        ("ModelErrorException", 424, logging.WARNING),
    ],
)
def test_what_an_operator_must_mend_is_logged_as_an_error_without_the_prompt(
    bedrock: ScriptedBedrock, caplog: pytest.LogCaptureFixture, refusal: tuple[str, int, int], stream: bool
) -> None:
    code, status, level = refusal
    bedrock.play(refuses(code, status, "about the secret prompt"))
    with caplog.at_level(logging.INFO), pytest.raises(faults.ModelFault):
        ask(request_to_model("the secret prompt"), stream=stream)
    records = [record for record in caplog.records if record.name == retrying.__name__]
    assert [record.levelno for record in records] == [level]
    assert code in caplog.text
    assert "secret" not in caplog.text
