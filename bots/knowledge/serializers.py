"""Shapes of reports of a bot's knowledge: requests, which are validated, and responses, which are documented."""

from typing import Any

from rest_framework import serializers

from bedrock_chat.wire.fields import ChoiceField, TextField
from bots.knowledge.models import SourceKind
from bots.knowledge.reports import SHOWN
from bots.knowledge.states import SourceState
from bots.models import SyncStatus

LONGEST_QUERY = 2_000


class DocumentsQuerySerializer(serializers.Serializer[Any]):
    """The query of a list of documents."""

    state = ChoiceField(choices=[str(state) for state in SHOWN], required=False, help_text="Only those in this state.")


class SyncInputSerializer(serializers.Serializer[Any]):
    full = serializers.BooleanField(
        required=False, default=False, help_text="Fetch and read everything anew, changed or not."
    )


class KnowledgeQuerySerializer(serializers.Serializer[Any]):
    query = TextField(max_length=LONGEST_QUERY)


class CountsSerializer(serializers.Serializer[Any]):
    """Documents by state: `waiting` to be fetched, `read` and to be embedded, `ready` to be found, `failed`, and
    `skipped`, which are read for their links alone.
    """

    waiting = serializers.IntegerField()
    read = serializers.IntegerField()
    ready = serializers.IntegerField()
    failed = serializers.IntegerField()
    skipped = serializers.IntegerField()


class SourceSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=SourceKind.values)
    location = serializers.CharField(help_text="The file's name, or the address as it was sent.")
    state = serializers.ChoiceField(choices=SourceState.values, help_text="`listed`: its documents are known.")
    reason = serializers.CharField(help_text="Why it yielded nothing, or what of its list was not read; else empty.")
    documents = CountsSerializer()
    skipped = serializers.IntegerField(help_text="What it named that is not read, such as files of other types.")
    tokens = serializers.IntegerField(help_text="Embedded for its documents, in all syncs.")


class KnowledgeReportSerializer(serializers.Serializer[Any]):
    sync_status = serializers.ChoiceField(choices=SyncStatus.values)
    sync_status_reason = serializers.CharField()
    last_sync_time = serializers.IntegerField(allow_null=True, help_text="When the last sync ended; ms.")
    embeddings_model = serializers.CharField(allow_null=True, help_text="Of the index that searches use.")
    chunks = serializers.IntegerField(help_text="Passages that can be found.")
    documents = CountsSerializer()
    tokens = serializers.IntegerField(help_text="Embedded, in all syncs.")
    price = serializers.FloatField(help_text="USD of the sync under way, or of the last one.")
    sources = SourceSerializer(many=True)


class KnowledgeDocumentSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    source_kind = serializers.ChoiceField(choices=SourceKind.values)
    location = serializers.CharField(help_text="What it is told apart by: an address, or a file's name.")
    name = serializers.CharField()
    link = serializers.CharField(allow_null=True, help_text="Of a web page.")
    state = serializers.ChoiceField(choices=[str(state) for state in SHOWN])
    reason = serializers.CharField(help_text="Why it failed, or what of it could not be read; else empty.")
    pages = serializers.IntegerField()
    chunks = serializers.IntegerField(help_text="Of its passages those that can be found now.")
    tokens = serializers.IntegerField(help_text="Embedded for it, in all syncs.")


class PassageSerializer(serializers.Serializer[Any]):
    text = serializers.CharField()
    score = serializers.FloatField(help_text="What orders the passages.")
    similarity = serializers.FloatField(allow_null=True, help_text="Of its meaning to the query's.")
    words_score = serializers.FloatField(help_text="How well its words fit, as a share of the best BM25.")
    source_name = serializers.CharField()
    source_link = serializers.CharField(allow_null=True)
    page_number = serializers.IntegerField(allow_null=True)


class PassagesSerializer(serializers.Serializer[Any]):
    passages = PassageSerializer(many=True)
    note = serializers.CharField(help_text="What of the search failed, such as the embeddings model; else empty.")
