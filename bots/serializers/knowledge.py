"""Shapes of a bot's knowledge on the wire: sources, files, and how they are searched."""

import re
from typing import Any
from urllib.parse import urlsplit

import orjson
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from bedrock_chat.wire.fields import BoundedListField, ChoiceField, TextField, WholeField
from bots.serializers.parts import LARGEST_SIZE, LONGEST_NAME, LONGEST_URL
from bots.serializers.shapes import ShapeField, Shapes

MOST_SOURCES = 500
MOST_FILES = 1_000
MOST_PATTERNS = 100
LARGEST_FILTER = 10_000
MOST_LEVELS = 3
MOST_CONDITIONS = 20
CONDITIONS = (
    *("equals", "not_equals", "greater_than", "greater_than_or_equals", "less_than", "less_than_or_equals"),
    *("in", "not_in", "starts_with", "list_contains", "string_contains"),
)

_S3_PREFIX = re.compile(r"s3://[a-z0-9][a-z0-9.-]{0,62}/(?:.*/)?", re.DOTALL)
_NO_URL = re.compile(r"[\s\x00-\x1f\x7f]")  # `urlsplit` leaves some of these out before it looks
_S3_WORD = "expected s3://bucket/prefix/ with a slash at its end."


class UrlField(TextField):
    """An http or https address."""

    def run_validation(self, data: Any = empty) -> Any:
        url = super().run_validation(data)
        try:
            parts = urlsplit(url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address or _NO_URL.search(url):
            raise serializers.ValidationError("Expected an http or https address.")
        return url


class S3UrlField(TextField):
    """A prefix in a bucket."""

    def run_validation(self, data: Any = empty) -> Any:
        url = super().run_validation(data)
        if not _S3_PREFIX.fullmatch(url):
            raise serializers.ValidationError(f"Invalid S3 address: {_S3_WORD}")
        return url


def _addresses(child: TextField, **options: Any) -> BoundedListField:
    return BoundedListField(child=child, max_length=MOST_SOURCES, **options)


def _file_names(**options: Any) -> BoundedListField:
    return BoundedListField(child=TextField(max_length=1024), max_length=MOST_FILES, **options)


class KnowledgeSerializer(serializers.Serializer[Any]):
    source_urls = _addresses(UrlField(max_length=LONGEST_URL))
    sitemap_urls = _addresses(UrlField(max_length=LONGEST_URL))
    filenames = _file_names()
    s3_urls = _addresses(S3UrlField(max_length=LONGEST_URL))


class KnowledgeDiffSerializer(serializers.Serializer[Any]):
    """Addresses as they shall be. Of the files those that stay, come and go."""

    source_urls = _addresses(UrlField(max_length=LONGEST_URL))
    sitemap_urls = _addresses(UrlField(max_length=LONGEST_URL))
    s3_urls = _addresses(S3UrlField(max_length=LONGEST_URL))
    added_filenames = _file_names(required=False, allow_null=True)
    deleted_filenames = _file_names(required=False, allow_null=True)
    unchanged_filenames = _file_names(required=False, allow_null=True, help_text="Absent: all that are not deleted.")


class FileSerializer(serializers.Serializer[Any]):
    filename = serializers.CharField()
    digest = serializers.CharField(help_text="SHA-256 of its bytes.")
    size = serializers.IntegerField(help_text="Bytes.")
    content_type = serializers.CharField()


class UploadQuerySerializer(serializers.Serializer[Any]):
    """The query of a request about an upload."""

    filename = TextField(max_length=1024)


class UploadUrlQuerySerializer(UploadQuerySerializer):
    content_type = TextField(max_length=1024, allow_blank=True)


class UploadUrlSerializer(serializers.Serializer[Any]):
    url = serializers.CharField(help_text="Takes one PUT of the file, with that Content-Type, within an hour.")


class AnalyzerSerializer(serializers.Serializer[Any]):
    character_filters = BoundedListField(child=ChoiceField(choices=["icu_normalizer"]), max_length=10)
    tokenizer = ChoiceField(choices=["kuromoji_tokenizer", "icu_tokenizer"])
    token_filters = BoundedListField(
        child=ChoiceField(
            choices=[
                "kuromoji_baseform",
                "kuromoji_part_of_speech",
                "kuromoji_stemmer",
                "cjk_width",
                "ja_stop",
                "lowercase",
                "icu_folding",
            ]
        ),
        max_length=20,
    )


class OpenSearchSerializer(serializers.Serializer[Any]):
    analyzer = AnalyzerSerializer(allow_null=True)


@extend_schema_field({"type": "object", "additionalProperties": {}})
class FilterField(serializers.Field[Any, Any, Any, Any]):
    """A condition on the metadata of documents, as Bedrock has it. Its words are in snake_case here."""

    default_error_messages = {
        "invalid": "Expected one condition: {known}, or conditions under and_all or or_all.",
        "deep": "Conditions nest at most {most} levels deep.",
        "large": "A filter has at most {most} bytes.",
    }

    def to_internal_value(self, data: Any) -> Any:
        self._check(data, MOST_LEVELS)
        if len(orjson.dumps(data)) > LARGEST_FILTER:
            self.fail("large", most=LARGEST_FILTER)
        return data

    def _check(self, data: Any, levels: int) -> None:
        if not levels:
            self.fail("deep", most=MOST_LEVELS)
        if not isinstance(data, dict) or len(data) != 1:
            self.fail("invalid", known=", ".join(CONDITIONS))
        [(word, value)] = data.items()
        if word in ("and_all", "or_all"):
            if not isinstance(value, list) or not 2 <= len(value) <= MOST_CONDITIONS:
                self.fail("invalid", known=", ".join(CONDITIONS))
            for condition in value:
                self._check(condition, levels - 1)
        elif word not in CONDITIONS or not self._is_pair(value):
            self.fail("invalid", known=", ".join(CONDITIONS))

    @staticmethod
    def _is_pair(value: Any) -> bool:
        if not isinstance(value, dict) or value.keys() != {"key", "value"} or not isinstance(value["key"], str):
            return False
        values = value["value"] if isinstance(value["value"], list) else [value["value"]]
        return bool(value["key"]) and all(isinstance(one, str | int | float) for one in values)

    def to_representation(self, value: Any) -> Any:
        return value


class SearchParamsSerializer(serializers.Serializer[Any]):
    max_results = WholeField(min_value=1, max_value=100)
    search_type = ChoiceField(choices=["hybrid", "semantic"])
    filter = FilterField(
        required=False,
        allow_null=True,
        help_text="Which documents of an existing base are searched: Bedrock's RetrievalFilter.",
    )


STRATEGIES = ["default", "fixed_size", "hierarchical", "semantic", "none"]


def _size() -> WholeField:
    return WholeField(required=False, allow_null=True, min_value=0, max_value=LARGEST_SIZE)


def _chunking(strategy: str, *sizes: str) -> type[serializers.Serializer[Any]]:
    """The serializer of one strategy: its name and the sizes that it takes."""
    fields: dict[str, Any] = {"chunking_strategy": ChoiceField(choices=STRATEGIES, required=False, default=strategy)}
    fields |= {size: _size() for size in sizes}
    name = "".join(word.title() for word in strategy.split("_"))
    return type(f"{name}ChunkingSerializer", (serializers.Serializer,), fields)


CHUNKING: Shapes = {
    "default": _chunking("default"),
    "fixed_size": _chunking("fixed_size", "max_tokens", "overlap_percentage"),
    "hierarchical": _chunking("hierarchical", "overlap_tokens", "max_parent_token_size", "max_child_token_size"),
    "semantic": _chunking("semantic", "max_tokens", "buffer_size", "breakpoint_percentile_threshold"),
    "none": _chunking("none"),
}


@extend_schema_field(
    PolymorphicProxySerializer(
        component_name="Chunking", serializers=list(CHUNKING.values()), resource_type_field_name=None
    )
)
class ChunkingField(ShapeField):
    """How documents are cut. The strategy says which sizes belong to it."""

    default_error_messages = {"invalid": "Expected an object whose chunkingStrategy is one of {known}."}
    word, usual, shapes = "chunking_strategy", "default", CHUNKING


class WebCrawlingFiltersSerializer(serializers.Serializer[Any]):
    exclude_patterns = BoundedListField(
        child=TextField(max_length=LONGEST_URL, allow_blank=True),
        max_length=MOST_PATTERNS,
        required=False,
        default=list,
    )
    include_patterns = BoundedListField(
        child=TextField(max_length=LONGEST_URL, allow_blank=True),
        max_length=MOST_PATTERNS,
        required=False,
        default=list,
    )


def _no_filters() -> dict[str, list[str]]:
    return {"exclude_patterns": [], "include_patterns": []}


def _base_id() -> TextField:
    return TextField(max_length=LONGEST_NAME, required=False, allow_null=True, allow_blank=True, default=None)


class KnowledgeBaseSerializer(serializers.Serializer[Any]):
    type = ChoiceField(choices=["dedicated", "shared"], required=False, allow_null=True, default=None)
    embeddings_model = ChoiceField(choices=["titan_v2", "cohere_multilingual_v3"])
    open_search = OpenSearchSerializer()
    chunking_configuration = ChunkingField()
    search_params = SearchParamsSerializer()
    knowledge_base_id = _base_id()
    exist_knowledge_base_id = _base_id()
    parsing_model = ChoiceField(
        choices=[
            "anthropic.claude-3-5-sonnet-v1",
            "anthropic.claude-3-haiku-v1",
            "anthropic.claude-3-sonnet-v1",
            "disabled",
        ],
        required=False,
        default="disabled",
    )
    web_crawling_scope = ChoiceField(choices=["DEFAULT", "HOST_ONLY", "SUBDOMAINS"], required=False, default="DEFAULT")
    web_crawling_filters = WebCrawlingFiltersSerializer(required=False, default=_no_filters)
