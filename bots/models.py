"""Bots, their versions, with whom they are shared, and what each person has to do with them."""

from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Exists, F, OuterRef, Q

from bedrock_chat.database.fields import CodePointCharField
from bedrock_chat.identity.caller import Caller

BOT_ID_LENGTH = 64
LONGEST_TITLE = 1000
LAST_PIN = 999
GRANTEE_LENGTH = 128
USER_ID_LENGTH = 128


class Scope(models.TextChoices):
    """With whom a bot is shared: with nobody, with those whom its grants name, with everybody who is signed in."""

    PRIVATE = "private"
    PARTIAL = "partial"
    ALL = "all", "Everybody"


class SyncStatus(models.TextChoices):
    """How far the bot's knowledge and its guardrail are."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class TakenBotId(models.Model):
    """An id that was once given to a bot. It stays when the bot is gone: a link to that bot never shows another one."""

    id = CodePointCharField(primary_key=True, max_length=BOT_ID_LENGTH)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.id


class BotContent(models.Model):
    """What an edit changes and a version keeps.

    `encrypted_secrets` is a token of the JSON of all secrets by the names of their tools, or empty. `configuration` has
    everything else that chatting needs, without secrets.
    """

    title = models.CharField(max_length=LONGEST_TITLE)
    description = models.TextField(blank=True, default="")
    instruction = models.TextField(blank=True, default="")
    configuration = models.JSONField(help_text="A `configuration.Configuration`.")
    encrypted_secrets = models.TextField(blank=True, default="")

    class Meta:
        abstract = True


class BotQuerySet(models.QuerySet["Bot"]):
    """`access` has the same two rules for one bot. A test compares them."""

    def usable_by(self, actor: Caller) -> Self:
        """The bots that somebody may chat with: Admin every one, others what `listed_for` shows them."""
        return self.all() if actor.is_admin else self.listed_for(actor)

    def listed_for(self, actor: Caller) -> Self:
        """The bots that lists show somebody: their own, and what is shared with them. A key of a publication has none.

        Admin sees no more than others here: they did not ask for everybody's bots.
        """
        if actor.user_id is None:
            return self.none()
        granted = Exists(BotGrant.objects.to(actor).filter(bot=OuterRef("pk")))
        return self.filter(Q(owner=actor.user_id) | Q(scope=Scope.ALL) | (Q(scope=Scope.PARTIAL) & granted))

    def findable_by(self, actor: Caller) -> Self:
        """The bots that a search shows somebody: Admin finds everything that is shared with anybody, too."""
        if not actor.is_admin:
            return self.listed_for(actor)
        return self.filter(Q(owner=actor.user_id) | ~Q(scope=Scope.PRIVATE))


class Bot(BotContent):
    """A bot as it is now. `version` is the number of its newest version, whose content is this row's.

    Like the scope, `allow_cloning` is part of no version: whether those who may use the bot may have one like it.

    `pinned_order` is its place among the bots that Admin has pinned for everybody. `published_at` says since when it is
    a published API. Both need the scope `all`. `is_indexed` is false from every change of its texts, its owner or its
    sharing until the store knows of it.
    """

    id = CodePointCharField(primary_key=True, max_length=BOT_ID_LENGTH)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="bots")
    version = models.PositiveIntegerField(default=1)
    scope = models.CharField(max_length=7, choices=Scope, default=Scope.PRIVATE)
    allow_cloning = models.BooleanField(default=False)
    pinned_order = models.PositiveSmallIntegerField("pinned", null=True, blank=True)
    published_at = models.DateTimeField(null=True, blank=True)
    sync_status = models.CharField(max_length=9, choices=SyncStatus, default=SyncStatus.SUCCEEDED)
    sync_status_reason = models.TextField(blank=True, default="")
    is_indexed = models.BooleanField(default=False, help_text="Whether the store knows it as it is.")
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    objects: ClassVar[BotQuerySet] = BotQuerySet.as_manager()  # type: ignore[assignment]  # a manager with its methods

    class Meta:
        permissions = [
            ("pin_bot", "Can pin and unpin bots"),
            ("unshare_bot", "Can make bots private"),
            ("transfer_bot", "Can give bots to another owner"),
        ]
        indexes = [
            models.Index(fields=["pinned_order"], condition=Q(pinned_order__isnull=False), name="bots_pinned"),
            models.Index(fields=["-created_at"], condition=Q(scope=Scope.ALL), name="bots_of_everybody"),
            models.Index(fields=["updated_at"], condition=Q(is_indexed=False), name="bots_to_be_indexed"),
            models.Index(fields=["updated_at"], condition=Q(sync_status=SyncStatus.FAILED), name="bots_not_synced"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(scope__in=Scope.values), name="bot_has_a_scope"),
            models.CheckConstraint(condition=Q(sync_status__in=SyncStatus.values), name="bot_has_a_sync_status"),
            models.CheckConstraint(condition=Q(version__gte=1), name="bot_has_a_version"),
            models.CheckConstraint(
                condition=Q(pinned_order__isnull=True) | Q(pinned_order__lte=LAST_PIN, scope=Scope.ALL),
                name="pinned_bot_is_everybodys",
            ),
            models.CheckConstraint(
                condition=Q(published_at__isnull=True) | Q(scope=Scope.ALL), name="published_bot_is_everybodys"
            ),
        ]

    if TYPE_CHECKING:
        owner_id: str

    def __str__(self) -> str:
        return self.id

    @classmethod
    def in_order(cls, *names: str) -> tuple[str, ...]:
        """These columns in the order in which `from_db` takes them."""
        return tuple(field.attname for field in cls._meta.concrete_fields if field.attname in names)


class BotVersion(BotContent):
    """The bot as an edit left it. Versions count from 1, and the oldest ones go (`versions.save`)."""

    bot = models.ForeignKey(Bot, on_delete=models.CASCADE, related_name="versions", db_index=False)
    number = models.PositiveIntegerField()
    author_id = models.CharField(
        max_length=USER_ID_LENGTH, help_text="By value: who made it may be gone. Of erased people `erased:…`."
    )
    changed = models.JSONField(default=list, help_text="The fields that differ from the version before.")
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["author_id"], name="versions_by_author")]
        constraints = [models.UniqueConstraint(fields=["bot", "number"], name="version_number_unique_per_bot")]

    if TYPE_CHECKING:
        bot_id: str

    def __str__(self) -> str:
        return f"{self.bot_id}, version {self.number}"


class BotFile(models.Model):
    """Bytes that a bot or any of its versions names, under whatever names: the owner of the blob.

    The names are in the configurations. The key owns the reference.
    """

    bot = models.ForeignKey(Bot, on_delete=models.CASCADE, related_name="files", db_index=False)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField(help_text="Bytes.")

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=Q(sha256__regex=r"^[0-9a-f]{64}$"), name="bot_file_has_a_digest"),
            models.UniqueConstraint(fields=["bot", "sha256"], name="file_unique_per_bot"),
        ]

    if TYPE_CHECKING:
        bot_id: str

    def __str__(self) -> str:
        return f"{self.bot_id}: {self.sha256}"


class Grantee(models.TextChoices):
    USER = "user"
    GROUP = "group"


class BotGrantQuerySet(models.QuerySet["BotGrant"]):
    def to(self, actor: Caller) -> Self:
        """The grants that name a person, or a group of their token."""
        to_user = Q(kind=Grantee.USER, grantee=actor.user_id)
        to_groups = Q(kind=Grantee.GROUP, grantee__in=sorted(actor.groups)) if actor.groups else Q()
        return self.filter(to_user | to_groups)


class BotGrant(models.Model):
    """With whom a bot of the scope `partial` is shared: a user or a group, by value. Keys ascend as they were sent."""

    bot = models.ForeignKey(Bot, on_delete=models.CASCADE, related_name="grants", db_index=False)
    kind = models.CharField(max_length=5, choices=Grantee)
    grantee = models.CharField(max_length=GRANTEE_LENGTH)

    objects: ClassVar[BotGrantQuerySet] = BotGrantQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        default_permissions = ("view",)
        indexes = [models.Index(fields=["kind", "grantee"], name="grants_to_somebody")]
        constraints = [
            models.UniqueConstraint(fields=["bot", "kind", "grantee"], name="grant_unique_per_bot"),
            models.CheckConstraint(condition=Q(kind__in=Grantee.values), name="grant_names_a_user_or_a_group"),
        ]

    if TYPE_CHECKING:
        bot_id: str

    def __str__(self) -> str:
        return f"{self.bot_id} to {self.kind} {self.grantee}"


class BotGuardrail(models.Model):
    """The guardrail in Bedrock that a bot's thresholds have made: at most one, whatever happens.

    The row is there before Bedrock is asked for a guardrail, and stays until there is none any more. So it outlives its
    bot. `arn` is empty while there is none, or while `is_asked_for`: then Bedrock may have one that is not known yet.

    Turns use `version`, which was made for `filters`. It is empty until the first one is ready.
    """

    # By value, like `BotAlias.bot`.
    bot = models.OneToOneField(
        Bot, primary_key=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="guardrail"
    )
    arn = models.CharField("ARN", max_length=2048, blank=True, default="")
    version = models.CharField(max_length=8, blank=True, default="")
    filters = models.JSONField(null=True, help_text="What `version` blocks: kinds of content and how strictly.")
    is_asked_for = models.BooleanField(default=False)
    former_arns = models.JSONField(default=list, help_text="Those that are gone. Clients may still send them back.")
    replaced_at = models.DateTimeField(null=True, help_text="Since when it may have versions that no new turn uses.")
    unused_since = models.DateTimeField(null=True, help_text="Since when the bot does not want it any more.")

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["arn"], condition=~Q(arn=""), name="guardrail_of_one_bot"),
            models.CheckConstraint(condition=Q(version="") | ~Q(arn=""), name="guardrail_version_has_a_guardrail"),
            models.CheckConstraint(
                condition=Q(version="", filters__isnull=True) | (~Q(version="") & Q(filters__isnull=False)),
                name="guardrail_version_has_filters",
            ),
            models.CheckConstraint(condition=Q(arn="") | Q(is_asked_for=False), name="guardrail_is_known_or_asked_for"),
        ]

    if TYPE_CHECKING:
        bot_id: str

    def __str__(self) -> str:
        return f"{self.arn or 'none yet'} of {self.bot_id}"


class BotAlias(models.Model):
    """What a person has to do with a bot, their own or another's: the star, the last turn, how often they used it.

    It outlives the bot and the person's access to it. `title` and `description` are the bot's when the row was last
    written: the person has seen these. They are texts of the bot's owner, and go when the owner is erased.

    `popularity` is the sum of the days on which the person used the bot, each as `popularity.of_day` weighs it, and
    `last_use_day` is the last of them.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="bot_aliases", db_index=False
    )
    # By value, with Django's joins: NULL is never stored, but makes them outer ones.
    bot = models.ForeignKey(
        Bot, on_delete=models.DO_NOTHING, db_constraint=False, null=True, related_name="aliases", db_index=False
    )
    bot_owner_id = models.CharField(max_length=USER_ID_LENGTH, help_text="By value: the bot may be gone.")
    title = models.CharField(max_length=LONGEST_TITLE)
    description = models.TextField(blank=True, default="")
    is_starred = models.BooleanField("starred", default=False)
    last_used_at = models.DateTimeField(null=True, blank=True)
    uses = models.PositiveIntegerField(default=0)
    popularity = models.FloatField(default=0.0)
    last_use_day = models.PositiveIntegerField(default=0, help_text="In days since 1970 UTC; 0: no use is counted.")
    created_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "bot aliases"
        indexes = [
            models.Index(
                F("user"), F("last_used_at").desc(), condition=Q(last_used_at__isnull=False), name="aliases_by_last_use"
            ),
            models.Index(fields=["user"], condition=Q(is_starred=True), name="aliases_starred"),
            models.Index(fields=["bot"], name="aliases_of_a_bot"),
            models.Index(fields=["bot_owner_id"], name="aliases_by_bot_owner"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["user", "bot"], name="alias_unique_per_user_and_bot"),
            models.CheckConstraint(condition=Q(bot__isnull=False), name="alias_names_a_bot"),
            models.CheckConstraint(condition=~Q(bot_owner_id=""), name="alias_names_the_bots_owner"),
        ]

    if TYPE_CHECKING:
        user_id: str
        bot_id: str

    def __str__(self) -> str:
        return f"{self.bot_id} of {self.user_id}"


import bots.knowledge.models  # noqa: E402, F401  Django looks for models in this module; those need the classes above
