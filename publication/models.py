"""Publications of bots, their keys, what was used of their limits, and what was asked of them."""

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from bedrock_chat.database.fields import CodePointCharField
from bedrock_chat.wire.ids import ID_LENGTH, new_id
from bots.models import BOT_ID_LENGTH, USER_ID_LENGTH, Bot

STAGE_LENGTH = 64
KEY_ID_LENGTH = 10
LABEL_LENGTH = 128
LONGEST_DESCRIPTION = 1024  # of a key's name at API Gateway
LONGEST_AGENT = 256
SHA256_LENGTH = 64


class Period(models.TextChoices):
    """How often a quota begins anew, in UTC: at midnight, with the week, with the month."""

    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"


class LimitsScope(models.TextChoices):
    """What limits count for: each key, as at API Gateway, or all keys of the publication together."""

    KEY = "key"
    PUBLICATION = "publication"


class Publication(models.Model):
    """A bot that is served as an API. A bot that is published again gets a new one, which knows nothing of the old.

    Limits that are None do not exist. `quota_offset` is subtracted from the quota in the first period. `bot_version`
    pins the API to a version; None: it follows the bot. `store_openai`: chat completions are kept for the owner.
    `tool_rounds` and `tool_seconds` lower what the bot allows its tools.
    """

    id = CodePointCharField(primary_key=True, max_length=26, default=new_id)
    bot = models.OneToOneField(Bot, on_delete=models.CASCADE, related_name="publication")
    stage = models.CharField(max_length=STAGE_LENGTH, default="api")
    quota_limit = models.PositiveBigIntegerField(null=True, blank=True)
    quota_offset = models.PositiveBigIntegerField(default=0)
    quota_period = models.CharField(max_length=5, choices=Period, null=True, blank=True)
    rate_limit = models.FloatField(null=True, blank=True, help_text="Requests per second.")
    burst_limit = models.PositiveIntegerField(null=True, blank=True)
    limits_scope = models.CharField(max_length=11, choices=LimitsScope, default=LimitsScope.KEY)
    allowed_origins = models.JSONField(default=list)
    allowed_networks = models.JSONField(default=list)
    bot_version = models.PositiveIntegerField(null=True, blank=True)
    store_openai = models.BooleanField("store chat completions", default=False, db_default=False)
    tool_rounds = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="The most rounds with tools of an answer; empty: as many as the bot has."
    )
    tool_seconds = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="The longest call of a tool; empty: as long as the bot has."
    )
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(stage=""), name="publication_has_a_stage"),
            models.CheckConstraint(
                condition=Q(quota_limit__isnull=True, quota_period__isnull=True)
                | Q(quota_limit__isnull=False, quota_period__in=Period.values),
                name="quota_has_limit_and_period",
            ),
            models.CheckConstraint(
                condition=Q(rate_limit__isnull=True, burst_limit__isnull=True)
                | Q(rate_limit__gt=0, burst_limit__gte=1),
                name="throttle_has_rate_and_burst",
            ),
            models.CheckConstraint(condition=Q(limits_scope__in=LimitsScope.values), name="limits_have_a_scope"),
        ]

    if TYPE_CHECKING:
        bot_id: str

    def __str__(self) -> str:
        return f"{self.bot_id}/{self.stage}"


class PublicationOwner(models.Model):
    """Whose a publication is or was, by value: it is known when the publication and its bot are gone."""

    publication_id = CodePointCharField(primary_key=True, max_length=26)
    user_id = models.CharField(max_length=USER_ID_LENGTH, db_index=True)
    bot_id = models.CharField(max_length=BOT_ID_LENGTH)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.publication_id


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def valid(self) -> "ApiKeyQuerySet":
        """Those that open their API: enabled, not expired, and their owner is not suspended (see `authentication`)."""
        is_now = Q(expires_at__isnull=True) | Q(expires_at__gt=Now())
        return self.filter(is_now, is_enabled=True, publication__bot__owner__is_active=True)


class ApiKey(models.Model):
    """A key of a publication. `digest` finds it, and `encrypted_value` shows it to its owner, unless it is empty.

    A rotated key has the `lineage` of the one that it replaces: both draw on one counter. `begun_at` is when the first
    key of the lineage was made, and `replaced_by` the id of the key that a rotation made in this one's place.
    """

    id = CodePointCharField(primary_key=True, max_length=KEY_ID_LENGTH)
    publication = models.ForeignKey(Publication, on_delete=models.CASCADE, related_name="keys")
    lineage = CodePointCharField(max_length=KEY_ID_LENGTH, db_index=True)
    begun_at = models.DateTimeField()
    replaced_by = models.CharField(max_length=KEY_ID_LENGTH, blank=True, default="")
    description = models.CharField(max_length=LONGEST_DESCRIPTION, blank=True, default="")
    digest = models.CharField(max_length=64, unique=True)
    encrypted_value = models.TextField(blank=True, default="")
    is_enabled = models.BooleanField("enabled", default=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_address = models.CharField(max_length=64, blank=True, default="")
    last_used_agent = models.CharField(max_length=LONGEST_AGENT, blank=True, default="")

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        permissions = [
            ("rotate_apikey", "Can rotate API keys"),
            ("reveal_apikey", "Can show the values of API keys"),
            ("top_up_apikey", "Can add to the quotas of API keys"),
        ]
        constraints = [models.CheckConstraint(condition=~Q(lineage=""), name="key_has_a_lineage")]

    if TYPE_CHECKING:
        publication_id: str

    def __str__(self) -> str:
        return self.id


class Gate(models.Model):
    """What was used of the limits of one account: a lineage of keys, or a publication (`limits`).

    `tat` is the throttle's time, in seconds since the epoch. `period` is the label of the period in which a request was
    admitted last, `used` its requests, and `extra` what was added to its quota.
    """

    account = CodePointCharField(primary_key=True, max_length=64)
    publication_id = CodePointCharField(max_length=26, db_index=True)
    tat = models.FloatField(default=0)
    period = models.CharField(max_length=16, default="")
    used = models.BigIntegerField(default=0)
    extra = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = "use of limits"
        verbose_name_plural = "use of limits"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.account


class TurnRequest(models.Model):
    """A question that a published API has accepted. It stays until its conversation goes; `reason` says why it failed.

    `content` is the stored form of the question's blocks, whose files are blobs. While `done_at` is empty, a job runs
    it or will. Keys ascend in the order in which the questions of a conversation were accepted. `host` is the process
    that streams the answer, and so does the job while it lives (`running.ANY_WORKER` where it is known to be gone);
    empty: nobody listens, and any worker does it.
    """

    message_id = CodePointCharField(max_length=ID_LENGTH)
    publication_id = CodePointCharField(max_length=26)
    key_id = models.CharField(max_length=KEY_ID_LENGTH)
    conversation_id = CodePointCharField(max_length=ID_LENGTH)
    model = models.CharField(max_length=64)
    content = models.JSONField(default=list)
    continue_generate = models.BooleanField(default=False)
    enable_reasoning = models.BooleanField(default=False)
    user_label = models.CharField(max_length=LABEL_LENGTH, blank=True, default="")
    host = models.CharField(max_length=26, blank=True, default="", db_default="")
    reason = models.TextField(blank=True, default="")
    accepted_at = models.DateTimeField()
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "question"
        default_permissions = ("view",)
        indexes = [
            models.Index(
                fields=["publication_id", "conversation_id", "id"],
                condition=Q(done_at__isnull=True),
                name="turns_waiting_in_order",
            )
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["publication_id", "conversation_id", "message_id"],
                condition=Q(continue_generate=False),
                name="turn_request_unique_per_question",
            )
        ]

    def __str__(self) -> str:
        return self.message_id


class Route(models.TextChoices):
    """The routes whose requests may have an idempotency key."""

    CONVERSATION = "conversation"
    CHAT_COMPLETIONS = "chat completions"


class IdempotencyKey(models.Model):
    """A key that a client gave a request, so that sending it again does nothing twice (`idempotency`).

    `digest` is the SHA-256 of the key, and `payload` that of the request's JSON, both in hexadecimal. While
    `lease_expires_at` is there, a process answers the request, and `attempt` fences what that process writes. After
    that `encrypted_answer` is there, of `size` characters; it is empty where the answer was not kept.
    """

    publication_id = CodePointCharField(max_length=26, db_index=True)
    lineage = CodePointCharField(max_length=KEY_ID_LENGTH)
    route = models.CharField(max_length=16, choices=Route)
    digest = CodePointCharField(max_length=SHA256_LENGTH)
    payload = models.CharField(max_length=SHA256_LENGTH)
    attempt = models.PositiveIntegerField(default=1)
    claimed_at = models.DateTimeField(db_index=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    size = models.PositiveIntegerField(default=0)
    encrypted_answer = models.TextField(blank=True, default="")

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["lineage", "route", "digest"], name="idempotency_key_unique_in_its_scope"),
            models.CheckConstraint(condition=Q(route__in=Route.values), name="idempotency_key_has_a_route"),
            models.CheckConstraint(
                condition=Q(lease_expires_at__isnull=True) | Q(encrypted_answer=""),
                name="idempotency_key_runs_or_has_its_answer",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.lineage}/{self.route}"
