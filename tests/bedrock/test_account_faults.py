"""Whose fault it is: what AWS refuses because of the account or the configuration is a 502 and an error in the log,
whatever AWS calls it, and never the client's doing.
"""

import logging
from typing import Any

import pytest

from bedrock_chat.bedrock import catalog, faults, retrying, runtime
from bedrock_chat.bedrock.events import Closed, Event, MessageStart, Retrying
from bedrock_chat.bedrock.request import ModelRequest, compose
from bedrock_chat.bedrock.tools import ToolSpec
from bedrock_chat.wire.errors import body_of
from tests.bedrock.asking import ask, hello, kinds, request_to_model
from tests.bedrock.scripted import ScriptedBedrock, Stream, exception, refuses
from tests.emulator import Emulator

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])

MARKETPLACE = (
    "Model access is denied due to {}. Your AWS Marketplace subscription for this model cannot be completed at this "
    "time."
)
ACCOUNT_FAULTS = [
    # AWS's sentence, our class, what the log advises
    ("The provided model doesn't support on-demand throughput.", faults.UnknownModel, "inference profile"),
    (
        "Invocation of model ID amazon.nova-lite-v1:0 with on-demand throughput isn’t supported. Retry your request "
        "with the ID or ARN of an inference profile that contains this model.",
        faults.UnknownModel,
        "CROSS_REGION_INFERENCE",
    ),
    ("The provided model identifier is invalid.", faults.UnknownModel, "not in this region"),
    ("Operation not allowed", faults.AccountRestricted, "restricted or not verified"),
    ("Your account is not authorized to invoke this API operation.", faults.AccountRestricted, "may not use the model"),
    (
        "Access to this model is not available for channel program accounts. Reach out to your AWS Solution Provider "
        "or AWS Distributor for more information.",
        faults.AccountRestricted,
        "reseller",
    ),
    ("data retention mode 'default' is not available for this model", faults.AccountRestricted, "data retention"),
    ("anthropic.claude-x is not available for this account.", faults.AccountRestricted, "not open to the account"),
    ("You don't have access to the model with the specified model ID.", faults.AccessDenied, "has not been granted"),
    (
        "User: arn:aws:iam::123456789012:user/app is not authorized to perform: bedrock:InvokeModel on resource: arn:x "
        "with an explicit deny in a service control policy",
        faults.AccessDenied,
        "service control policy",
    ),
    (
        MARKETPLACE.format("INVALID_PAYMENT_INSTRUMENT:A valid payment instrument must be provided."),
        faults.AccountRestricted,
        "payment instrument",
    ),
    (
        MARKETPLACE.format(
            "IAM user or service role is not authorized to perform the required AWS Marketplace actions"
        ),
        faults.AccountRestricted,
        "Marketplace",
    ),
    (
        "Your account is not authorized to access this model. Your AWS Marketplace subscription for this model is "
        "still being processed",
        faults.AccountRestricted,
        "Marketplace",
    ),
    (
        "Model use case details have not been submitted for this account. Fill out the Anthropic use case details form "
        "before using the model. If you have already filled out the form, try again in 15 minutes.",
        faults.AccountRestricted,
        "use case form",
    ),
    (
        "Access denied. This Model is marked by provider as Legacy and you have not been actively using the model in "
        "the last 30 days. Please upgrade to an active model on Amazon Bedrock",
        faults.Retired,
        "legacy",
    ),
    (
        "This model version has reached the end of its life. Please refer to the AWS documentation for more details.",
        faults.Retired,
        "end of life",
    ),
]


@pytest.mark.parametrize(
    ("code", "status"),
    [("ValidationException", 400), ("AccessDeniedException", 403), ("ResourceNotFoundException", 404)],
)
def test_a_fault_of_the_account_is_the_operators_whatever_aws_calls_it(
    bedrock: ScriptedBedrock, caplog: pytest.LogCaptureFixture, code: str, status: int
) -> None:
    bedrock.play(*(refuses(code, status, sentence) for sentence, *_ in ACCOUNT_FAULTS))
    for sentence, kind, remedy in ACCOUNT_FAULTS:
        caplog.clear()
        with caplog.at_level(logging.INFO, logger=retrying.__name__), pytest.raises(kind) as caught:
            ask(stream=False)
        assert (caught.value.status_code, caught.value.code, caught.value.for_operators) == (502, code, True), sentence
        [record] = caplog.records
        assert (record.levelno, remedy in record.getMessage()) == (logging.ERROR, True), sentence
        assert "arn:" not in f"{body_of(caught.value)}{record.getMessage()}"
    assert len(bedrock.requests) == len(ACCOUNT_FAULTS)


@pytest.mark.parametrize("sentence", ["Operation not allowed", "The provided model identifier is invalid."])
def test_so_it_is_in_a_stream(bedrock: ScriptedBedrock, sentence: str) -> None:
    bedrock.play(Stream((exception("validationException", sentence),)))
    with pytest.raises(faults.ModelFault) as caught:
        ask(stream=True)
    assert (caught.value.status_code, caught.value.for_operators) == (502, True)


@pytest.mark.parametrize(
    "sentence",
    [
        "The model returned the following errors: messages.0: operation not allowed",
        "The model returned the following errors: tools.0: the name 'end of its life' is not valid",
        "The maximum document size is 4.5 MB. Reduce the size of your document and retry your request.",
        "messages.0.content.2.type: Field required",
    ],
)
def test_what_the_model_says_of_the_request_is_the_clients(bedrock: ScriptedBedrock, sentence: str) -> None:
    bedrock.play(refuses("ValidationException", 400, sentence))
    with pytest.raises(faults.Invalid) as caught:
        ask(stream=False)
    assert (caught.value.status_code, caught.value.for_operators) == (400, False)
    assert sentence in str(caught.value.detail)


@pytest.mark.parametrize(("code", "status"), [("NotAuthorized", 400), ("RequestExpired", 400), ("SomethingNew", 400)])
def test_a_400_that_is_no_validation_exception_is_not_the_clients(
    bedrock: ScriptedBedrock, code: str, status: int
) -> None:
    bedrock.play(refuses(code, status))
    with pytest.raises(faults.ModelFault) as caught:
        ask(stream=False)
    assert caught.value.status_code == 502


# ---- Quotas and overload --------------------------------------------------------------------------------------------

PER_DAY = "Too many tokens per day, please wait before trying again."


@BOTH
def test_a_daily_quota_is_not_retried_and_says_so(emulator: Emulator, settings: Any, stream: bool) -> None:
    settings.MODEL_RETRY_SECONDS = 5
    emulator.script(fault="ThrottlingException", message=PER_DAY)
    with pytest.raises(faults.DailyQuotaExceeded) as caught:
        ask(stream=stream)
    assert (caught.value.status_code, caught.value.for_operators) == (502, True)
    assert "for today" in str(caught.value.detail)
    assert "Retry-After" not in caught.value.headers
    assert len(emulator.requests()) == 1


def test_a_daily_quota_that_ends_in_a_stream_is_one_too(bedrock: ScriptedBedrock, settings: Any) -> None:
    settings.MODEL_RETRY_SECONDS = 5
    bedrock.play(Stream((exception("throttlingException", PER_DAY),)))
    with pytest.raises(faults.DailyQuotaExceeded):
        ask(stream=True)
    assert len(bedrock.requests) == 1


@BOTH
@pytest.mark.parametrize("words", ["Too many tokens", "Too many requests", "Too many connections"])
def test_other_throttling_is_retried(bedrock: ScriptedBedrock, settings: Any, words: str, stream: bool) -> None:
    settings.MODEL_RETRY_SECONDS = 5
    sentence = f"{words}, please wait before trying again."
    bedrock.play(refuses("ThrottlingException", 429, sentence), hello(stream=stream))
    assert kinds(ask(stream=stream))[:2] == [Retrying, MessageStart]


def test_an_overload_is_retried_when_bedrock_says(emulator: Emulator, settings: Any) -> None:
    settings.MODEL_RETRY_SECONDS = 5
    emulator.script(fault="overloaded_error", times=1)
    events = ask(stream=True)
    assert events[0] == Retrying(1.0)
    assert isinstance(events[-1], Closed)
    assert [entry["status"] for entry in emulator.requests()] == [529, 200]


@pytest.mark.parametrize("code", ["overloaded_error", "OverloadedException", ""])
def test_an_overload_that_lasts_is_503(bedrock: ScriptedBedrock, code: str) -> None:
    bedrock.play(refuses(code, 529, Retry_After="7"))
    with pytest.raises(faults.Unavailable) as caught:
        ask(stream=False)
    assert (caught.value.status_code, caught.value.headers["Retry-After"]) == (503, "7")


def test_mistrals_words_for_a_full_window_are_known_under_its_code(bedrock: ScriptedBedrock) -> None:
    sentence = (
        "Prompt contains 248198 tokens and 0 draft tokens, too large for model with 131072 maximum context length"
    )
    bedrock.play(refuses("ModelErrorException", 424, sentence))
    with pytest.raises(faults.TooLong) as caught:
        ask(stream=False)
    assert caught.value.status_code == 400


# ---- Caching that is refused ----------------------------------------------------------------------------------------

NOT_CACHED = "You invoked an unsupported model or your request did not allow prompt caching. See the documentation."


def marked_request() -> ModelRequest:
    model = catalog.find("claude-v3.7-sonnet")
    return compose(
        model,
        catalog.Target(model.bedrock_id, "us-east-1"),
        [{"role": "user", "content": [{"text": "hello"}]}],
        instruction="Be kind.",
        tools=[ToolSpec("t", "d", {"type": "object"})],
    )


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_not_caching", set())


@pytest.mark.usefixtures("forgetful")
@BOTH
@pytest.mark.parametrize("code", ["AccessDeniedException", "ValidationException"])
def test_a_call_whose_caching_is_refused_is_made_without_and_so_are_later_ones(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, code: str, stream: bool
) -> None:
    emulator.script(fault=code, message=NOT_CACHED, times=1)
    with caplog.at_level(logging.INFO, logger=retrying.__name__):
        first, second = ask(marked_request(), stream=stream), ask(marked_request(), stream=stream)
    assert kinds(first)[0] is kinds(second)[0] is MessageStart
    marks = [str(entry["body"]).count("cachePoint") for entry in emulator.requests()]
    assert marks == [3, 0, 0]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "without cache points" in caplog.text


@pytest.mark.usefixtures("forgetful")
def test_another_model_is_still_cached(emulator: Emulator) -> None:
    emulator.script(fault="AccessDeniedException", message=NOT_CACHED, times=1)
    ask(marked_request(), stream=False)
    other = compose(
        catalog.find("claude-v4.5-haiku"),
        catalog.Target(catalog.find("claude-v4.5-haiku").bedrock_id, "us-east-1"),
        [{"role": "user", "content": [{"text": "hello"}]}],
    )
    ask(other, stream=False)
    assert "cachePoint" in str(emulator.requests()[-1]["body"])


@pytest.mark.usefixtures("forgetful")
def test_a_refusal_of_a_call_without_cache_points_is_raised(bedrock: ScriptedBedrock) -> None:
    bedrock.play(refuses("AccessDeniedException", 403, NOT_CACHED))
    events: list[Event] = []
    with pytest.raises(faults.CachingRefused) as caught:
        ask(request_to_model(), stream=False, into=events)
    assert (caught.value.status_code, events, len(bedrock.requests)) == (502, [], 1)
    with pytest.raises(faults.CachingRefused):
        ask(marked_request(), stream=False)
    assert len(bedrock.requests) == 3


@pytest.mark.parametrize("phrase", [phrase for phrase, _, _ in faults.OPERATORS_WORDS])
def test_a_field_that_aws_quotes_is_the_clients_whatever_it_says(phrase: str) -> None:
    message = (
        f"1 validation error detected: Value '{phrase}' at 'toolConfig.tools' failed to satisfy constraint: Member"
    )
    assert faults.of("ValidationException", message).status_code == 400
