"""The emulator's guardrails, through a plain boto3 client: what AWS refuses is refused, and they intervene."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.bedrock.boto import assistant, converse, stream, text, user
from tests.emulator import Emulator

FILTERS = [{"type": "HATE", "inputStrength": "LOW", "outputStrength": "HIGH"}]
SETTINGS: dict[str, Any] = {
    "name": "mine",
    "contentPolicyConfig": {"filtersConfig": FILTERS},
    "blockedInputMessaging": "No question.",
    "blockedOutputsMessaging": "No answer.",
}


@pytest.fixture
def bedrock(emulator: Emulator) -> Any:
    return boto3.client(
        "bedrock",
        region_name="us-east-1",
        endpoint_url=emulator.url,
        aws_access_key_id="emulator",
        aws_secret_access_key="emulator",
        config=Config(retries={"total_max_attempts": 1}),
    )


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    code: str = refused.value.response["Error"]["Code"]
    return code


def made(bedrock: Any, **settings: Any) -> str:
    arn: str = bedrock.create_guardrail(**{**SETTINGS, **settings})["guardrailArn"]
    return arn


def plan(emulator: Emulator, **fields: Any) -> None:
    emulator.control("POST", "guardrails", fields)


def test_a_guardrail_is_made_changed_given_versions_and_deleted(bedrock: Any) -> None:
    arn = made(bedrock, tags=[{"key": "owner", "value": "alice"}])
    assert bedrock.get_guardrail(guardrailIdentifier=arn)["status"] == "READY"
    assert bedrock.create_guardrail_version(guardrailIdentifier=arn)["version"] == "1"
    changed = [{"type": "VIOLENCE", "inputStrength": "HIGH", "outputStrength": "HIGH"}]
    bedrock.update_guardrail(guardrailIdentifier=arn, **{**SETTINGS, "contentPolicyConfig": {"filtersConfig": changed}})
    assert bedrock.create_guardrail_version(guardrailIdentifier=arn)["version"] == "2"
    for number, filters in (("1", FILTERS), ("2", changed), ("DRAFT", changed)):
        guardrail = bedrock.get_guardrail(guardrailIdentifier=arn.rpartition("/")[2], guardrailVersion=number)
        assert (guardrail["version"], guardrail["contentPolicy"]["filters"]) == (number, filters)
    assert bedrock.list_tags_for_resource(resourceARN=arn)["tags"] == [{"key": "owner", "value": "alice"}]
    bedrock.delete_guardrail(guardrailIdentifier=arn, guardrailVersion="1")
    listed = bedrock.list_guardrails(guardrailIdentifier=arn)["guardrails"]
    assert sorted(entry["version"] for entry in listed) == ["2", "DRAFT"]
    assert refusal(bedrock.get_guardrail, guardrailIdentifier=arn, guardrailVersion="1") == "ResourceNotFoundException"
    bedrock.delete_guardrail(guardrailIdentifier=arn)
    assert bedrock.list_guardrails()["guardrails"] == []
    assert refusal(bedrock.get_guardrail, guardrailIdentifier=arn) == "ResourceNotFoundException"


def test_lists_come_page_by_page(bedrock: Any) -> None:
    for number in range(5):
        made(bedrock, name=f"number-{number}")
    pages = list(bedrock.get_paginator("list_guardrails").paginate(PaginationConfig={"PageSize": 2}))
    assert [len(page["guardrails"]) for page in pages] == [2, 2, 1]


def test_the_same_token_does_nothing_twice(bedrock: Any) -> None:
    assert made(bedrock, clientRequestToken="a") == made(bedrock, clientRequestToken="a")
    arn = made(bedrock, clientRequestToken="a")
    for token, number in (("x", "1"), ("x", "1"), ("y", "2")):
        version = bedrock.create_guardrail_version(guardrailIdentifier=arn, clientRequestToken=token)
        assert version["version"] == number


def test_what_aws_refuses_is_refused(bedrock: Any, emulator: Emulator) -> None:
    arn = made(bedrock)
    assert refusal(bedrock.create_guardrail, **SETTINGS) == "ConflictException"  # the name is taken
    wrong: list[dict[str, Any]] = [
        {"name": "not a name"},
        {"name": "x" * 51},
        {"contentPolicyConfig": {"filtersConfig": [{**FILTERS[0], "type": "RUDENESS"}]}},
        {"contentPolicyConfig": {"filtersConfig": [{**FILTERS[0], "inputStrength": "SOME"}]}},
        {"blockedInputMessaging": "x" * 501},
        {"clientRequestToken": "-"},
    ]
    for fields in wrong:
        assert refusal(bedrock.create_guardrail, **{**SETTINGS, "name": "other", **fields}) == "ValidationException"
    nothing = {key: value for key, value in SETTINGS.items() if key != "contentPolicyConfig"}
    assert refusal(bedrock.create_guardrail, **{**nothing, "name": "other"}) == "ValidationException"
    plan(emulator, versions=1)
    bedrock.create_guardrail_version(guardrailIdentifier=arn)
    assert refusal(bedrock.create_guardrail_version, guardrailIdentifier=arn) == "ServiceQuotaExceededException"


def test_a_guardrail_is_on_its_way_for_as_long_as_scripted_and_is_not_touched_meanwhile(
    bedrock: Any, emulator: Emulator
) -> None:
    plan(emulator, seconds=60)
    arn = made(bedrock)
    assert bedrock.get_guardrail(guardrailIdentifier=arn)["status"] == "CREATING"
    for call in (bedrock.create_guardrail_version, bedrock.delete_guardrail):
        assert refusal(call, guardrailIdentifier=arn) == "ConflictException"
    assert refusal(bedrock.update_guardrail, guardrailIdentifier=arn, **SETTINGS) == "ConflictException"
    plan(emulator, fails="The moon is full.", **{"pass": 61})
    assert bedrock.get_guardrail(guardrailIdentifier=arn)["status"] == "READY"
    bedrock.update_guardrail(guardrailIdentifier=arn, **SETTINGS)
    guardrail = bedrock.get_guardrail(guardrailIdentifier=arn)
    assert (guardrail["status"], guardrail["statusReasons"]) == ("FAILED", ["The moon is full."])


def test_calls_go_wrong_as_scripted(bedrock: Any, emulator: Emulator) -> None:
    plan(emulator, troubles=[{"operation": "ListGuardrails", "fault": "ThrottlingException", "times": 2}])
    assert [refusal(bedrock.list_guardrails) for _ in range(2)] == ["ThrottlingException"] * 2
    assert bedrock.list_guardrails()["guardrails"] == []


# ---- Interventions --------------------------------------------------------------------------------------------------


def config(bedrock: Any, **fields: Any) -> dict[str, Any]:
    arn = made(bedrock)
    bedrock.create_guardrail_version(guardrailIdentifier=arn)
    return {"guardrailIdentifier": arn, "guardrailVersion": "1", "trace": "enabled", **fields}


@pytest.mark.parametrize(
    ("question", "sentence", "side"),
    [
        ("[[blocked]]", "No question.", "inputAssessment"),
        ("[[blocked:answer]]", "No answer.", "outputAssessments"),
    ],
)
def test_a_guardrail_intervenes_and_tells_its_trace_to_who_asks(
    bedrock: Any, emulator: Emulator, question: str, sentence: str, side: str
) -> None:
    guardrail = config(bedrock)
    answer = converse(emulator, question, guardrailConfig=guardrail)
    assert (text(answer), answer["stopReason"]) == (sentence, "guardrail_intervened")
    assert side in answer["trace"]["guardrail"]
    events = stream(emulator, question, guardrailConfig=guardrail)
    assert text(events) == sentence
    assert side in events[-1]["metadata"]["trace"]["guardrail"]
    assert "trace" not in converse(emulator, question, guardrailConfig={**guardrail, "trace": "disabled"})
    assert answer["usage"]["outputTokens"] == (0 if side == "inputAssessment" else 3)
    assert text(converse(emulator, question)).startswith("Echo")


def test_the_whole_conversation_is_judged_unless_some_of_it_is_marked(bedrock: Any, emulator: Emulator) -> None:
    guardrail = config(bedrock)
    history = (user("[[blocked]]"), assistant("No question."))
    assert text(converse(emulator, *history, user("next"), guardrailConfig=guardrail)) == "No question."
    marked = user("next", {"guardContent": {"text": {"text": "next"}}})
    assert converse(emulator, *history, marked, guardrailConfig=guardrail)["stopReason"] == "end_turn"


@pytest.mark.parametrize("fields", [{"guardrailIdentifier": "unknown"}, {"guardrailVersion": "9"}])
def test_a_guardrail_that_is_not_there_is_a_refusal(bedrock: Any, emulator: Emulator, fields: dict[str, str]) -> None:
    guardrail = config(bedrock, **fields)
    with pytest.raises(ClientError, match="guardrail identifier or version provided in the request does not exist"):
        converse(emulator, "hello", guardrailConfig=guardrail)
    with pytest.raises(ClientError, match="does not exist"):
        stream(emulator, "hello", guardrailConfig=guardrail)


def test_converse_has_no_way_of_streaming(bedrock: Any, emulator: Emulator) -> None:
    guardrail = config(bedrock, streamProcessingMode="sync")
    assert text(stream(emulator, "[[blocked]]", guardrailConfig=guardrail)) == "No question."


def test_the_marker_of_a_guardrail_needs_none(emulator: Emulator) -> None:
    answer = converse(emulator, "[[guardrail]]")
    assert (answer["stopReason"], "trace" in answer) == ("guardrail_intervened", False)
