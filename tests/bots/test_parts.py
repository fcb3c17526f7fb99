"""What a bot's tools, knowledge, guardrails and quick starters may consist of."""

from typing import Any

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from tests.bots.bot import KNOWLEDGE, THRESHOLDS, body, edit, firecrawl, make, payload, read, refused

pytestmark = pytest.mark.django_db

GUARDRAILS = {"isGuardrailEnabled": True, **THRESHOLDS, "guardrailArn": "", "guardrailVersion": ""}
BASE: dict[str, Any] = {
    "type": "dedicated",
    "embeddingsModel": "titan_v2",
    "openSearch": {
        "analyzer": {
            "characterFilters": ["icu_normalizer"],
            "tokenizer": "kuromoji_tokenizer",
            "tokenFilters": ["kuromoji_baseform", "lowercase"],
        }
    },
    "chunkingConfiguration": {"chunkingStrategy": "fixed_size", "maxTokens": 300, "overlapPercentage": 20},
    "searchParams": {"maxResults": 20, "searchType": "hybrid"},
    "knowledgeBaseId": None,
    "existKnowledgeBaseId": None,
    "parsingModel": "disabled",
    "webCrawlingScope": "HOST_ONLY",
    "webCrawlingFilters": {"excludePatterns": ["/private/.*"], "includePatterns": [".*"]},
}
PLAIN = {"toolType": "plain", "name": "simple_list", "description": ""}
AGENT = {
    "toolType": "bedrock_agent",
    "name": "ask",
    "description": "Asks.",
    "bedrockAgentConfig": {"agentId": "A1", "aliasId": "B2"},
}
DUCKDUCKGO = {
    "toolType": "internet",
    "name": "internet_search",
    "description": "Searches.",
    "searchEngine": "duckduckgo",
    "firecrawlConfig": None,
}


# ---- Tools ----------------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_every_kind_of_tool_comes_back_as_it_was_sent(alice: APIClient) -> None:
    tools = [PLAIN, AGENT, DUCKDUCKGO, {**AGENT, "name": "other", "bedrockAgentConfig": None}]
    assert make(alice, "b", agent={"tools": tools})["agent"] == {"tools": tools}
    assert read(alice, "b")["agent"] == {"tools": tools}


def test_a_tool_that_is_none_is_refused(untouched: None, alice: APIClient) -> None:
    search = firecrawl("fc-key")["tools"][0]
    for tool in (
        None,
        "plain",
        [],
        {},
        {**PLAIN, "toolType": "other"},
        {**PLAIN, "toolType": None},
        {**PLAIN, "toolType": ["plain"]},
        {**PLAIN, "name": ""},
        {**PLAIN, "name": "x" * 257},
        {**PLAIN, "description": None},
        {**DUCKDUCKGO, "searchEngine": "google"},
        {**search, "firecrawlConfig": None},
        {name: value for name, value in search.items() if name != "firecrawlConfig"},
        {**search, "firecrawlConfig": {"apiKey": "", "maxResults": 5}},
        {**search, "firecrawlConfig": {"apiKey": None, "maxResults": 5}},
        {**search, "firecrawlConfig": {"apiKey": "x" * 1025, "maxResults": 5}},
        *({**search, "firecrawlConfig": {"apiKey": "k", "maxResults": most}} for most in (0, 101, "5", True, 1.5)),
        {**AGENT, "bedrockAgentConfig": {"agentId": "x"}},
        {**AGENT, "bedrockAgentConfig": "x"},
    ):
        refused(alice, "agent", {"tools": [tool]})
    for agent in (
        [],
        "x",
        {},
        {"tools": None},
        {"tools": {}},
        {"tools": [{**PLAIN, "name": str(n)} for n in range(51)]},
    ):
        refused(alice, "agent", agent)


def test_two_tools_of_one_name_are_refused(untouched: None, alice: APIClient) -> None:
    errors = refused(alice, "agent", {"tools": [PLAIN, AGENT, {**DUCKDUCKGO, "name": "ask"}]})
    assert errors == ["agent.tools.2.name: the bot has another tool with this name."]


@pytest.mark.both
def test_each_of_many_secrets_is_its_tools_own(alice: APIClient) -> None:
    def agent(*keys: str) -> dict[str, Any]:
        return {"tools": [firecrawl(key, name=f"search {n}")["tools"][0] for n, key in enumerate(keys)]}

    make(alice, "b", agent=agent(*(f"fc-{n}" for n in range(50))))
    shown = read(alice, "b")["agent"]
    assert {tool["firecrawlConfig"]["apiKey"] for tool in shown["tools"]} == {"********"}
    assert body(edit(alice, "b", agent=shown))["version"] == 1
    shown["tools"][7]["firecrawlConfig"]["apiKey"] = "fc-new"
    edit(alice, "b", agent=shown)
    assert body(alice.get("/bot/b/versions/2"))["changed"] == ["secrets"]
    edit(alice, "b", agent={"tools": shown["tools"][:2]})
    refusal = edit(alice, "b", agent={"tools": [{**shown["tools"][3]}]})  # its key went with the tool
    assert refusal.json()["errors"] == ["agent.tools.0.firecrawlConfig.apiKey: no key is stored; send the key itself."]


# ---- Knowledge ------------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_addresses_come_back_as_they_were_sent(alice: APIClient, settings: LazySettings) -> None:
    settings.KNOWLEDGE_S3 = (("my-bucket", ""), ("my.bucket-1", ""))
    knowledge = {
        **KNOWLEDGE,
        "sourceUrls": ["https://example.com/a?b=c#d", "http://[::1]:8080/", "https://bücher.example/ü"],
        "sitemapUrls": ["HTTPS://example.com/sitemap.xml"],
        "s3Urls": ["s3://my-bucket/", "s3://my.bucket-1/with a/space/"],
    }
    assert make(alice, "b", knowledge=knowledge)["knowledge"] == knowledge
    changed = {**knowledge, "sourceUrls": []}
    del changed["filenames"]
    sent = {**changed, "addedFilenames": [], "deletedFilenames": [], "unchangedFilenames": []}
    assert body(edit(alice, "b", knowledge=sent))["knowledge"] == {**knowledge, "sourceUrls": []}


NO_ADDRESSES: list[Any] = [
    "",
    "example.com",
    "ftp://example.com/",
    "file:///etc/passwd",
    "https://",
    "https:///path",
    "https://[::1",
    "https://example.com/a b",
    " https://example.com/",
    "https://exa\nmple.com/",
    "https://example.com:99999/",
    "https://example.com:0/",
    "https://example.com:x/",
    "javascript:alert(1)",
    f"https://example.com/{'x' * 2048}",
    5,
    None,
]
NO_PREFIXES: list[Any] = [
    "",
    "s3://bucket",
    "s3://bucket/key",
    "S3://bucket/",
    "s3://B/",
    "s3:///",
    "https://b/",
    None,
    5,
]


def test_what_is_no_address_is_refused(untouched: None, alice: APIClient) -> None:
    files = {"addedFilenames": [], "deletedFilenames": [], "unchangedFilenames": []}
    for field, addresses in (("sourceUrls", NO_ADDRESSES), ("sitemapUrls", NO_ADDRESSES), ("s3Urls", NO_PREFIXES)):
        for address in addresses:
            errors = refused(alice, "knowledge", {**KNOWLEDGE, **files, field: [address]})
            assert all(error.startswith(f"knowledge.{field}.0") for error in errors), errors


def test_a_list_of_addresses_has_bounds(untouched: None, alice: APIClient) -> None:
    files = {"addedFilenames": [], "deletedFilenames": [], "unchangedFilenames": []}
    for field in ("sourceUrls", "sitemapUrls", "s3Urls"):
        refused(alice, "knowledge", {**KNOWLEDGE, **files, field: ["https://example.com/"] * 501})
        refused(alice, "knowledge", {**KNOWLEDGE, **files, field: None})


def test_a_file_that_was_not_uploaded_is_not_found(untouched: None, alice: APIClient) -> None:
    sent = {**payload("refused"), "knowledge": {**KNOWLEDGE, "filenames": ["a.txt"]}}
    response = alice.post("/bot", sent, format="json")
    assert (response.status_code, response.json()["detail"]) == (404, "The file a.txt has not been uploaded.")
    for added, unchanged in ((["a.txt"], []), ([], ["a.txt"])):
        files = {"addedFilenames": added, "deletedFilenames": [], "unchangedFilenames": unchanged}
        assert edit(alice, "b", knowledge={**KNOWLEDGE, **files}).status_code == 404
    gone = {"addedFilenames": [], "deletedFilenames": ["a.txt"], "unchangedFilenames": []}
    assert edit(alice, "b", knowledge={**KNOWLEDGE, **gone}).status_code == 200


@pytest.mark.both
def test_a_knowledge_base_comes_back_whole(alice: APIClient) -> None:
    strategies: list[dict[str, Any]] = [
        {"chunkingStrategy": "default"},
        {"chunkingStrategy": "none"},
        {"chunkingStrategy": "hierarchical", "overlapTokens": 60, "maxParentTokenSize": 1500, "maxChildTokenSize": 300},
        {"chunkingStrategy": "semantic", "maxTokens": 300, "bufferSize": 0, "breakpointPercentileThreshold": 95},
    ]
    make(alice, "b")
    for strategy in (BASE["chunkingConfiguration"], *strategies):
        base = {**BASE, "chunkingConfiguration": strategy}
        answer = body(edit(alice, "b", bedrockKnowledgeBase={**base, "dataSourceIds": ["ignored"]}))
        assert answer["bedrockKnowledgeBase"] == {**base, "dataSourceIds": None}
        assert read(alice, "b")["bedrockKnowledgeBase"] == answer["bedrockKnowledgeBase"]


def test_a_knowledge_base_that_is_none_is_refused(untouched: None, alice: APIClient) -> None:
    wrong: dict[str, list[Any]] = {
        "type": ["other", 5],
        "embeddingsModel": ["other", None],
        "openSearch": [None, {}, {"analyzer": {}}, {"analyzer": {**BASE["openSearch"]["analyzer"], "tokenizer": "x"}}],
        "chunkingConfiguration": [
            None,
            "default",
            {"chunkingStrategy": "other"},
            {"chunkingStrategy": "fixed_size", "maxTokens": -1},
            {"chunkingStrategy": "fixed_size", "maxTokens": "300"},
        ],
        "searchParams": [
            {},
            {"maxResults": 0, "searchType": "hybrid"},
            {"maxResults": 101, "searchType": "hybrid"},
            {"maxResults": 5, "searchType": "x"},
        ],
        "existKnowledgeBaseId": [5, "x" * 257],
        "parsingModel": ["other", None],
        "webCrawlingScope": ["other", None],
        "webCrawlingFilters": [None, [], {"excludePatterns": "x"}, {"includePatterns": ["x"] * 101}],
    }
    for name, values in wrong.items():
        for value in values:
            refused(alice, "bedrockKnowledgeBase", {**BASE, name: value})


@pytest.mark.both
def test_null_keeps_what_is_stored_and_is_echoed(alice: APIClient) -> None:
    knowledge = {**KNOWLEDGE, "sourceUrls": ["https://example.com/"]}
    make(alice, "b", bedrockKnowledgeBase=BASE, bedrockGuardrails=GUARDRAILS, knowledge=knowledge)
    before = read(alice, "b")
    answer = body(edit(alice, "b", bedrockKnowledgeBase=None, bedrockGuardrails=None, knowledge=None))
    assert (answer["bedrockKnowledgeBase"], answer["bedrockGuardrails"]) == (None, None)
    assert answer["version"] == 1
    assert read(alice, "b") == before
    answer = body(edit(alice, "b"))
    assert answer["bedrockKnowledgeBase"] == before["bedrockKnowledgeBase"]
    assert answer["bedrockGuardrails"] == before["bedrockGuardrails"]


# ---- Guardrails and quick starters ----------------------------------------------------------------------------------


@pytest.mark.both
def test_thresholds_are_answered_as_numbers(alice: APIClient) -> None:
    guardrails = {**GUARDRAILS, "hateThreshold": 3, "groundingThreshold": 0.99, "relevanceThreshold": 0.5}
    assert make(alice, "b", bedrockGuardrails=guardrails)["bedrockGuardrails"] == guardrails


def test_a_threshold_out_of_its_range_is_refused(untouched: None, alice: APIClient) -> None:
    for name in THRESHOLDS:
        is_share = name in ("groundingThreshold", "relevanceThreshold")
        for value in (1.0, 0.999, -0.01, "0.5", None, True) if is_share else (4, -1, 0.5, "1", None, True):
            refused(alice, "bedrockGuardrails", {**GUARDRAILS, name: value})
        refused(alice, "bedrockGuardrails", {key: value for key, value in GUARDRAILS.items() if key != name})
    for name, value in (("isGuardrailEnabled", None), ("guardrailArn", None), ("guardrailVersion", 5)):
        refused(alice, "bedrockGuardrails", {**GUARDRAILS, name: value})


def test_quick_starters_have_bounds(untouched: None, alice: APIClient) -> None:
    starter = {"title": "t", "example": "e"}
    for value in ([starter] * 51, [{}], [{"title": "t"}], ["x"], "x", [{**starter, "title": "x" * 1025}], [None], {}):
        refused(alice, "conversationQuickStarters", value)


@pytest.mark.both
def test_quick_starters_come_back_as_they_were_sent(alice: APIClient) -> None:
    starters = [{"title": "", "example": ""}, {"title": "語", "example": "x\ny"}] * 25
    assert make(alice, "b", conversationQuickStarters=starters)["conversationQuickStarters"] == starters
    assert body(alice.get("/bot/summary/b"))["conversationQuickStarters"] == starters
