"""The emulator can produce every failure of Bedrock, and boto3 raises the same errors as it would for Bedrock."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import urllib3.exceptions
from botocore.exceptions import ClientError, ConnectionClosedError, EventStreamError, ReadTimeoutError

from bedrock_chat.bedrock.emulator.refusals import FAULTS
from tests.bedrock.boto import SONNET, boto, converse, kinds, stream, text, user
from tests.emulator import Emulator


def events_until_failure(emulator: Emulator, question: str, **options: Any) -> tuple[list[str], BaseException | None]:
    """The names of the events that arrived, and what ended them."""
    seen: list[str] = []
    try:
        answer = boto(emulator, **options).converse_stream(modelId=SONNET, messages=[user(question)])
        for event in answer["stream"]:
            seen += kinds([event])
    except Exception as error:
        return seen, error
    return seen, None


@pytest.mark.parametrize("code", FAULTS)
def test_each_fault_can_be_had_before_the_answer(emulator: Emulator, code: str) -> None:
    for ask in (converse, stream):
        with pytest.raises(ClientError) as caught:
            ask(emulator, f"[[fault:{code}]]")
        assert caught.value.response["Error"]["Code"] == code
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == FAULTS[code][0]
        assert caught.value.response["Error"]["Message"] == FAULTS[code][1]


@pytest.mark.parametrize(
    ("marker", "code", "message"),
    [
        ("validation", "ValidationException", "The model returned the following errors: bad input"),
        ("denied", "AccessDeniedException", "You don't have access to the model with the specified model ID."),
        ("throttle", "ThrottlingException", "Too many requests, please wait before trying again."),
    ],
)
def test_the_short_markers_of_faults(emulator: Emulator, marker: str, code: str, message: str) -> None:
    with pytest.raises(ClientError) as caught:
        converse(emulator, f"[[{marker}]]")
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"]) == (code, message)


@pytest.mark.parametrize(
    "code",
    [
        "ThrottlingException",
        "ModelStreamErrorException",
        "InternalServerException",
        "ServiceUnavailableException",
        "ValidationException",
    ],
)
def test_each_fault_of_a_stream_can_be_had_in_its_midst(emulator: Emulator, code: str) -> None:
    seen, error = events_until_failure(emulator, f"[[fault:{code}:after:2]][[words:9]]")
    assert seen == ["messageStart", "contentBlockDelta", "contentBlockDelta"]
    assert isinstance(error, EventStreamError)
    assert error.response["Error"]["Code"] == code[0].lower() + code[1:]


def test_streamerror_comes_after_the_text(emulator: Emulator) -> None:
    seen, error = events_until_failure(emulator, "[[streamerror]]")
    assert seen[-1] == "contentBlockStop"
    assert "boom in stream" in str(error)


def test_what_has_no_stream_fails_as_a_model_error(emulator: Emulator) -> None:
    with pytest.raises(ClientError) as caught:
        converse(emulator, "[[streamerror]]")
    assert caught.value.response["Error"] == {"Code": "ModelErrorException", "Message": "boom in stream"}


def test_throttling_ends_after_as_many_refusals_as_asked_and_starts_again(emulator: Emulator) -> None:
    def ask() -> str:
        try:
            return text(converse(emulator, "[[throttle:2]]"))
        except ClientError as error:
            return error.response["Error"]["Code"]

    throttled, answered = "ThrottlingException", "Echo: [[throttle:2]]"
    assert [ask() for _ in range(6)] == [throttled, throttled, answered] * 2


def test_different_conversations_are_throttled_apart(emulator: Emulator) -> None:
    for question in ("[[throttle:1]] a", "[[throttle:1]] b"):
        with pytest.raises(ClientError):
            converse(emulator, question)
    assert text(converse(emulator, "[[throttle:1]] a")) == "Echo: [[throttle:1]] a"


def test_any_mishap_can_end_after_a_few_times(emulator: Emulator) -> None:
    with pytest.raises(ConnectionClosedError):
        converse(emulator, "[[cut:times:1]]")
    assert text(converse(emulator, "[[cut:times:1]]")) == "Echo: [[cut:times:1]]"


def test_a_script_of_faults_wins_over_an_innocent_prompt(emulator: Emulator) -> None:
    emulator.script(fault="ServiceUnavailableException", message="No room.", times=1)
    with pytest.raises(ClientError, match="No room"):
        converse(emulator, "hello")
    assert text(converse(emulator, "hello")) == "Echo: hello"


def test_a_cut_before_the_answer(emulator: Emulator) -> None:
    for ask in (converse, stream):
        with pytest.raises(ConnectionClosedError):
            ask(emulator, "[[cut]]")


def test_a_cut_in_the_midst(emulator: Emulator) -> None:
    seen, error = events_until_failure(emulator, "[[cut:after:2]][[words:9]]")
    assert seen == ["messageStart", "contentBlockDelta", "contentBlockDelta"]
    assert isinstance(error, urllib3.exceptions.ProtocolError)


def test_a_cut_in_a_whole_answer_reaches_the_caller_as_an_answer_without_one(emulator: Emulator) -> None:
    # If botocore may not retry, it ignores that the body is broken: measured with 1.44.
    answer = converse(emulator, "[[cut:after:2]]")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert "output" not in answer


def test_silence_before_the_answer_is_a_read_timeout(emulator: Emulator) -> None:
    with pytest.raises(ReadTimeoutError):
        boto(emulator, read_timeout=0.3).converse(modelId=SONNET, messages=[user("[[silence]]")])


def test_silence_in_the_midst_is_a_read_timeout(emulator: Emulator) -> None:
    seen, error = events_until_failure(emulator, "[[silence:after:1]]", read_timeout=0.3)
    assert seen == ["messageStart", "contentBlockDelta"]
    assert isinstance(error, urllib3.exceptions.ReadTimeoutError)


def test_silence_may_pass(emulator: Emulator) -> None:
    started = time.monotonic()
    assert text(stream(emulator, "[[silence:0.2:after:1]] x")) == "Echo: [[silence:0.2:after:1]] x"
    assert text(converse(emulator, "[[silence:0.2]] x")) == "Echo: [[silence:0.2]] x"
    assert time.monotonic() - started >= 0.4


def test_a_stream_may_end_without_saying_so(emulator: Emulator) -> None:
    seen, error = events_until_failure(emulator, "[[end]]")
    assert (seen[-1], error) == ("contentBlockStop", None)
    seen, error = events_until_failure(emulator, "[[end:after:1]]")
    assert (seen, error) == (["messageStart", "contentBlockDelta"], None)


def test_the_log_tells_who_left_in_the_midst(emulator: Emulator) -> None:
    body = json.dumps({"messages": [user("[[pace:0.05]][[words:500]]")]})
    with socket.create_connection((urlsplit(emulator.url).hostname, urlsplit(emulator.url).port)) as peer:
        head = f"POST /model/{quote(SONNET)}/converse-stream HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
        peer.sendall((head + body).encode())
        assert peer.recv(15) == b"HTTP/1.1 200 OK"
        assert emulator.requests()[0]["outcome"] == "running"
    until = time.monotonic() + 5
    while emulator.requests()[0]["outcome"] == "running" and time.monotonic() < until:
        time.sleep(0.02)
    assert emulator.requests()[0]["outcome"] == "left"


def test_silent_and_paced_peers_do_not_hold_up_others(emulator: Emulator) -> None:
    client = boto(emulator)

    def ask(question: str) -> str:
        return text(client.converse(modelId=SONNET, messages=[user(question)]))

    with ThreadPoolExecutor(20) as pool:
        slow = [pool.submit(ask, f"{marker} x") for marker in ("[[silence:1.5]]", "[[wait:1.5]]") for _ in range(10)]
        while len(emulator.requests()) < len(slow):
            time.sleep(0.02)
        assert ask("quick") == "Echo: quick"
        assert not any(call.done() for call in slow)
        assert all(call.result().startswith("Echo: ") for call in slow)
