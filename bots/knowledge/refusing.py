"""What may not be saved as a bot's knowledge. What the bot had before is kept, whatever bound holds by now.

Forms send the whole bot with each edit: a bound that came later must not keep anybody from changing a title.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bedrock_chat.bedrock import embedding_models
from bedrock_chat.bedrock.embedding_models import COHERE
from bedrock_chat.wire.errors import BadRequest
from bedrock_chat.wire.names import camel
from bots.configuration import Configuration, Json, existing_knowledge_base

MOST_URLS: Final = 100
"""Of each kind: pages, sitemaps, folders in S3."""
MOST_PATTERNS: Final = 25
LONGEST_PATTERN: Final = 1_000
URLS: Final = ("source_urls", "sitemap_urls", "s3_urls")
FILTERS: Final = ("exclude_patterns", "include_patterns")


def refuse_new(before: Configuration, after: Configuration) -> None:
    """Raises BadRequest, naming the field, for what an edit adds and must not: too many addresses, a bucket that is not
    allowed here, a pattern that RE2 does not read, a size out of its bounds.
    """
    _refuse_urls(before, after)
    if (base := after["bedrock_knowledge_base"]) is None:
        return
    earlier = before["bedrock_knowledge_base"] or {}
    _refuse_patterns(earlier.get("web_crawling_filters") or {}, base.get("web_crawling_filters") or {})
    names = ("embeddings_model", "chunking_configuration")
    if any(earlier.get(name) != base.get(name) for name in names):
        _refuse_sizes(base["embeddings_model"], base["chunking_configuration"])


def _refuse_urls(before: Configuration, after: Configuration) -> None:
    own, sent = before["knowledge"], after["knowledge"]
    for name in URLS:
        new = [place for place, url in enumerate(sent[name]) if url not in own[name]]
        if new and len(sent[name]) > MOST_URLS:
            raise BadRequest(f"knowledge.{camel(name)}: a bot has at most {MOST_URLS} of them.")
        if name == "s3_urls" and new and existing_knowledge_base(after) is None:
            _refuse_buckets(sent["s3_urls"], new)


def _refuse_buckets(urls: list[str], new: list[int]) -> None:
    from bots.knowledge.sources import s3  # noqa: PLC0415  boto3, where there is something to judge

    for place in new:
        if not s3.is_allowed(urls[place]):
            raise BadRequest(f"knowledge.s3Urls.{place}: This bucket is not allowed here.")


def _refuse_patterns(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    for name in FILTERS:
        own, sent = _without_blanks(before.get(name)), _without_blanks(after.get(name))
        new = [pattern for pattern in sent if pattern not in own]
        if not new:
            continue
        field = f"bedrockKnowledgeBase.webCrawlingFilters.{camel(name)}"
        if len(sent) > MOST_PATTERNS:
            raise BadRequest(f"{field}: there are at most {MOST_PATTERNS}.")
        if any(len(pattern) > LONGEST_PATTERN for pattern in new):
            raise BadRequest(f"{field}: a pattern has at most {LONGEST_PATTERN:,} characters.")
        _refuse_expressions(new, field)


def _refuse_expressions(expressions: list[str], field: str) -> None:
    from bots.knowledge.sources import scope  # noqa: PLC0415  regular expressions, where there is something to judge

    try:
        scope.patterns(expressions)
    except scope.PatternRefused as refused:
        raise BadRequest(f"{field}: {refused}") from None


def _without_blanks(sent: list[str] | None) -> list[str]:
    """Forms send one blank pattern for none."""
    return [pattern for pattern in sent or () if pattern.strip()]


# ---- How documents are cut ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Size:
    """A number of a strategy: from where to where, and what null means."""

    least: int
    most: int
    usual: int

    def chosen(self, sent: int | None) -> int:
        return self.usual if sent is None else sent


def _sizes_of(strategy: str, model: str) -> dict[str, _Size]:
    """The numbers of a strategy by their names on the wire in snake_case, as Bedrock's knowledge bases bound them."""
    most = embedding_models.find(model).most_tokens
    parent, child, overlap = (500, 100, 30) if model == COHERE else (1500, 300, 60)
    if strategy == "fixed_size":
        return {"max_tokens": _Size(1, most, 300), "overlap_percentage": _Size(1, 99, 20)}
    if strategy == "hierarchical":
        return {
            "max_parent_token_size": _Size(1, most, parent),
            "max_child_token_size": _Size(1, most, child),
            "overlap_tokens": _Size(1, most, overlap),
        }
    if strategy == "semantic":
        return {
            "max_tokens": _Size(1, most, 300),
            "buffer_size": _Size(0, 1, 0),
            "breakpoint_percentile_threshold": _Size(50, 99, 95),
        }
    return {}


def _refuse_sizes(model: str, chunking: Json) -> None:
    where = "bedrockKnowledgeBase.chunkingConfiguration"
    sizes = _sizes_of(chunking["chunking_strategy"], model)
    numbers = {name: size.chosen(chunking.get(name)) for name, size in sizes.items()}
    for name, size in sizes.items():
        if not size.least <= numbers[name] <= size.most:
            raise BadRequest(f"{where}.{camel(name)}: from {size.least:,} to {size.most:,}.")
    if "overlap_tokens" in numbers:
        overlap, child, parent = (
            numbers[name] for name in ("overlap_tokens", "max_child_token_size", "max_parent_token_size")
        )
        if overlap >= child:  # in the words that the bot's form knows
            raise BadRequest(f"Got a larger chunk overlap ({overlap}) than chunk size ({child}), should be smaller.")
        if child > parent:
            raise BadRequest(f"{where}.maxChildTokenSize: at most maxParentTokenSize, {parent:,}.")
