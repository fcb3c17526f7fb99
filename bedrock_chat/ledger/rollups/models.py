"""Sums over calls: by quarter hour of UTC, and made from those by day and month of the setting REPORT_TIME_ZONE.

Rows name people, bots and keys by value. An empty text stands for none. Sums by all dimensions together have a row for
each fault, and one without, whose `fault` is empty: the figures of all rows add up. Sums by one dimension are all calls
of a value in one row, since reports read a hundred thousand of them; faults by kind are in a table beside them.
"""

from django.db import models
from django.db.models import Q

from bedrock_chat.ledger.models import Purpose
from bedrock_chat.wire.ids import ID_LENGTH

SET_LENGTH = 32
GROUP_LENGTH = 256


class Dimension(models.TextChoices):
    """By what figures are added up. A user is who pays (`ModelCall.payer_id`); each of their groups counts the call."""

    USER = "user"
    BOT = "bot"
    KEY = "key"
    MODEL = "model"
    GROUP = "group"


class Grain(models.TextChoices):
    DAY = "day"
    THIRD = "third"
    MONTH = "month"


class Measures(models.Model):
    """What is added up. `price` is in units of 10⁻¹⁰ USD, the last digit of a call's price: whole numbers add up
    exactly on both databases. `unpriced` counts the calls that used tokens which have no price.
    """

    calls = models.PositiveBigIntegerField(default=0)
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    cache_read_tokens = models.PositiveBigIntegerField(default=0)
    cache_write_tokens = models.PositiveBigIntegerField(default=0)
    price = models.PositiveBigIntegerField(default=0)
    unpriced = models.PositiveBigIntegerField(default=0)

    class Meta:
        abstract = True


class Together(Measures):
    """Sums by all dimensions together. `group_set` names the caller's groups (`GroupMember`)."""

    payer_id = models.CharField(max_length=128, blank=True, default="")
    user_id = models.CharField(max_length=128, blank=True, default="")
    bot_id = models.CharField(max_length=ID_LENGTH, blank=True, default="")
    key_id = models.CharField(max_length=64, blank=True, default="")
    model = models.CharField(max_length=64)
    purpose = models.CharField(max_length=32, choices=Purpose)
    group_set = models.CharField(max_length=SET_LENGTH, blank=True, default="")
    fault = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        abstract = True


TOGETHER = ("payer_id", "user_id", "bot_id", "key_id", "model", "purpose", "group_set", "fault")
MEASURES = tuple(field.name for field in Measures._meta.fields)


class QuarterUsage(Together):
    """The calls of a quarter hour of UTC."""

    start = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["start", *TOGETHER], name="one_sum_of_a_quarter_hour")]
        indexes = [models.Index(fields=["payer_id", "start"], name="quarter_hours_of_a_payer")]

    def __str__(self) -> str:
        return f"{self.payer_id} {self.start:%Y-%m-%d %H:%M}"


class DayUsage(Together):
    """The calls of a day of the setting REPORT_TIME_ZONE."""

    day = models.DateField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", *TOGETHER], name="one_sum_of_a_day")]
        indexes = [
            models.Index(fields=["payer_id", "day"], name="days_of_a_payer"),
            models.Index(fields=["bot_id", "day"], condition=~Q(bot_id=""), name="days_of_a_bot"),
        ]

    def __str__(self) -> str:
        return f"{self.payer_id} {self.day}"


class ByDimension(models.Model):
    """A value of one dimension, in a day, or in a month or a third of one that begins on `day`."""

    grain = models.CharField(max_length=5, choices=Grain)
    dimension = models.CharField(max_length=5, choices=Dimension)
    day = models.DateField()
    value = models.CharField(max_length=GROUP_LENGTH)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.dimension} {self.value} {self.day}"


class DimensionUsage(ByDimension, Measures):
    """The calls of a day, or of a month or its third as far as days are in it (`Progress.months_until`), by one
    dimension.
    """

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["dimension", "grain", "day", "value"], name="one_sum_of_a_day_by_dimension"
            ),
            models.CheckConstraint(condition=~Q(value=""), name="dimension_has_a_value"),
            models.CheckConstraint(
                condition=Q(grain__in=Grain.values, dimension__in=Dimension.values), name="sum_has_grain_and_dimension"
            ),
        ]
        indexes = [models.Index(fields=["dimension", "value", "grain", "day"], name="days_of_one_value")]


class DimensionFault(ByDimension):
    """How many of those calls ended with a fault."""

    fault = models.CharField(max_length=64)
    calls = models.PositiveBigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["dimension", "grain", "day", "value", "fault"], name="one_count_of_faults_by_dimension"
            ),
            models.CheckConstraint(condition=~Q(value="") & ~Q(fault=""), name="fault_and_its_value_are_named"),
            models.CheckConstraint(
                condition=Q(grain__in=Grain.values, dimension__in=Dimension.values),
                name="faults_have_grain_and_dimension",
            ),
        ]
        indexes = [models.Index(fields=["dimension", "value", "grain", "day"], name="faults_of_one_value")]


class GroupMember(models.Model):
    """A group of a set of groups. `group_set` is a digest of all its names, so it is the same wherever it is made."""

    group_set = models.CharField(max_length=SET_LENGTH)
    name = models.CharField(max_length=GROUP_LENGTH)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["group_set", "name"], name="group_once_in_a_set"),
            models.CheckConstraint(condition=~Q(group_set="") & ~Q(name=""), name="group_and_set_are_named"),
        ]

    def __str__(self) -> str:
        return self.name


class Timed(models.TextChoices):
    FIRST_TOKEN = "first"  # noqa: S105  a word of the model's
    TOTAL = "total"


class Timing(models.Model):
    """How many calls took how long: those of a bucket (`histogram`)."""

    model = models.CharField(max_length=64)
    purpose = models.CharField(max_length=32, choices=Purpose)
    timed = models.CharField(max_length=5, choices=Timed)
    bucket = models.PositiveSmallIntegerField()
    calls = models.PositiveBigIntegerField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.model} {self.timed} {self.bucket}"


class Latency(Timing):
    """The calls of a quarter hour."""

    start = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["start", "model", "purpose", "timed", "bucket"], name="one_count_of_a_bucket"
            ),
            models.CheckConstraint(condition=Q(timed__in=Timed.values), name="latency_says_what_was_timed"),
        ]


class DayLatency(Timing):
    """The calls of a day of the setting REPORT_TIME_ZONE, made of its quarter hours."""

    day = models.DateField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["timed", "day", "model", "purpose", "bucket"], name="one_count_of_a_bucket_a_day"
            ),
            models.CheckConstraint(condition=Q(timed__in=Timed.values), name="latency_of_a_day_says_what_was_timed"),
        ]


class Refusal(models.Model):
    """How often a limit of ours refused somebody in a quarter hour. No call was made, so the ledger has no row."""

    start = models.DateTimeField()
    limit = models.CharField(max_length=32)
    payer_id = models.CharField(max_length=128, blank=True, default="")
    bot_id = models.CharField(max_length=ID_LENGTH, blank=True, default="")
    key_id = models.CharField(max_length=64, blank=True, default="")
    count = models.PositiveBigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["start", "limit", "payer_id", "bot_id", "key_id"], name="one_count_of_refusals"
            ),
        ]
        indexes = [models.Index(fields=["payer_id"], condition=~Q(payer_id=""), name="refusals_of_a_payer")]

    def __str__(self) -> str:
        return f"{self.limit} {self.start:%Y-%m-%d %H:%M}"


class QuarterHour(models.Model):
    """Where the ledger's rows of a quarter hour are: those that began in it have keys from `first_key` to `last_key`.

    The ledger has no index by time, since every turn would write it.
    """

    start = models.DateTimeField(primary_key=True)
    first_key = models.BigIntegerField()
    last_key = models.BigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(first_key__lte=models.F("last_key")), name="keys_are_in_order"),
        ]

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M}"


class LateEnd(models.Model):
    """A call that ended after its quarter hour: its row has changed since, or may have, after the sums were made.

    It is written in the transaction that changes the row, and deleted in the one that makes the sums anew.
    """

    start = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M}"


class Progress(models.Model):
    """How far the sums are made: one row, locked by whoever makes some.

    Sums of quarter hours before `made_until` are there. So are those of days before `days_until`, in `zone`. Sums of
    months and their thirds have the days before `months_until`: the last of them may not be over. All rows of the
    ledger up to `safe_key` are committed, and known to `QuarterHour`. `seen_key` was the last one at `seen_at`.
    `rebuilt_to` is where a rebuild that was interrupted goes on.

    Of what was pruned: rows of the ledger up to `pruned_key` are gone, but for those on hold, and all sums of what was
    before `kept_from`.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    made_until = models.DateTimeField(null=True, blank=True)
    zone = models.CharField(max_length=64, blank=True, default="")
    days_until = models.DateField(null=True, blank=True)
    months_until = models.DateField(null=True, blank=True)
    safe_key = models.BigIntegerField(default=0)
    seen_key = models.BigIntegerField(default=0)
    seen_at = models.DateTimeField(null=True, blank=True)
    rebuilt_to = models.DateTimeField(null=True, blank=True)
    pruned_key = models.BigIntegerField(default=0, db_default=0)
    kept_from = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="progress_is_one_row")]

    def __str__(self) -> str:
        return f"until {self.made_until}"
