"""What a bot offers to a model is decided without the network, and what is left out has a reason."""

from typing import Any, cast

import pytest

from bedrock_chat.bedrock import catalog
from bots import warnings
from bots.configuration import Configuration, Tool
from bots.tools import offered
from bots.tools.available import AVAILABLE
from bots.tools.kinds import LeftOut
from tests.bots.tools.calling import AGENT, ALICE, DUCKDUCKGO, bot, configuration, firecrawl, knowing

CLAUDE, TOOLLESS = catalog.find("claude-v3.7-sonnet"), catalog.find("deepseek-r1")
PLAIN = cast(Tool, {"tool_type": "plain", "name": "calculator", "description": ""})


def names(configured: Configuration) -> tuple[list[str], list[tuple[str, str]]]:
    offer = offered.offered(bot(configured), CLAUDE, ALICE)
    return [tool.alias for tool in offer.tools], [(left.name, left.reason) for left in offer.left_out]


def test_tools_are_offered_in_the_bots_order_and_knowledge_comes_last() -> None:
    configured = {
        **configuration(AGENT, DUCKDUCKGO),
        "bedrock_knowledge_base": knowing("KB1")["bedrock_knowledge_base"],
    }
    assert names(cast(Configuration, configured)) == (
        ["bedrock_agent", "internet_search", "knowledge_base_tool"],
        [],
    )


def test_the_schemas_are_those_that_were_recorded_but_for_the_time_limit() -> None:
    configured = {
        **configuration(AGENT, DUCKDUCKGO),
        "bedrock_knowledge_base": knowing("KB1")["bedrock_knowledge_base"],
    }
    agent, internet, knowledge = offered.to_any(cast(Configuration, configured)).tools

    def shape(schema: Any) -> Any:
        fields = {
            name: {word: value for word, value in field.items() if word != "description"}
            for name, field in schema["properties"].items()
        }
        return {**schema, "properties": fields}

    query = {"properties": {"query": {"type": "string"}}, "required": ["query"], "type": "object"}
    assert shape(agent.schema) == query
    assert shape(knowledge.schema) == query
    assert shape(internet.schema) == {
        "type": "object",
        "properties": {
            "query": {"type": "string"},
            "locale": {"type": "string", "default": "en-us"},
            "time_limit": {"type": "string", "default": ""},
        },
        "required": ["query"],
    }


def test_a_search_without_an_engine_is_duckduckgos() -> None:
    for engine in ("duckduckgo", None):
        (tool,) = offered.to_any(configuration(cast(Tool, {**DUCKDUCKGO, "search_engine": engine}))).tools
        assert tool.server == "duckduckgo"
    plain = cast(Tool, {**PLAIN, "name": "internet_search"})
    (tool,) = offered.to_any(configuration(plain)).tools
    assert tool.server == "duckduckgo"
    (tool,) = offered.to_any(configuration(firecrawl())).tools
    assert tool.server == "firecrawl"


def test_a_tool_without_its_key_and_one_that_is_not_known_are_left_out() -> None:
    assert names(configuration(firecrawl(has_key=False), PLAIN, AGENT)) == (
        ["bedrock_agent"],
        [("internet_search", "has no key: send it again"), ("calculator", "is not known here")],
    )


def test_names_are_made_legal_and_unlike_each_other() -> None:
    tools = [cast(Tool, {**DUCKDUCKGO, "name": name}) for name in ("my search", "my_search", "knowledge_base_tool")]
    configured = {**configuration(*tools), "bedrock_knowledge_base": knowing("KB1")["bedrock_knowledge_base"]}
    aliases, _ = names(cast(Configuration, configured))
    assert aliases == ["my_search", "my_search_2", "knowledge_base_tool", "knowledge_base_tool_2"]


def test_no_more_than_sixty_four_tools_and_sixty_thousand_characters_are_offered() -> None:
    (tool,) = offered.to_any(configuration(AGENT)).tools
    from dataclasses import replace

    many = [replace(tool, alias=f"t{number}") for number in range(66)]
    offer = offered.within_bounds(many)
    assert len(offer.tools) == 64
    assert [left.sentence for left in offer.left_out] == [
        "The tool t64 is one more than 64.",
        "The tool t65 is one more than 64.",
    ]
    wordy = [replace(tool, alias=f"t{number}", description="x" * 25_000) for number in range(3)]
    offer = offered.within_bounds([*wordy, replace(tool, alias="small")])
    assert [tool.alias for tool in offer.tools] == ["t0", "t1", "small"]
    assert [left.name for left in offer.left_out] == ["t2"]


def test_one_tool_that_models_refuse_does_not_fail_the_others() -> None:
    from dataclasses import replace

    (tool,) = offered.to_any(configuration(AGENT)).tools
    bad = replace(tool, alias="bad", schema={"type": "object", "oneOf": []})
    offer = offered.within_bounds([bad, tool, LeftOut("x", "is not known here")])
    assert [kept.alias for kept in offer.tools] == ["bedrock_agent"]
    assert [left.name for left in offer.left_out] == ["bad", "x"]


def test_a_model_without_tools_is_offered_none_and_who_chats_is_told() -> None:
    configured = {**configuration(AGENT), "bedrock_knowledge_base": knowing("KB1")["bedrock_knowledge_base"]}
    configured = cast(Configuration, configured)
    assert offered.to_model(configured, TOOLLESS).tools == ()
    sentences = warnings.of_turn(configured, TOOLLESS, thinks=False)
    assert sentences == [f"The tool bedrock_agent cannot be used by {TOOLLESS.display_name}."]
    assert warnings.of_turn(configured, CLAUDE, thinks=False) == []


def test_an_owner_reads_of_what_is_left_out() -> None:
    sentences = warnings.of_bot(
        configuration(firecrawl(has_key=False), PLAIN, {**AGENT, "bedrock_agent_config": None}), ""
    )
    assert sentences[0].startswith("The bot's tools cannot be used by ")
    assert sentences[1:] == [
        "The tool internet_search has no key: send it again.",
        "The tool calculator is not known here.",
        "The tool bedrock_agent names no Bedrock agent.",
    ]


@pytest.mark.parametrize("entry", AVAILABLE, ids=lambda entry: entry["name"])
def test_whatever_clients_may_choose_is_offered(entry: dict[str, Any]) -> None:
    snake = {"toolType": "tool_type", "searchEngine": "search_engine", "firecrawlConfig": "firecrawl_config"}
    tool = cast(Tool, {snake.get(name, name): value for name, value in entry.items() if name != "bedrockAgentConfig"})
    assert [made.alias for made in offered.to_any(configuration(tool)).tools] == [entry["name"]]
