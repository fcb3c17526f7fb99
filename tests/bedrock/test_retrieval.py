"""Knowledge bases of AWS are searched in time, and say in one sentence why they find nothing."""

import logging
import threading
import time
from typing import Any

import pytest

from bedrock_chat.bedrock.agent_calls import CallFault, Denied, Empty, Gone, Refused, Throttled, TimedOut, Unreachable
from bedrock_chat.bedrock.retrieval import RetrievedPassage, passage_of, retrieve
from bedrock_chat.process.interruption import Interrupted, Interruption
from tests.emulator import Emulator
from tests.servers import free_port
from tests.together import wait_for

BASE = "HANDBOOK01"


def search(base: str = BASE, query: str = "leave", **options: Any) -> list[RetrievedPassage]:
    arguments = {
        "max_results": 3,
        "search_type": "hybrid",
        "filters": None,
        "deadline": time.monotonic() + 10,
        "interruption": Interruption(),
    }
    return retrieve(base, query, **{**arguments, **options})


def bodies(emulator: Emulator) -> list[dict[str, Any]]:
    return [
        request["body"]["retrievalConfiguration"]["vectorSearchConfiguration"]
        for request in emulator.requests()
        if request["operation"] == "Retrieve"
    ]


def test_passages_come_with_their_documents(emulator: Emulator) -> None:
    passages = search()
    assert len(passages) == 3
    first = passages[0]
    assert (first.text, first.source_name, first.source_link, first.page_number) == (
        "Passage 1 about: leave",
        "handbook-1.pdf",
        "s3://documents/handbook-1.pdf",
        1,
    )


def test_a_base_is_asked_as_the_bot_says(emulator: Emulator) -> None:
    filters = {"equals": {"key": "team", "value": "blue"}}
    search(max_results=500, search_type="semantic", filters=filters)
    search(max_results=0)
    assert bodies(emulator) == [
        {"numberOfResults": 100, "overrideSearchType": "SEMANTIC", "filter": filters},
        {"numberOfResults": 1, "overrideSearchType": "HYBRID"},
    ]


def test_a_search_type_that_the_base_refuses_is_repeated_as_semantic_and_logged(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(search("SEMANTIC01", "my secret question")) == 3
    assert [body["overrideSearchType"] for body in bodies(emulator)] == ["HYBRID", "SEMANTIC"]
    assert "refuses hybrid searches" in caplog.text
    assert "my secret question" not in caplog.text


@pytest.mark.parametrize(
    ("base", "fault", "reason"),
    [
        ("GONE000001", Gone, "The knowledge base does not exist any more."),
        ("EMPTY00001", Empty, "The knowledge base found nothing."),
        ("THROTTLED1", Throttled, "The knowledge base is throttled just now: too many requests."),
        ("DENIED0001", Denied, "This server may not use the knowledge base."),
        ("short", Refused, "The knowledge base refused the request as invalid."),
    ],
)
def test_a_base_without_an_answer_says_why_in_a_sentence(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, base: str, fault: type[CallFault], reason: str
) -> None:
    with pytest.raises(CallFault) as raised:
        search(base, "my secret question")
    assert (type(raised.value), raised.value.reason) == (fault, reason)
    assert "my secret question" not in caplog.text


def test_a_base_that_has_not_what_is_to_be_filtered_by_is_not_asked_twice(emulator: Emulator) -> None:
    with pytest.raises(Refused):
        search(filters={"equals": {"key": "a", "value": 1}, "notEquals": {"key": "a", "value": 1}})
    assert len(bodies(emulator)) == 1


@pytest.mark.parametrize("code", ["InternalServerException", "BadGatewayException", "DependencyFailedException"])
def test_any_other_fault_of_aws_is_a_fault_of_the_base(emulator: Emulator, code: str) -> None:
    emulator.agents(troubles=[{"operation": "Retrieve", "fault": code}])
    with pytest.raises(CallFault, match=r"The knowledge base failed to answer\."):
        search()
    assert search()


def test_a_base_that_hangs_costs_its_deadline(emulator: Emulator) -> None:
    started = time.monotonic()
    with pytest.raises(TimedOut, match="did not answer in time"):
        search("HANG000001", deadline=time.monotonic() + 0.3)
    assert time.monotonic() - started < 2
    with pytest.raises(TimedOut):
        search(deadline=time.monotonic())
    assert search()


def test_a_stop_leaves_a_base_at_once(emulator: Emulator) -> None:
    interruption = Interruption()
    threading.Timer(0.2, interruption.request).start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        search("HANG000001", interruption=interruption)
    assert time.monotonic() - started < 1.2
    wait_for(lambda: emulator.requests()[-1]["outcome"] == "left")
    with pytest.raises(Interrupted):
        search(interruption=interruption)
    assert len(bodies(emulator)) == 1


def test_a_service_that_is_not_there_is_said_to_be_so(emulator: Emulator, settings: Any) -> None:
    settings.BEDROCK_AGENT_RUNTIME_ENDPOINT_URL = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unreachable, match="cannot be reached"):
        search()


@pytest.mark.parametrize(
    ("location", "name", "link"),
    [
        ({"type": "S3", "s3Location": {"uri": "s3://b/a/x%20y.pdf"}}, "x y.pdf", "s3://b/a/x%20y.pdf"),
        ({"type": "WEB", "webLocation": {"url": "https://a.example/b"}}, "https://a.example/b", "https://a.example/b"),
        ({"type": "CUSTOM", "customDocumentLocation": {"id": "d-1"}}, "d-1", "d-1"),
        ({"type": "SQL", "sqlLocation": {"query": "SELECT 1"}}, "SELECT 1", "SELECT 1"),
        ({"type": "NEW"}, None, None),
    ],
)
def test_every_kind_of_source_has_a_name(location: dict[str, Any], name: str | None, link: str | None) -> None:
    passage = passage_of({"content": {"text": "x"}, "location": location})
    assert (passage.source_name, passage.source_link) == (name, link)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"text": "a\0b"}, "a\ufffdb"),
        (
            {"row": [{"columnName": "city", "columnValue": "Bern"}, {"columnName": "n", "columnValue": "1"}]},
            "city: Bern, n: 1",
        ),
        ({"byteContent": "data:image/png;base64,xx"}, "(1 image that is not shown)"),
        ({"audio": {"transcription": "Hello."}}, "Hello."),
        ({"video": {"s3Uri": "s3://x"}}, "(1 video that is not shown)"),
    ],
)
def test_what_is_no_text_is_named(content: dict[str, Any], text: str) -> None:
    assert passage_of({"content": content}).text == text


def test_faults_for_operators_are_errors_in_the_log(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    for base in ("GONE000001", "THROTTLED1"):
        with pytest.raises(CallFault):
            search(base)
    levels = [record.levelno for record in caplog.records if "gave no answer" in record.message]
    assert levels == [logging.ERROR, logging.WARNING]
