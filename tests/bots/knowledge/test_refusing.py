"""What may not be saved as a bot's knowledge, and that what a bot had before keeps nobody from another edit."""

from typing import Any

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from bots.models import Bot
from tests.bots.bot import KNOWLEDGE, body, document, edit, make, payload, read, refused
from tests.bots.test_parts import BASE

pytestmark = pytest.mark.django_db

DIFFERENCE: dict[str, Any] = {name: value for name, value in KNOWLEDGE.items() if name != "filenames"}


def sizes(strategy: str, model: str = "titan_v2", **numbers: int | None) -> dict[str, Any]:
    """A knowledge base that cuts documents so."""
    return {**BASE, "embeddingsModel": model, "chunkingConfiguration": {"chunkingStrategy": strategy, **numbers}}


def filters(**patterns: list[str]) -> dict[str, Any]:
    return {**BASE, "webCrawlingFilters": {"excludePatterns": [""], "includePatterns": [""], **patterns}}


def test_a_number_out_of_its_range_is_refused_by_its_name(untouched: None, alice: APIClient) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        (sizes("fixed_size", maxTokens=0), "maxTokens: from 1 to 8,192."),
        (sizes("fixed_size", maxTokens=8193), "maxTokens: from 1 to 8,192."),
        (sizes("fixed_size", overlapPercentage=0), "overlapPercentage: from 1 to 99."),
        (sizes("fixed_size", overlapPercentage=100), "overlapPercentage: from 1 to 99."),
        (sizes("semantic", bufferSize=2), "bufferSize: from 0 to 1."),
        (sizes("semantic", breakpointPercentileThreshold=49), "breakpointPercentileThreshold: from 50 to 99."),
        (sizes("hierarchical", overlapTokens=0), "overlapTokens: from 1 to 8,192."),
        (
            sizes("hierarchical", maxParentTokenSize=200, maxChildTokenSize=300),
            "maxChildTokenSize: at most maxParentTokenSize, 200.",
        ),
        (sizes("semantic", "cohere_multilingual_v3", maxTokens=513), "maxTokens: from 1 to 512."),
        (
            sizes("hierarchical", "cohere_multilingual_v3", maxParentTokenSize=1500),
            "maxParentTokenSize: from 1 to 512.",
        ),
    ]
    for base, sentence in wrong:
        errors = refused(alice, "bedrockKnowledgeBase", base)
        assert errors == [f"bedrockKnowledgeBase.chunkingConfiguration.{sentence}"]


def test_an_overlap_that_is_not_below_the_size_is_refused_in_the_words_that_the_form_knows(alice: APIClient) -> None:
    make(alice, "b")
    for numbers, sentence in (
        ({"overlapTokens": 300, "maxChildTokenSize": 300}, "chunk overlap (300) than chunk size (300)"),
        ({"overlapTokens": 301}, "chunk overlap (301) than chunk size (300)"),
        ({"maxChildTokenSize": 60}, "chunk overlap (60) than chunk size (60)"),
    ):
        response = edit(alice, "b", bedrockKnowledgeBase=sizes("hierarchical", **numbers))
        assert response.status_code == 400
        assert response.json()["errors"] == [f"Got a larger {sentence}, should be smaller."]


def test_every_number_may_be_null(alice: APIClient) -> None:
    make(alice, "b")
    for model in ("titan_v2", "cohere_multilingual_v3"):
        for base in (
            sizes("fixed_size", model, maxTokens=None, overlapPercentage=None),
            sizes("hierarchical", model, overlapTokens=None, maxParentTokenSize=None, maxChildTokenSize=None),
            sizes("semantic", model, maxTokens=None, bufferSize=None, breakpointPercentileThreshold=None),
        ):
            assert body(edit(alice, "b", bedrockKnowledgeBase=base))["bedrockKnowledgeBase"] == {
                **base,
                "dataSourceIds": None,
            }


def test_a_pattern_that_no_crawler_could_use_is_refused_and_named(untouched: None, alice: APIClient) -> None:
    where = "bedrockKnowledgeBase.webCrawlingFilters"
    for pattern in ("(?=look)ahead", r"(a)\1", "("):
        errors = refused(alice, "bedrockKnowledgeBase", filters(includePatterns=["", "/docs/.*", pattern]))
        assert errors == [f"{where}.includePatterns: {pattern} is no regular expression that RE2 reads."]
    errors = refused(alice, "bedrockKnowledgeBase", filters(excludePatterns=[f"x{n}" for n in range(26)]))
    assert errors == [f"{where}.excludePatterns: there are at most 25."]
    errors = refused(alice, "bedrockKnowledgeBase", filters(excludePatterns=["x" * 1001]))
    assert errors == [f"{where}.excludePatterns: a pattern has at most 1,000 characters."]


def test_a_bot_has_a_hundred_addresses_of_each_kind_at_most(untouched: None, alice: APIClient) -> None:
    urls = [f"https://x.example/{number}" for number in range(101)]
    for name in ("sourceUrls", "sitemapUrls"):
        response = alice.post("/bot", {**payload("refused"), "knowledge": {**KNOWLEDGE, name: urls}}, format="json")
        assert response.json()["errors"] == [f"knowledge.{name}: a bot has at most 100 of them."]
        assert edit(alice, "b", knowledge={**DIFFERENCE, name: urls}).status_code == 400


def test_only_buckets_that_operators_name_are_read(alice: APIClient, settings: LazySettings) -> None:
    settings.KNOWLEDGE_S3 = (("handbooks", ""), ("wiki", "public/"))
    settings.BLOB_BUCKET = "files"
    allowed = ["s3://handbooks/", "s3://wiki/public/", "s3://wiki/public/a/"]
    make(alice, "b", knowledge={**KNOWLEDGE, "s3Urls": allowed})
    for url in ("s3://wiki/", "s3://wiki/public-old/", "s3://handbooks-2/", "s3://files/"):
        response = edit(alice, "b", knowledge={**DIFFERENCE, "s3Urls": [*allowed, url]})
        assert response.json()["errors"] == ["knowledge.s3Urls.3: This bucket is not allowed here."], url
    imported = alice.post("/bot/import", document(knowledge={**DIFFERENCE, "s3Urls": ["s3://wiki/"]}), format="json")
    assert imported.status_code == 400


@pytest.mark.both
def test_what_a_bot_had_before_keeps_nobody_from_another_edit(alice: APIClient, settings: LazySettings) -> None:
    """The form sends the whole bot, also what was saved before a bound was there."""
    settings.KNOWLEDGE_S3 = (("handbooks", ""),)
    make(alice, "b", knowledge={**KNOWLEDGE, "s3Urls": ["s3://handbooks/"]}, bedrockKnowledgeBase=BASE)
    row = Bot.objects.get(pk="b")
    row.configuration["knowledge"]["source_urls"] = [f"https://x.example/{number}" for number in range(200)]
    base = row.configuration["bedrock_knowledge_base"]
    base["embeddings_model"] = "cohere_multilingual_v3"
    base["chunking_configuration"] = {"chunking_strategy": "fixed_size", "max_tokens": 9000, "overlap_percentage": 0}
    base["web_crawling_filters"] = {"exclude_patterns": ["("], "include_patterns": ["x"] * 90}
    row.save()
    settings.KNOWLEDGE_S3 = ()
    before = read(alice, "b")
    sent = {name: value for name, value in before["knowledge"].items() if name != "filenames"}
    answer = body(edit(alice, "b", title="New", knowledge=sent, bedrockKnowledgeBase=before["bedrockKnowledgeBase"]))
    assert (answer["title"], answer["version"]) == ("New", 2)
    assert answer["bedrockKnowledgeBase"] == before["bedrockKnowledgeBase"]
    assert body(alice.post("/bot/b/clone", {}, format="json"))["knowledge"] == before["knowledge"]
    for knowledge in (
        {**sent, "s3Urls": ["s3://handbooks/", "s3://handbooks/a/"]},
        {**sent, "sourceUrls": [*sent["sourceUrls"], "https://x.example/new"]},
    ):
        assert edit(alice, "b", knowledge=knowledge).status_code == 400
    assert body(alice.post("/bot/b/versions/1/restore"))["knowledge"]["s3Urls"] == ["s3://handbooks/"]
