"""A Bedrock agent is asked in one call, in a session of its caller's conversation, and answers in one part."""

import time
from collections.abc import Iterator

import pytest

from bedrock_chat.bedrock import agents
from bedrock_chat.identity.caller import Caller
from bedrock_chat.process.interruption import Interruption
from bots.configuration import Tool as Configured
from bots.tools import agent, offered, results
from bots.tools.results import text_of
from bots.tools.tool import Context, Result
from tests.bots.tools.calling import AGENT, bot, configuration, context
from tests.emulator import Emulator


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    agents.forget()
    yield
    agents.forget()


def named(agent_id: str, alias_id: str = "TSTALIASID") -> Configured:
    return {**AGENT, "bedrock_agent_config": {"agent_id": agent_id, "alias_id": alias_id}}


def ask(agent_id: str = "ORDERS0001", query: str = "q", in_context: Context | None = None) -> Result:
    configured = named(agent_id)
    return agent.tool_of(configured, "bedrock_agent").run(
        {"query": query}, in_context or context(bot(configuration(configured)))
    )


def test_the_answer_is_one_part_named_for_the_agent(emulator: Emulator) -> None:
    emulator.agents(text="Agent answer text")
    result = results.identified(ask(), "tooluse_1", cites=False)
    assert [text_of(part) for part in result.parts] == ["Agent answer text"]
    (document,) = result.documents
    assert (document.source_id, document.source_name, document.source_link, document.content) == (
        "tooluse_1",
        "Agent Final Result(ORDERS0001)",
        "",
        {"text": "Agent answer text"},
    )


def test_what_the_agent_cites_is_for_the_reader(emulator: Emulator) -> None:
    reference = {
        "content": {"text": "Orders ship on Monday."},
        "location": {"type": "S3", "s3Location": {"uri": "s3://orders/faq.md"}},
    }
    part = {"textResponsePart": {"text": "On Monday.", "span": {"start": 0, "end": 9}}}
    emulator.agents(text="On Monday.", citations=[{"generatedResponsePart": part, "retrievedReferences": [reference]}])
    result = results.identified(ask(), "tooluse_1", cites=True)
    assert len(result.parts) == 1
    assert [(shown.source_id, shown.source_name) for shown in result.documents] == [
        ("tooluse_1", "Agent Final Result(ORDERS0001)"),
        ("tooluse_1@1", "faq.md"),
    ]


def test_a_bot_that_names_no_agent_says_so_as_recorded(emulator: Emulator) -> None:
    for configured in (named(""), {**AGENT, "bedrock_agent_config": None}, {**AGENT, "tool_type": "plain"}):
        made = {
            name: value
            for name, value in configured.items()
            if configured["tool_type"] != "plain" or name != "bedrock_agent_config"
        }
        result = agent.tool_of(made, "bedrock_agent").run({"query": "q"}, context(bot(configuration())))  # type: ignore[arg-type]
        assert text_of(result.parts[0]) == "Bot does not have a Bedrock Agent configured. Query was: q"
        (document,) = result.documents
        assert (result.status, document.source_name, document.source_link) == ("error", "bedrock_agent", None)
    assert emulator.requests() == []


@pytest.mark.parametrize(
    ("agent_id", "word", "outcome"),
    [
        ("GONE000001", "does not exist", "missing"),
        ("EMPTY00001", "answered nothing", "empty"),
        ("THROTTLED1", "throttled", "throttled"),
        ("RETURN0001", "asked for an action", "failed"),
        ("FAULT00001", "failed to answer", "failed"),
        ("CUT0000001", "broke before", "failed"),
        ("../etc", "not a valid one", "settings"),
    ],
)
def test_an_agent_that_fails_is_one_sentence(emulator: Emulator, agent_id: str, word: str, outcome: str) -> None:
    result = ask(agent_id)
    assert (result.status, result.outcome) == ("error", outcome)
    (sentence,) = [text_of(part) for part in result.parts]
    assert word in sentence
    assert sentence.count(".") == 1


def test_a_conversation_has_one_session_with_a_bot_and_shares_it_with_nobody(emulator: Emulator) -> None:
    own = bot(configuration(named("ORDERS0001")))
    contexts = [
        context(own),
        context(own),
        context(own, conversation="another"),
        context(own, caller=Caller(user_id="bob")),
        context(own, caller=Caller(user_id=None, publication_id="p", key_id="k")),
    ]
    first, again, *others = [agent.session_of(each_context) for each_context in contexts]
    assert first == again
    assert len({first, *others}) == 4
    assert all(2 <= len(session) <= 100 and session.isalnum() for session in (first, *others))
    unstored = context(own, conversation="")
    assert agent.session_of(unstored) != agent.session_of(unstored)
    ask(in_context=contexts[0])
    (request,) = emulator.requests()
    assert f"/sessions/{first}/text" in request["path"]


def test_the_agent_says_itself_what_it_is_for_and_else_the_bot_does(emulator: Emulator) -> None:
    emulator.agents(description="Fake agent description")
    offer = offered.to_any(
        configuration(named("ORDERS0001"), {**named("GONE000001"), "name": "gone"}, {**named(""), "name": "no"})
    )
    specs = offered.specs(offer, Interruption())
    assert [(spec.name, spec.description) for spec in specs] == [
        ("bedrock_agent", "Fake agent description"),
        ("gone", "Asks."),
        ("no", "Asks."),
    ]
    offered.specs(offer, Interruption())
    assert len(emulator.requests()) == 2


def test_agents_that_hang_delay_a_turn_by_one_wait_and_not_by_one_each(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "DESCRIPTION_SECONDS", 1)
    hanging = [{**named(f"HANG00000{number}"), "name": f"agent{number}"} for number in range(6)]
    started = time.monotonic()
    specs = offered.specs(offered.to_any(configuration(*hanging)), Interruption())
    assert time.monotonic() - started < 4
    assert [spec.description for spec in specs] == ["Asks."] * 6


def test_an_agent_may_act_so_its_calls_are_never_run_twice() -> None:
    (tool,) = offered.to_any(configuration(AGENT)).tools
    assert not tool.is_read_only


def test_a_stop_leaves_the_bots_own_description(emulator: Emulator) -> None:
    stopped = Interruption()
    stopped.request()
    (spec,) = offered.specs(offered.to_any(configuration(named("HANG000001"))), stopped)
    assert spec.description == "Asks."
