"""Conversations as trees of messages."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.db import models
from django.db.models import Exists, F, OuterRef, Q

from bedrock_chat.database.fields import CodePointCharField, FastEncoder
from bedrock_chat.identity.caller import Caller
from bedrock_chat.people.models import Erasure
from bedrock_chat.wire.ids import ID_LENGTH

ROOT_IDS = frozenset({"system", "instruction"})
UNTITLED = "New conversation"
BLOB_OWNER = "conversation"
"""The kind of owner that refers to the files of a conversation."""

# `updated_at` may go back, when a change has read the clock before an earlier change did. So any other value is new.
NOT_INDEXED = Q(user__isnull=False) & (
    Q(indexed_at__isnull=True) | Q(indexed_at__lt=F("updated_at")) | Q(indexed_at__gt=F("updated_at"))
)


def _is_being_erased(user: str) -> Exists:
    """Whether the person is whose id is in a column of the rows."""
    return Exists(Erasure.objects.filter(pk=OuterRef(user), finished_at__isnull=True))


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def to_be_indexed(self) -> Self:
        """Users' conversations whose present state is not indexed. No route searches those of publications."""
        return self.filter(NOT_INDEXED)

    def visible_to(self, actor: Caller) -> Self:
        """A user's own conversations, or those of the publication whose key is calling."""
        return self.filter(**self.owner(actor))

    def open_to_operators(self) -> Self:
        """All but those of people who are being erased, which nobody reads or exports. A hold changes nothing."""
        return self.filter(~_is_being_erased("user_id"))

    @staticmethod
    def owner(actor: Caller) -> dict[str, str | None]:
        """The columns that make a conversation the caller's."""
        if actor.user_id is not None:
            return {"user_id": actor.user_id}
        return {"publication_id": actor.publication_id}


class Conversation(models.Model):
    """The tree's root, which clients see as the `system` message.

    `external_id` is chosen by the client and unique per owner. `last_question` is the external id of the question whose
    turn was opened last; `lastMessageId` follows from it and the tree. `feedback` is the feedback on `system`.
    """

    external_id = CodePointCharField(max_length=ID_LENGTH)
    # The unique constraints below serve as the indexes of owners: each index is a page more that a turn writes.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, db_index=False)
    publication_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    bot_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    title = models.CharField(max_length=1000, default=UNTITLED)
    model = models.CharField(max_length=64, help_text="The model of the first turn.")
    instruction = models.TextField(blank=True, default="")
    last_question = CodePointCharField(max_length=ID_LENGTH, blank=True, default="")
    feedback = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    indexed_at = models.DateTimeField(
        null=True, blank=True, help_text="The `updated_at` that search knows; empty: everything is to be indexed anew."
    )

    size = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Bytes of its messages and of their files, each as often as it was sent."
    )

    objects = ConversationQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["updated_at"], condition=NOT_INDEXED, name="conversations_to_be_indexed"),
            models.Index(fields=["bot_id"], condition=Q(bot_id__isnull=False), name="conversations_of_a_bot"),
            models.Index(fields=["id"], condition=Q(feedback__isnull=False), name="conversations_rated"),
        ]
        permissions = [
            ("read_content", "Can read what people wrote in conversations"),
            ("read_comments", "Can read comments of feedback"),
            ("export_conversations", "Can export conversations"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=False, publication_id__isnull=True)
                | Q(user__isnull=True, publication_id__isnull=False),
                name="conversation_has_one_owner",
            ),
            models.CheckConstraint(condition=~Q(external_id=""), name="conversation_id_not_blank"),
            models.UniqueConstraint(fields=["user", "external_id"], name="conversation_id_unique_per_user"),
            models.UniqueConstraint(
                fields=["publication_id", "external_id"],
                condition=Q(publication_id__isnull=False),
                name="conversation_id_unique_per_publication",
            ),
        ]

    if TYPE_CHECKING:
        user_id: str | None

    def __str__(self) -> str:
        return self.external_id


class Role(models.TextChoices):
    USER = "user"
    ASSISTANT = "assistant"


class Outcome(models.TextChoices):
    """How a question's newest turn ended. It counts once the turn's lease is over."""

    ANSWERED = "answered"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


def lease_length() -> timedelta:
    """How long a lease holds from the moment at which it is given or renewed."""
    return timedelta(seconds=settings.TURN_LEASE_SECONDS)


def lease_lives(expires_at: datetime | None, now: datetime) -> bool:
    """Whether a turn runs, by the lease on its question and the clock of the database."""
    return expires_at is not None and expires_at > now


class MessageQuerySet(models.QuerySet["Message"]):
    def running(self, now: datetime) -> Self:
        """Questions whose turn runs: the same rule as `lease_lives`."""
        return self.filter(lease_expires_at__gt=now)

    def open_to_operators(self) -> Self:
        """Those of conversations that are open to them."""
        return self.filter(~_is_being_erased("conversation__user_id"))


class Message(models.Model):
    """A question or an answer.

    A question's row has the state of its newest turn. `attempt` counts the question's turns and fences their writes.
    The lease says that a turn runs. `outcome` says what is true once the lease is over. It is written *before* the
    model is asked, so it is true even if the process is killed, and nobody has to clean up. `continues` is the answer
    that a running continuation extends. `stop_attempt` is the attempt that its user wants stopped.

    An answer's `attempt` is the one that wrote or extended it. While the turn that writes an answer runs, the answer is
    not part of the tree, although checkpoints may have written its row.

    `content` is the wire's list of content blocks, with bodies of images and documents replaced by their blob. The
    column comes after all that the tree needs, so that SQLite reads those without following a long body's overflow
    pages. `feedback` is the wire's object too. It is read only together with the content. The same holds for what tools
    leave (`content.rounds`): `thinking_log` is an answer's, and `rounds` a question's whose answer is not there yet.
    """

    # The unique constraint below serves as the index of a conversation's messages.
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages", db_index=False)
    external_id = CodePointCharField(max_length=ID_LENGTH)
    # Messages are only deleted with their conversation, in one statement. The database checks this key at the commit.
    parent = models.ForeignKey(
        "self", on_delete=models.DO_NOTHING, null=True, blank=True, related_name="children", db_index=False
    )
    role = models.CharField(max_length=9, choices=Role)
    attempt = models.PositiveIntegerField(default=1)
    outcome = models.CharField(max_length=11, choices=Outcome, blank=True, default="")
    lease_holder = models.CharField(max_length=26, blank=True, default="", help_text="The process that runs the turn.")
    # Without an index, which each turn would write twice: who looks for running turns knows their conversations.
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    continues = models.BigIntegerField(null=True, blank=True)
    stop_attempt = models.PositiveIntegerField(null=True, blank=True)
    stop_reason = models.CharField(max_length=64, blank=True, default="")
    model = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    content_digest = models.CharField(max_length=64, help_text="SHA-256 of the stored content; finds repeats.")
    content = models.JSONField(default=list)
    feedback = models.JSONField(null=True, blank=True)
    thinking_log = models.JSONField(
        null=True, blank=True, encoder=FastEncoder, help_text="The rounds before an answer: tools and results."
    )
    rounds = models.JSONField(
        null=True, blank=True, encoder=FastEncoder, help_text="The rounds of a question's turn, until it is closed."
    )

    objects = MessageQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["parent"], condition=Q(parent__isnull=False), name="messages_below_a_message"),
            models.Index(fields=["conversation"], condition=Q(feedback__isnull=False), name="messages_with_feedback"),
            models.Index(fields=["id"], condition=Q(feedback__isnull=False), name="messages_rated"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["conversation", "external_id"], name="message_id_unique_per_conversation"),
            models.CheckConstraint(
                condition=~Q(external_id__in=["", *sorted(ROOT_IDS)]), name="message_id_is_not_the_roots"
            ),
            models.CheckConstraint(
                condition=Q(role=Role.USER, outcome__in=Outcome.values, stop_reason="")
                | Q(role=Role.ASSISTANT, outcome="", lease_expires_at__isnull=True, parent__isnull=False),
                name="question_has_outcome_answer_has_question",
            ),
            models.CheckConstraint(
                condition=Q(role=Role.USER) | Q(stop_attempt__isnull=True), name="only_a_question_is_stopped"
            ),
            models.CheckConstraint(
                condition=Q(lease_holder="", lease_expires_at__isnull=True, continues__isnull=True)
                | (~Q(lease_holder="") & Q(lease_expires_at__isnull=False)),
                name="lease_has_holder_and_expiry",
            ),
        ]

    if TYPE_CHECKING:
        conversation_id: int
        parent_id: int | None

    def __str__(self) -> str:
        return self.external_id


SOURCE_ID_LENGTH = 512


class RelatedDocument(models.Model):
    """A document that a tool found for an answer, kept for the answer's reader.

    `source_id` is `<toolUseId or answer's id>@<n>`, or the tool use's id alone, and unique in its conversation.
    `content` is a part of a tool's result in its stored form: a file's body is a blob. `document_number` is the key of
    a document in an index of our own, by value: the passage stays when the document goes. Its address is made at each
    read, so it has no `source_link`.
    """

    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="related_documents", db_index=False
    )
    # Answers and these rows are only deleted with their conversation. A cascade by answer would read them all first.
    answer = models.ForeignKey(Message, on_delete=models.DO_NOTHING, related_name="related_documents")
    source_id = CodePointCharField(max_length=SOURCE_ID_LENGTH)
    source_name = models.TextField(null=True, blank=True)
    source_link = models.TextField(null=True, blank=True)
    page_number = models.PositiveIntegerField(null=True, blank=True)
    content = models.JSONField()
    document_number = models.BigIntegerField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["conversation", "source_id"], name="source_id_unique_per_conversation"),
            models.CheckConstraint(condition=~Q(source_id=""), name="source_id_not_blank"),
            models.CheckConstraint(
                condition=Q(document_number__isnull=True) | Q(source_link__isnull=True),
                name="own_document_has_no_stored_link",
            ),
        ]

    if TYPE_CHECKING:
        conversation_id: int
        answer_id: int

    def __str__(self) -> str:
        return self.source_id


class RatedMessage(Message):
    """A message that somebody gave a thumb, as operators look it up."""

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = "feedback on a message"
        verbose_name_plural = "feedback on messages"


class RatedConversation(Conversation):
    """A conversation that somebody gave a thumb as a whole."""

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = "feedback on a conversation"
        verbose_name_plural = "feedback on conversations"


class ConversationExport(models.Model):
    """An export of conversations by an operator: what it was filtered by, and how far it is.

    It goes by keys from `next_key` to `last_key`. The file itself is nowhere but with the operator.
    """

    asked_by = models.CharField(max_length=128)
    bot_id = models.CharField("bot", max_length=ID_LENGTH, blank=True, default="")
    user_id = models.CharField("person", max_length=128, blank=True, default="")
    publication_id = models.CharField("published API", max_length=ID_LENGTH, blank=True, default="")
    first_day = models.DateField("begun from", null=True, blank=True)
    last_day = models.DateField("begun until", null=True, blank=True)
    first_key = models.BigIntegerField()
    next_key = models.BigIntegerField()
    last_key = models.BigIntegerField()
    conversations = models.PositiveBigIntegerField(default=0)
    size = models.PositiveBigIntegerField(default=0, help_text="Bytes that were made.")
    begun_at = models.DateTimeField()
    moved_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ("view",)
        verbose_name_plural = "exports of conversations"
        constraints = [
            models.CheckConstraint(
                condition=Q(first_day__isnull=True, last_day__isnull=True) | Q(first_day__lte=F("last_day")),
                name="export_has_days_in_order",
            ),
        ]

    def __str__(self) -> str:
        return f"Export {self.pk}"
