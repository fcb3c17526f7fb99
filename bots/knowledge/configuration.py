"""What a bot is to know and how, from its configuration as clients send it to frozen settings. Pure.

Sizes that a client left out are the defaults of Bedrock's knowledge bases. What the embeddings model cannot take is cut
down to what it can: such a configuration may be older than the rule that refuses it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import orjson

from bedrock_chat.bedrock import embedding_models
from bedrock_chat.bedrock.embedding_models import COHERE, TITAN
from bots import configuration as configurations
from bots.configuration import Configuration, FileEntry
from bots.knowledge.chunking import Cut

SourceName = Literal["file", "web", "sitemap", "s3"]
CrawlingScope = Literal["DEFAULT", "HOST_ONLY", "SUBDOMAINS"]
COHERE_TOKENS: Final = 512
"""The largest chunk that Cohere's model is made for."""
DISABLED: Final = "disabled"


@dataclass(frozen=True, slots=True)
class Named:
    """A source as a bot names it: its kind (`models.SourceKind`) and the file's name or the address."""

    kind: SourceName
    location: str


@dataclass(frozen=True, slots=True)
class KnowledgeSettings:
    """What a bot is to know. `files` are those of `sources` that are files, by name.

    `parsing_model` is empty where pages without text stay unread.
    """

    sources: tuple[Named, ...]
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    model: str = TITAN
    cut: Cut = field(default_factory=Cut)
    parsing_model: str = ""
    crawling_scope: CrawlingScope = "DEFAULT"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Changes with everything that a sync looks at, and with nothing else. 64 hexadecimal digits."""
        return hashlib.sha256(orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)).hexdigest()

    @property
    def seeds(self) -> tuple[str, ...]:
        """The first pages of sites, in their order."""
        return tuple(source.location for source in self.sources if source.kind == "web")


def settings_of(configuration: Configuration) -> KnowledgeSettings:
    """The settings of a bot. A bot that asks a base of somebody else's has no sources here, whatever it names."""
    if configurations.existing_knowledge_base(configuration) is not None:
        return KnowledgeSettings(())
    knowledge, base = configuration["knowledge"], configuration["bedrock_knowledge_base"] or {}
    files = configurations.files_of(configuration)
    sources = (
        *(Named("file", name) for name in knowledge["filenames"]),
        *(Named("web", url) for url in knowledge["source_urls"]),
        *(Named("sitemap", url) for url in knowledge["sitemap_urls"]),
        *(Named("s3", url) for url in knowledge["s3_urls"]),
    )
    filters = base.get("web_crawling_filters") or {}
    parsing_model = base.get("parsing_model") or DISABLED
    model = base.get("embeddings_model") or TITAN
    return KnowledgeSettings(
        sources=tuple(dict.fromkeys(sources)),
        files={name: files[name] for name in knowledge["filenames"] if name in files},
        model=model,
        cut=_cut(model, base.get("chunking_configuration") or {}),
        parsing_model="" if parsing_model == DISABLED else parsing_model,
        crawling_scope=base.get("web_crawling_scope") or "DEFAULT",
        include=_patterns(filters.get("include_patterns")),
        exclude=_patterns(filters.get("exclude_patterns")),
    )


def undivided(model: str) -> str:
    """The digest of the cut that leaves documents whole: windows of them are found, and they answer. Raises
    UnknownEmbeddingModel.
    """
    return _cut(model, {"chunking_strategy": "none"}).digest


def _patterns(sent: Any) -> tuple[str, ...]:
    """Forms send one empty pattern for none."""
    return tuple(pattern.strip() for pattern in sent or () if pattern.strip())


def _cut(model: str, chunking: Mapping[str, Any]) -> Cut:
    """Raises UnknownEmbeddingModel."""
    facts = embedding_models.find(model)
    most = min(COHERE_TOKENS, facts.most_tokens) if model == COHERE else facts.most_tokens
    limits = {"most_tokens": facts.most_tokens, "most_characters": facts.most_characters}

    def size(name: str, default: int) -> int:
        return min(chunking.get(name) or default, most)

    match chunking.get("chunking_strategy") or "default":
        case "fixed_size":
            overlap = chunking.get("overlap_percentage")
            return Cut(
                "fixed_size",
                max_tokens=size("max_tokens", 300),
                overlap_percentage=min(20 if overlap is None else overlap, 99),
                **limits,
            )
        case "hierarchical":
            parent, child, overlap = (500, 100, 30) if model == COHERE else (1500, 300, 60)
            children = size("max_child_token_size", child)
            return Cut(
                "hierarchical",
                max_tokens=children,
                max_parent_tokens=max(children, size("max_parent_token_size", parent)),
                overlap_tokens=min(chunking.get("overlap_tokens") or overlap, max(0, children - 1)),
                **limits,
            )
        case "semantic":
            buffer = chunking.get("buffer_size")
            return Cut(
                "semantic",
                max_tokens=size("max_tokens", 300),
                buffer_size=min(buffer or 0, 1),
                breakpoint_percentile=min(max(chunking.get("breakpoint_percentile_threshold") or 95, 50), 99),
                **limits,
            )
        case "none":
            return Cut("none", max_tokens=most, **limits)
        case _:
            return Cut("default", max_tokens=min(300, most), **limits)
