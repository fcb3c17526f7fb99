"""The row of a call to a model."""

from collections.abc import Sequence
from typing import Final

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from bedrock_chat.wire.ids import ID_LENGTH


class Purpose(models.TextChoices):
    """What a call was for."""

    TURN = "turn"
    TITLE = "title"
    TRIAL = "trial"
    EMBEDDING = "embedding"
    PARSING = "parsing"


OF_DOCUMENTS: Final = (Purpose.EMBEDDING, Purpose.PARSING)
"""What is mostly done to a bot's documents. A question's own vector has the same purpose as theirs."""


class ModelCall(models.Model):
    """The cost ledger: one row per call to a model, kept by value when user, bot and conversation are gone.

    `user_id` is who asked. `payer_id` is who pays: the same person, or for a published call the bot's owner at that
    moment. `groups` are the payer's: the token's, or the owner's last seen ones. A turn makes a call for each of its
    rounds; they share its `turn_id`, which other calls do not have, but for those that embed its queries.

    A row is one call, but for texts that are embedded together: their row says in `calls` how many it stands for, and
    its other columns are the sums over them. Whoever counts calls adds up `calls` (`NUMBER_OF_CALLS`).

    Prices are USD per 1,000 tokens as they stood at the call; `price` is USD, null where a price has no source
    (unpriced, which is not free). `estimated` marks usage that Bedrock never reported.
    """

    is_begun = False
    """Whether the row was written when the call began (`recording.begin`), so that its end only updates it."""

    begun_row: "ModelCall | None" = None
    """That row, as it was written. What it says was used is counted already."""

    payers: Sequence[tuple[str, str]] = ()
    """Whose budgets the call counts for, in a row that is about to be inserted."""

    created_at = models.DateTimeField()
    purpose = models.CharField(max_length=32, choices=Purpose)
    user_id = models.CharField(max_length=128, null=True, blank=True)
    payer_id = models.CharField(max_length=128, null=True, blank=True)
    publication_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    key_id = models.CharField(max_length=64, null=True, blank=True)
    user_label = models.CharField(
        max_length=128, blank=True, default="", db_default="", help_text="Whom an integrator asked for."
    )
    groups = models.JSONField(
        null=True, blank=True, help_text="Of who pays, at that moment; empty in rows older than the column."
    )
    bot_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    conversation_external_id = models.CharField(max_length=ID_LENGTH)
    message_external_id = models.CharField(max_length=ID_LENGTH, blank=True, default="", help_text="The question's.")
    turn_id = models.CharField(max_length=26, null=True, blank=True)
    model = models.CharField(max_length=64)
    model_id = models.CharField(max_length=512, help_text="The Bedrock id or inference profile that was invoked.")
    region = models.CharField(max_length=32)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    cache_read_tokens = models.PositiveIntegerField(default=0)
    cache_write_tokens = models.PositiveIntegerField(default=0)
    input_price = models.DecimalField(max_digits=16, decimal_places=10, null=True, blank=True)
    output_price = models.DecimalField(max_digits=16, decimal_places=10, null=True, blank=True)
    cache_read_price = models.DecimalField(max_digits=16, decimal_places=10, null=True, blank=True)
    cache_write_price = models.DecimalField(max_digits=16, decimal_places=10, null=True, blank=True)
    price = models.DecimalField(max_digits=20, decimal_places=10, null=True, blank=True)
    first_token_ms = models.PositiveIntegerField(null=True, blank=True)
    latency_ms = models.PositiveIntegerField()
    stop_reason = models.CharField(max_length=64, blank=True, default="")
    fault = models.CharField(max_length=64, blank=True, default="", help_text="Bedrock's name of the fault, if any.")
    estimated = models.BooleanField(default=False)
    # No CHECK as of a PositiveIntegerField: adding one would have read this large table under a lock.
    calls = models.IntegerField(null=True, blank=True, help_text="How many calls the row stands for. Empty: one.")

    class Meta:
        db_table = "conversations_modelcall"  # the name in existing databases
        # Each index is a page more that every turn writes, so there is none by time: later calls have higher keys.
        indexes = [
            models.Index(
                fields=["user_id", "conversation_external_id", "message_external_id"],
                condition=Q(user_id__isnull=False),
                name="calls_of_a_user",
            ),
            models.Index(
                fields=["publication_id", "conversation_external_id", "message_external_id"],
                condition=Q(publication_id__isnull=False),
                name="calls_of_a_publication",
            ),
            models.Index(
                fields=["payer_id", "created_at"],
                condition=Q(publication_id__isnull=False),
                name="published_calls_of_a_payer",
            ),
            models.Index(fields=["key_id"], condition=Q(key_id__isnull=False), name="calls_of_a_key"),
            models.Index(fields=["bot_id"], condition=Q(bot_id__isnull=False), name="calls_of_a_bot"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(user_id__isnull=True, publication_id__isnull=False, key_id__isnull=False)
                | Q(user_id__isnull=False, publication_id__isnull=True, key_id__isnull=True),
                name="call_has_one_caller",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.created_at:%Y-%m-%d %H:%M:%S}"

    @property
    def number_of_calls(self) -> int:
        """How many calls the row stands for."""
        return 1 if self.calls is None else self.calls


def paid_by(payer_id: str) -> Q:
    """The calls that somebody pays for, as indexes find them: their own by who asked, published ones by who pays."""
    return Q(user_id=payer_id) | Q(publication_id__isnull=False, payer_id=payer_id)


NUMBER_OF_CALLS: Final = Coalesce(F("calls"), 1)
"""How many calls a row of `ModelCall` stands for, as an expression."""


class ToolCall(models.Model):
    """A call of a tool: one row each, by value like `ModelCall`, and without anything of its content.

    `turn_id` is that of its turn's calls to the model. `outcome` is a word of `bots.tools.tool`, or one of the loop's:
    `refused` was not run, `unknown` ran in a process that did not live to its end. `bytes_in` are those of the input as
    JSON, `bytes_out` those of the result, files included.
    """

    created_at = models.DateTimeField()
    user_id = models.CharField(max_length=128, null=True, blank=True)
    payer_id = models.CharField(max_length=128, null=True, blank=True)
    publication_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    key_id = models.CharField(max_length=64, null=True, blank=True)
    bot_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    conversation_external_id = models.CharField(max_length=ID_LENGTH, blank=True, default="")
    message_external_id = models.CharField(max_length=ID_LENGTH, blank=True, default="", help_text="The question's.")
    turn_id = models.CharField(max_length=26)
    tool = models.CharField(max_length=64, help_text="The name by which the model called it.")
    kind = models.CharField(max_length=32, blank=True, default="", help_text="Empty for a tool that is not known.")
    server = models.CharField(max_length=256, blank=True, default="", help_text="Whom it talked to.")
    duration_ms = models.PositiveIntegerField(default=0)
    bytes_in = models.PositiveBigIntegerField(default=0)
    bytes_out = models.PositiveBigIntegerField(default=0)
    outcome = models.CharField(max_length=32)

    class Meta:
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["payer_id"], condition=Q(payer_id__isnull=False), name="tool_calls_of_a_payer"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(user_id__isnull=True, publication_id__isnull=False, key_id__isnull=False)
                | Q(user_id__isnull=False, publication_id__isnull=True, key_id__isnull=True),
                name="tool_call_has_one_caller",
            ),
            models.CheckConstraint(
                condition=Q(user_id__isnull=True) | Q(payer_id__isnull=False, payer_id=F("user_id")),
                name="tool_call_is_paid_by_its_user",
            ),
            models.CheckConstraint(condition=~Q(outcome=""), name="tool_call_has_an_outcome"),
        ]

    def __str__(self) -> str:
        return f"{self.tool} {self.created_at:%Y-%m-%d %H:%M:%S}"
