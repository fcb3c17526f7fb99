"""Converse, past botocore: what is sent is what botocore would send at that moment, and so is what is raised."""

from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from bedrock_chat.bedrock import clients, faults, signatures
from bedrock_chat.bedrock.converse_calls import ConverseCalls
from bedrock_chat.bedrock.events import Closed, TextDelta, ToolUse
from tests.bedrock.asking import ask, hello, request_to_model
from tests.bedrock.scripted import ScriptedBedrock, Whole, refuses, says

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
VARYING = ("X-Amz-Date", "Authorization", "amz-sdk-invocation-id")
ENDPOINTS = [
    None,  # of AWS
    "http://127.0.0.1:8080",
    "https://gateway.example:443/models/v 1",
    "https://Gateway.Example/~models/",
    "https://[::1]:8443",
]
MODEL_IDS = st.sampled_from(
    [
        "amazon.nova-pro-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2/c3",
    ]
) | st.text(min_size=1, max_size=40).filter(lambda text: text.strip(".") and text.isprintable())
SECRETS = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=40)
CREDENTIALS = st.builds(Credentials, SECRETS, SECRETS | st.just("a/b+c="), st.none() | SECRETS)
BODIES = st.fixed_dictionaries(
    {"messages": st.lists(st.builds(lambda text: {"role": "user", "content": [{"text": text}]}, st.text()), max_size=3)}
)


class Sent:
    """A boto3 client whose requests are kept instead of sent."""

    def __init__(self, endpoint: str | None) -> None:
        self.client = boto3.client(
            "bedrock-runtime",
            region_name="eu-west-3",
            endpoint_url=endpoint,
            aws_access_key_id="x",
            aws_secret_access_key="x",
            config=Config(user_agent="bedrock-chat", parameter_validation=False),
        )
        self.client.meta.events.register("before-send.bedrock-runtime", self._keep)
        self.requests: list[Any] = []

    def _keep(self, request: Any, **_: Any) -> AWSResponse:
        self.requests.append(request)
        return AWSResponse(request.url, 200, {}, _NoBody())

    def request(self, operation: str, credentials: Credentials, model_id: str, body: dict[str, Any]) -> Any:
        signer = self.client._request_signer
        signer._credentials = credentials
        getattr(self.client, operation)(modelId=model_id, **body)
        return self.requests.pop()


class _NoBody:
    def stream(self) -> Any:
        return iter(())


SENT = {endpoint: Sent(endpoint) for endpoint in ENDPOINTS}


@given(
    endpoint=st.sampled_from(ENDPOINTS),
    operation=st.sampled_from(["converse", "converse_stream"]),
    model_id=MODEL_IDS,
    first=CREDENTIALS,
    later=CREDENTIALS,
    body=BODIES,
)
def test_any_request_has_the_address_the_headers_and_the_signature_that_botocore_gives_it(
    endpoint: str | None, operation: str, model_id: str, first: Credentials, later: Credentials, body: dict[str, Any]
) -> None:
    sent = SENT[endpoint]
    pattern = signatures.Pattern.of(sent.request(operation, first, model_id, {"messages": []}), first)
    assert pattern is not None
    theirs = sent.request(operation, later, model_id, body)
    headers = {name: value if isinstance(value, str) else value.decode() for name, value in theirs.headers.items()}
    at, invocation_id = headers["X-Amz-Date"], headers["amz-sdk-invocation-id"]
    ours = pattern.signed_headers(theirs.body, later, at, invocation_id)
    assert list(ours.items()) == list(headers.items())
    assert pattern.url == theirs.url


@BOTH
def test_bedrock_gets_the_same_from_us_and_from_boto3(bedrock: ScriptedBedrock, stream: bool) -> None:
    bedrock.play(hello(stream=stream))
    client = clients.bedrock_runtime()
    request = request_to_model("語 ☕")
    ask(request, stream=stream)
    send = client.converse_stream if stream else client.converse
    answer = send(modelId=request.target.model_id, **request.body)
    if stream:
        list(answer["stream"])
    ours, theirs = bedrock.requests
    assert ours[0] == theirs[0]
    assert ours[2] == theirs[2]
    assert list(ours[1]) == list(theirs[1])
    assert [value for name, value in ours[1].items() if name not in VARYING] == [
        value for name, value in theirs[1].items() if name not in VARYING
    ]


@BOTH
def test_a_model_is_learned_without_a_request(bedrock: ScriptedBedrock, stream: bool) -> None:
    bedrock.play(hello(stream=stream))
    ask(stream=stream)
    assert len(bedrock.requests) == 1


@BOTH
def test_what_has_a_header_that_is_not_understood_is_sent_by_botocore(bedrock: ScriptedBedrock, stream: bool) -> None:
    def add_header(request: Any, **_: Any) -> None:
        request.headers["X-Amzn-Trace-Id"] = f"of {len(request.body)} bytes"

    bedrock.play(hello(stream=stream))
    clients.bedrock_runtime().meta.events.register("before-sign.bedrock-runtime", add_header)
    assert isinstance(ask(stream=stream)[-1], Closed)
    [(_, headers, body)] = bedrock.requests
    assert headers["X-Amzn-Trace-Id"] == f"of {headers['Content-Length']} bytes"
    assert body == request_to_model().body


def test_a_bearer_token_is_sent_by_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "token")
    sent = Sent("https://gateway.example")
    sent.client._request_signer._credentials = None
    calls = ConverseCalls(sent.client)
    calls.converse("some-model", {"messages": [{"role": "user", "content": [{"text": "hello"}]}]})
    assert [request.headers["Authorization"] for request in sent.requests] == [b"Bearer token"] * 2
    assert b"hello" in sent.requests[-1].body


@BOTH
def test_new_credentials_sign_the_next_request(bedrock: ScriptedBedrock, stream: bool) -> None:
    bedrock.play(hello(stream=stream))
    ask(stream=stream)
    credentials = clients.bedrock_runtime()._get_credentials()
    before = credentials.access_key, credentials.secret_key, credentials.token
    try:
        credentials.access_key, credentials.secret_key, credentials.token = "new", "secret", "of an hour"
        ask(stream=stream)
    finally:
        credentials.access_key, credentials.secret_key, credentials.token = before
    old, new = [headers for _, headers, _ in bedrock.requests]
    assert "Credential=emulator/" in old["Authorization"]
    assert "X-Amz-Security-Token" not in old
    assert "Credential=new/" in new["Authorization"]
    assert "x-amz-security-token, " in new["Authorization"]
    assert new["X-Amz-Security-Token"] == "of an hour"


@pytest.mark.parametrize("body", [{}, [], "text", None], ids=["empty", "a list", "a text", "null"])
def test_a_good_status_without_an_answer_is_an_incomplete_answer(bedrock: ScriptedBedrock, body: Any) -> None:
    bedrock.play(Whole(body))
    with pytest.raises(faults.Incomplete):
        ask(stream=False)


def test_a_member_that_is_null_is_not_there(bedrock: ScriptedBedrock) -> None:
    use = {"toolUseId": "t", "name": "look", "input": None}
    blocks = [{"text": None, "toolUse": use}, {"reasoningContent": {"reasoningText": None}}, {"text": "Hello"}]
    bedrock.play(says(*blocks, usage={"inputTokens": 3, "outputTokens": None}, trace=None, additionalField=None))
    events = ask(stream=False)
    assert [event for event in events if isinstance(event, ToolUse | TextDelta)] == [
        ToolUse("t", "look", {}, 0),
        TextDelta("Hello", 2),
    ]
    bedrock.play(Whole({"output": None, "stopReason": None, "usage": None}))
    with pytest.raises(faults.Incomplete):
        ask(stream=False)


@BOTH
def test_a_refusal_is_what_boto3_raises(bedrock: ScriptedBedrock, stream: bool) -> None:
    bedrock.play(refuses("ThrottlingException", 429, "Too many tokens.", retry_after="7"))
    request = request_to_model()
    calls, client = clients.converse_calls(), clients.bedrock_runtime()
    with pytest.raises(client.exceptions.ThrottlingException) as ours:
        (calls.converse_stream if stream else calls.converse)(request.target.model_id, request.body)
    with pytest.raises(client.exceptions.ThrottlingException) as theirs:
        (client.converse_stream if stream else client.converse)(modelId=request.target.model_id, **request.body)
    [our_response, their_response] = [raised.value.response for raised in (ours, theirs)]
    assert (
        our_response["Error"]
        == their_response["Error"]
        == {"Code": "ThrottlingException", "Message": "Too many tokens."}
    )
    [our_metadata, their_metadata] = [one["ResponseMetadata"] for one in (our_response, their_response)]
    assert our_metadata["HTTPStatusCode"] == their_metadata["HTTPStatusCode"] == 429
    assert our_metadata["HTTPHeaders"]["retry-after"] == their_metadata["HTTPHeaders"]["retry-after"] == "7"
