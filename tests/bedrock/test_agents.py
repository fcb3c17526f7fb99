"""Agents of AWS are asked in time, their answers are read whole, and what they cannot do is one sentence."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bedrock_chat.bedrock import agents
from bedrock_chat.bedrock.agent_calls import CallFault, Cut, Gone, Misconfigured, Throttled, TimedOut
from bedrock_chat.bedrock.agents import AgentAnswer, NoAnswer, TooLong, WantsControl
from bedrock_chat.process.interruption import Interrupted, Interruption
from tests.emulator import Emulator
from tests.together import wait_for

AGENT, ALIAS, SESSION = "ORDERS0001", "TSTALIASID", "conversation-1:bot.2"


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    agents.forget()
    yield
    agents.forget()


def invoke(agent: str = AGENT, text: str = "Where is it?", *, alias: str = ALIAS, **options: Any) -> AgentAnswer:
    arguments = {"session_id": SESSION, "deadline": time.monotonic() + 10, "interruption": Interruption()}
    return agents.invoke(agent, alias, text, **{**arguments, **options})


def describe(agent: str = AGENT, **options: Any) -> str:
    arguments = {"otherwise": "stored", "deadline": time.monotonic() + 10, "interruption": Interruption()}
    return agents.describe(agent, **{**arguments, **options})


def operations(emulator: Emulator) -> list[str]:
    return [request["operation"] for request in emulator.requests()]


def test_an_answer_is_one_text_though_letters_are_cut_in_two(emulator: Emulator) -> None:
    text = "Größe: 5 €, 你好 🎉 — done"
    emulator.agents(text=text)
    assert invoke().text == text


def test_an_agent_is_asked_in_its_session_and_without_a_trace(emulator: Emulator) -> None:
    assert invoke().text == "Agent answer to: Where is it? — ✓ done."
    [request] = emulator.requests()
    assert request["path"] == "/agents/ORDERS0001/agentAliases/TSTALIASID/sessions/conversation-1%3Abot.2/text"
    assert request["body"] == {"inputText": "Where is it?", "enableTrace": False}


def test_what_an_agent_cites_comes_with_its_documents(emulator: Emulator) -> None:
    reference = {
        "content": {"text": "Orders ship on Monday."},
        "location": {"type": "S3", "s3Location": {"uri": "s3://orders/faq.md"}},
    }
    part = {"textResponsePart": {"text": "On Monday.", "span": {"start": 0, "end": 9}}}
    emulator.agents(text="On Monday.", citations=[{"generatedResponsePart": part, "retrievedReferences": [reference]}])
    [citation] = invoke().citations
    assert (citation.text, citation.source_name, citation.source_link) == (
        "Orders ship on Monday.",
        "faq.md",
        "s3://orders/faq.md",
    )


@pytest.mark.parametrize(("name", "most", "kept"), [("MOST_CITATIONS", 3, 3), ("MOST_CITED", 40, 2)])
def test_of_many_citations_the_first_are_kept(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, name: str, most: int, kept: int
) -> None:
    monkeypatch.setattr(agents, name, most)
    references = [{"content": {"text": f"A passage of 20 : {n}"}} for n in range(10)]
    part = {"textResponsePart": {"text": "x", "span": {"start": 0, "end": 1}}}
    emulator.agents(text="x", citations=[{"generatedResponsePart": part, "retrievedReferences": references}])
    assert [passage.text[-1] for passage in invoke().citations] == [str(n) for n in range(kept)]


@pytest.mark.parametrize(
    ("agent", "fault", "reason"),
    [
        ("GONE000001", Gone, "The Bedrock agent does not exist any more."),
        ("EMPTY00001", NoAnswer, "The Bedrock agent answered nothing."),
        ("THROTTLED1", Throttled, "The Bedrock agent is throttled just now: too many requests."),
        ("RETURN0001", WantsControl, "The Bedrock agent asked for an action that this server does not take."),
        ("FAULT00001", CallFault, "The Bedrock agent failed to answer."),
        ("CUT0000001", Cut, "The connection to the Bedrock agent broke before its answer was complete."),
        ("no id", Misconfigured, "The id of the Bedrock agent is not a valid one."),
        ("../agents", Misconfigured, "The id of the Bedrock agent is not a valid one."),
    ],
)
def test_an_agent_without_an_answer_says_why_in_a_sentence(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, agent: str, fault: type[CallFault], reason: str
) -> None:
    with pytest.raises(CallFault) as raised:
        invoke(agent, "my secret question")
    assert (type(raised.value), raised.value.reason) == (fault, reason)
    assert "my secret question" not in caplog.text
    assert invoke().text, "the connection of a call that failed is not used again"


@pytest.mark.parametrize("options", [{"alias": "a/b"}, {"alias": ""}, {"session_id": "x"}, {"session_id": "x" * 101}])
def test_illegal_ids_are_never_sent(emulator: Emulator, options: dict[str, str]) -> None:
    with pytest.raises(Misconfigured):
        invoke(**options)
    assert emulator.requests() == []


def test_an_answer_without_end_is_left(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "MOST_BYTES", 100)
    emulator.agents(text="x" * 101)
    with pytest.raises(TooLong):
        invoke()


def test_an_agent_that_hangs_in_the_midst_costs_its_deadline(emulator: Emulator) -> None:
    started = time.monotonic()
    with pytest.raises(TimedOut):
        invoke("HANG000001", deadline=time.monotonic() + 0.3)
    assert time.monotonic() - started < 2
    assert invoke().text


def test_a_stop_leaves_an_agent_at_once_in_the_midst_of_its_answer(emulator: Emulator) -> None:
    interruption = Interruption()
    threading.Timer(0.2, interruption.request).start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        invoke("HANG000001", interruption=interruption)
    assert time.monotonic() - started < 1.2
    wait_for(lambda: emulator.requests()[-1]["outcome"] == "left")


# ---- Descriptions ---------------------------------------------------------------------------------------------------


def test_an_agent_is_described_in_its_makers_words_once_in_ten_minutes(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [describe(), describe()] == ["What agent ORDERS0001 is for."] * 2
    assert operations(emulator) == ["GetAgent"]
    later = time.monotonic() + 601
    monkeypatch.setattr(agents.time, "monotonic", lambda: later)
    describe(deadline=later + 10)
    assert operations(emulator) == ["GetAgent"] * 2


@pytest.mark.parametrize("agent", ["GONE000001", "THROTTLED1", "no id"])
def test_an_agent_that_cannot_be_described_has_its_stored_description_and_is_not_asked_in_every_turn(
    emulator: Emulator, agent: str
) -> None:
    assert [describe(agent), describe(agent)] == ["stored"] * 2
    assert len(emulator.requests()) <= 1


def test_an_agent_without_a_description_has_its_stored_one(emulator: Emulator) -> None:
    emulator.agents(description="")
    assert describe() == "stored"
