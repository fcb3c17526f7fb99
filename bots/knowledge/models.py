"""What a bot knows: sources, their documents, the chunks of each reading, and how far its sync is.

Nothing here is collected by the ORM when a bot goes: `deleting` hides its rows at once, and a job removes them. So
foreign keys do nothing on deletion, and the database refuses a row whose children are still there.
"""

from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models
from django.db.models import F, Q

from bedrock_chat.database.fields import CodePointCharField
from bots.knowledge.states import Blame, DocumentState, EditionState, SourceState
from bots.models import SyncStatus

LONGEST_LOCATION = 2048
LONGEST_NAME = 1024
LONGEST_REASON = 1000
LONGEST_BLAME = 8
DIGEST_LENGTH = 64
TELLS_WHOSE_FAULT = Q(reason="", blame="") | (~Q(reason="") & Q(blame__in=Blame.values))
"""The condition of every row with a reason, and of those without any."""


class Knowledge(models.Model):
    """The knowledge of one bot. `bot` is null once the bot is gone, until a job has removed what is below.

    Every save that changes what is to be known raises `wanted`. A sync that has brought everything to a revision writes
    it to `done`. `sync` numbers the syncs: documents say in which of them they were reached and fetched last.

    `serving` is the index that searches use. `making` is one of another embeddings model, made beside it.
    """

    bot = models.OneToOneField(
        "bots.Bot", on_delete=models.SET_NULL, null=True, blank=True, related_name="knowledge", db_constraint=False
    )
    """PostgreSQL would check a constraint when a slice commits, and wait there for a save that has locked the bot and
    waits for this row. Who sets it holds the bot's lock.
    """
    wanted = models.PositiveIntegerField(default=1, help_text="The revision that the last save or request asked for.")
    done = models.PositiveIntegerField(default=0, help_text="The revision that the last sync has ended with.")
    planned = models.PositiveIntegerField(default=0, help_text="The revision that the sync under way works for.")
    sync = models.PositiveIntegerField(default=0, help_text="How many syncs have begun.")
    fingerprint = models.CharField(
        max_length=DIGEST_LENGTH, blank=True, default="", help_text="Of the sources and settings that are wanted."
    )
    full = models.BooleanField(default=False, help_text="Whether the next sync fetches and reads everything anew.")
    serving = models.ForeignKey(
        "KnowledgeIndex", on_delete=models.DO_NOTHING, null=True, blank=True, related_name="+", db_index=False
    )
    making = models.ForeignKey(
        "KnowledgeIndex", on_delete=models.DO_NOTHING, null=True, blank=True, related_name="+", db_index=False
    )
    sync_status = models.CharField(max_length=9, choices=SyncStatus, default=SyncStatus.QUEUED)
    sync_status_reason = models.CharField(max_length=LONGEST_REASON, blank=True, default="")
    blame = models.CharField(
        max_length=LONGEST_BLAME, choices=Blame, blank=True, default="", help_text="Whose fault it is that it failed."
    )
    limit_reason = models.CharField(
        max_length=LONGEST_REASON, blank=True, default="", help_text="Why the sync under way has to end early."
    )
    sync_price = models.PositiveBigIntegerField(default=0, help_text="What this sync's calls cost, in ledger units.")
    sync_tokens = models.PositiveBigIntegerField(default=0, help_text="Tokens of this sync's unpriced calls.")
    asked_at = models.DateTimeField(help_text="When the job was asked for last.")
    began_at = models.DateTimeField(null=True, blank=True, help_text="When the sync under way began.")
    moved_at = models.DateTimeField(null=True, blank=True, help_text="When a sync wrote anything last.")
    refused_since = models.DateTimeField(
        null=True, blank=True, help_text="Since when the model refuses every call because there are too many."
    )
    away_since = models.DateTimeField(
        null=True, blank=True, help_text="Since when nothing was done because a disk or a storage is away."
    )
    retry_at = models.DateTimeField(null=True, blank=True, help_text="When another sync is asked for by itself.")
    synced_at = models.DateTimeField(null=True, blank=True, help_text="When the last sync ended.")

    class Meta:
        default_permissions = ("view", "change")
        verbose_name_plural = "knowledge"
        constraints = [
            models.CheckConstraint(condition=Q(done__lte=F("wanted")), name="knowledge_is_done_as_wanted"),
            models.CheckConstraint(condition=Q(planned__lte=F("wanted")), name="knowledge_is_planned_as_wanted"),
            models.CheckConstraint(condition=Q(sync_status__in=SyncStatus.values), name="knowledge_has_a_sync_status"),
            models.CheckConstraint(
                condition=Q(making__isnull=True) | Q(serving__isnull=True) | ~Q(making=F("serving")),
                name="knowledge_makes_another_index",
            ),
            models.CheckConstraint(
                condition=Q(sync_status=SyncStatus.FAILED, blame__in=Blame.values)
                | (~Q(sync_status=SyncStatus.FAILED) & Q(blame="")),
                name="a_failed_sync_tells_whose_fault",
            ),
        ]
        indexes = [
            models.Index(fields=["id"], condition=Q(wanted__gt=F("done")), name="knowledge_to_be_synced"),
            models.Index(fields=["retry_at"], condition=Q(retry_at__isnull=False), name="knowledge_to_be_retried"),
            models.Index(fields=["id"], condition=Q(bot__isnull=True), name="knowledge_to_be_purged"),
            models.Index(
                fields=["blame", "id"], condition=Q(sync_status=SyncStatus.FAILED), name="knowledge_not_synced"
            ),
        ]

    if TYPE_CHECKING:
        bot_id: str | None
        serving_id: int | None
        making_id: int | None

    def __str__(self) -> str:
        return f"knowledge of {self.bot_id or 'a bot that is gone'}"


class KnowledgeIndex(models.Model):
    """An index of one embeddings model. Its key names it in the kernel's search (`search/vectors`).

    `chunks` counts those of its live editions that can be found, without parents.
    """

    knowledge = models.ForeignKey(Knowledge, on_delete=models.DO_NOTHING, related_name="indexes")
    model = models.CharField(max_length=64, help_text="The embeddings model, as `bedrock/embeddings` names it.")
    chunks = models.PositiveIntegerField(default=0)

    class Meta:
        default_permissions = ()
        verbose_name_plural = "knowledge indexes"

    if TYPE_CHECKING:
        knowledge_id: int

    def __str__(self) -> str:
        return f"{self.model} {self.pk}"


class SourceKind(models.TextChoices):
    FILE = "file"
    WEB = "web", "Web page"
    SITEMAP = "sitemap"
    S3 = "s3", "S3 folder"


class Source(models.Model):
    """What a bot's owner named: a file, the first page of a site, a sitemap, a folder in S3.

    `place` orders them: a document that several reach belongs to the first. `listing` is how far a listing of many
    parts is. `skipped` counts what it named and what is not read. A removed source waits for its removal.
    """

    knowledge = models.ForeignKey(Knowledge, on_delete=models.DO_NOTHING, related_name="sources", db_index=False)
    kind = models.CharField(max_length=7, choices=SourceKind)
    location = CodePointCharField(max_length=LONGEST_LOCATION, help_text="The file's name, or the address as sent.")
    place = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=7, choices=SourceState, default=SourceState.WAITING)
    reason = models.CharField(max_length=LONGEST_REASON, blank=True, default="")
    blame = models.CharField(max_length=LONGEST_BLAME, choices=Blame, blank=True, default="")
    listing = models.JSONField(default=dict)
    skipped = models.PositiveIntegerField(default=0)
    is_removed = models.BooleanField(default=False)

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["knowledge", "kind", "location"],
                condition=Q(is_removed=False),
                name="source_unique_per_knowledge",
            ),
            models.CheckConstraint(condition=Q(kind__in=SourceKind.values), name="source_has_a_kind"),
            models.CheckConstraint(condition=Q(state__in=SourceState.values), name="source_has_a_state"),
            models.CheckConstraint(
                condition=~Q(state=SourceState.FAILED) | ~Q(reason=""), name="failed_source_tells_why"
            ),
            models.CheckConstraint(condition=TELLS_WHOSE_FAULT, name="reason_of_source_tells_whose_fault"),
        ]
        indexes = [models.Index(fields=["knowledge"], name="sources_of_knowledge")]

    if TYPE_CHECKING:
        knowledge_id: int

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class Document(models.Model):
    """One file, page or object. Its identity is its location, unique in its bot, never its name.

    `reached` and `fetched` are numbers of syncs: the last one in which a source named it, and in which it was fetched
    or found unchanged. `attempts` counts workers that began to fetch or read it and did not come back. `failures`
    counts syncs in a row that could not fetch it. One that fails is found as it was before, until that is too often.
    """

    knowledge = models.ForeignKey(Knowledge, on_delete=models.DO_NOTHING, related_name="documents", db_index=False)
    source = models.ForeignKey(Source, on_delete=models.DO_NOTHING, related_name="documents")
    location = CodePointCharField(max_length=LONGEST_LOCATION)
    name = models.CharField(max_length=LONGEST_NAME, blank=True, default="")
    link = models.CharField(max_length=LONGEST_LOCATION, blank=True, default="", help_text="Of a web page.")
    etag = models.CharField("ETag", max_length=512, blank=True, default="")
    last_modified = models.CharField("Last-Modified", max_length=128, blank=True, default="")
    digest = models.CharField(max_length=DIGEST_LENGTH, blank=True, default="", help_text="SHA-256 of its bytes.")
    version = models.PositiveIntegerField(default=0, help_text="How many times its text was read and differed.")
    state = models.CharField(max_length=7, choices=DocumentState, default=DocumentState.WAITING)
    reason = models.CharField(max_length=LONGEST_REASON, blank=True, default="")
    blame = models.CharField(max_length=LONGEST_BLAME, choices=Blame, blank=True, default="")
    note = models.CharField(max_length=LONGEST_REASON, blank=True, default="", help_text="What of it was not read.")
    reached = models.PositiveIntegerField(default=0)
    fetched = models.PositiveIntegerField(default=0)
    leads_on = models.BooleanField(default=False, help_text="Whether the links of this page are followed.")
    hint = models.CharField(
        max_length=512, blank=True, default="", help_text="A sitemap's `lastmod`, or the ETag of a bucket's list."
    )
    size = models.PositiveBigIntegerField(null=True, blank=True, help_text="Bytes, where a list tells them.")
    is_urgent = models.BooleanField(default=False, help_text="Whether its hint has changed.")
    attempts = models.PositiveSmallIntegerField(default=0)
    failures = models.PositiveSmallIntegerField(default=0)
    pages = models.PositiveIntegerField(default=0)
    tokens = models.PositiveBigIntegerField(default=0, help_text="Embedded for it so far.")

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["knowledge", "location"],
                condition=~Q(state=DocumentState.REMOVED),
                name="document_unique_per_knowledge",
            ),
            models.CheckConstraint(condition=Q(state__in=DocumentState.values), name="document_has_a_state"),
            models.CheckConstraint(
                condition=~Q(state=DocumentState.FAILED) | ~Q(reason=""), name="failed_document_tells_why"
            ),
            models.CheckConstraint(condition=TELLS_WHOSE_FAULT, name="reason_of_document_tells_whose_fault"),
        ]
        indexes = [
            models.Index(fields=["knowledge", "state", "id"], name="documents_by_state"),
            models.Index(fields=["knowledge", "fetched", "id"], name="documents_by_fetch"),
        ]

    if TYPE_CHECKING:
        knowledge_id: int
        source_id: int

    def __str__(self) -> str:
        return f"document {self.pk}"


class PageText(models.Model):
    """What a model has read on a page of a file, or why it could not. `digest` is the SHA-256 of the page's picture,
    `file` that of the file: a picture is paid once, and a page of a file drawn once. `fault` counts in the sync `sync`.
    """

    document = models.ForeignKey(Document, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    file = models.CharField(max_length=DIGEST_LENGTH)
    page = models.PositiveIntegerField()
    digest = models.CharField(max_length=DIGEST_LENGTH)
    text = models.TextField(blank=True, help_text="Empty: nothing is on the page.")
    fault = models.CharField(max_length=64, blank=True, help_text="The code of the fault in its place.")
    sync = models.PositiveIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["document", "file", "page"], name="one_text_per_page")]

    def __str__(self) -> str:
        return f"a page of document {self.document_id}"

    if TYPE_CHECKING:
        document_id: int


class EditionQuerySet(models.QuerySet["Edition"]):
    def live(self, index: int | None) -> Self:
        """The editions that a search of an index finds."""
        return self.filter(index_id=index, state=EditionState.LIVE)


class Edition(models.Model):
    """One reading of a document, as one cut made chunks of it, in one index. Its key is a group of the kernel's search.

    `text` is the digest of the kept text's blob, `body` that of the file's, which only files of a bot keep.
    `cut` names the settings that made the chunks. Counters say how much is written: `taken` of the cut's chunks,
    `chunks` rows (a chunk that is too long for the model becomes two), `worded` of these rows in the index of words.
    """

    document = models.ForeignKey(Document, on_delete=models.DO_NOTHING, related_name="editions")
    index = models.ForeignKey(KnowledgeIndex, on_delete=models.DO_NOTHING, related_name="editions", db_index=False)
    state = models.CharField(max_length=7, choices=EditionState, default=EditionState.MAKING)
    text = models.CharField(max_length=DIGEST_LENGTH)
    text_digest = models.CharField(max_length=DIGEST_LENGTH, help_text="SHA-256 of what was read, without its links.")
    body = models.CharField(max_length=DIGEST_LENGTH, blank=True, default="")
    cut = models.CharField(max_length=DIGEST_LENGTH)
    parsing_model = models.CharField(max_length=64, blank=True, default="")
    title = models.CharField(max_length=LONGEST_NAME, blank=True, default="", help_text="Which its chunks begin with.")
    pages = models.PositiveIntegerField(default=0)
    breaks = models.JSONField(null=True, blank=True, help_text="Distances of its sentences, where meaning cuts it.")
    taken = models.PositiveIntegerField(default=0)
    chunks = models.PositiveIntegerField(default=0)
    findable = models.PositiveIntegerField(default=0, help_text="Of the chunks, those that are no parents.")
    worded = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()

    objects: ClassVar[EditionQuerySet] = EditionQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["document", "index"], condition=Q(state=EditionState.LIVE), name="one_live_edition_per_index"
            ),
            models.UniqueConstraint(
                fields=["document", "index"],
                condition=Q(state=EditionState.MAKING),
                name="one_edition_in_the_making_per_index",
            ),
            models.CheckConstraint(condition=Q(state__in=EditionState.values), name="edition_has_a_state"),
            models.CheckConstraint(condition=Q(worded__lte=F("chunks")), name="edition_has_words_of_its_chunks"),
            models.CheckConstraint(condition=Q(findable__lte=F("chunks")), name="edition_finds_its_chunks"),
            models.CheckConstraint(condition=~Q(text=""), name="edition_has_a_text"),
        ]
        indexes = [
            models.Index(fields=["index", "state", "id"], name="editions_by_state"),
            models.Index(fields=["id"], condition=Q(state=EditionState.REMOVED), name="editions_to_be_purged"),
        ]

    if TYPE_CHECKING:
        document_id: int
        index_id: int

    def __str__(self) -> str:
        return f"edition {self.pk} of document {self.document_id}"


class Chunk(models.Model):
    """A passage. `header` is the title and the headings above it, embedded and indexed with it, and not shown.

    `start` and `end` are offsets in the text of its page, in characters. A parent is answered and not found itself; it
    has neither words nor a vector. A pending one stands in an edition that is out of sight. `index` is the edition's,
    so that equal chunks are found by digest within it.
    """

    edition = models.ForeignKey(Edition, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    index = models.ForeignKey(KnowledgeIndex, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    position = models.PositiveIntegerField()
    page = models.PositiveIntegerField(null=True, blank=True)
    header = models.TextField(blank=True, default="")
    text = models.TextField()
    digest = models.CharField(max_length=DIGEST_LENGTH)
    start = models.PositiveIntegerField(default=0)
    end = models.PositiveIntegerField(default=0)
    is_parent = models.BooleanField(default=False)
    is_pending = models.BooleanField(default=False, help_text="Whether its vector is still to be made.")
    parent = models.ForeignKey(
        "self",
        on_delete=models.DO_NOTHING,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["edition", "position"], name="chunk_unique_per_edition"),
            models.CheckConstraint(condition=~Q(text=""), name="chunk_has_a_text"),
            models.CheckConstraint(condition=Q(is_parent=False) | Q(parent__isnull=True), name="parent_has_no_parent"),
        ]
        indexes = [models.Index(fields=["index", "digest"], name="chunks_by_digest")]

    if TYPE_CHECKING:
        edition_id: int
        index_id: int
        parent_id: int | None

    def __str__(self) -> str:
        return f"chunk {self.position} of edition {self.edition_id}"


class CrawlHost(models.Model):
    """When a page of a host may be fetched next, by any worker."""

    host = CodePointCharField(primary_key=True, max_length=255)
    next_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.host
