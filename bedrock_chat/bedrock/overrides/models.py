"""What operators have set of a model, and the last fault of each model's calls."""

from decimal import Decimal

from django.db import models
from django.db.models import Q

KEY_LENGTH = 64
PRICES = ("input_price", "output_price", "cache_read_price", "cache_write_price")


def _price(kind: str) -> "models.DecimalField[Decimal | None, Decimal | None]":
    return models.DecimalField(
        f"price of {kind}",
        max_digits=16,
        decimal_places=10,
        null=True,
        blank=True,
        help_text="USD per 1,000 tokens. Empty: the price of MODEL_PRICES, else the list price.",
    )


class ModelOverride(models.Model):
    """What an operator has set of one model of the catalogue; a model without a row is as the environment says.

    It narrows what the setting GLOBAL_AVAILABLE_MODELS offers, and never adds to it. With `groups`, only their members
    may use the model. A price goes before MODEL_PRICES.
    """

    key = models.CharField(primary_key=True, max_length=KEY_LENGTH, editable=False)
    is_enabled = models.BooleanField("enabled", default=True, help_text="Whether anybody may use the model.")
    is_default = models.BooleanField(
        "default", default=False, help_text="What a new conversation begins with, in the place of DEFAULT_MODEL."
    )
    groups = models.JSONField("allowed groups", default=list, blank=True, help_text="Empty: everybody.")
    input_price = _price("input")
    output_price = _price("output")
    cache_read_price = _price("cache reads")
    cache_write_price = _price("cache writes")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "model"
        default_permissions = ("view", "change")
        permissions = [("test_modeloverride", "Can call a model to test it")]
        constraints = [
            models.UniqueConstraint(fields=["is_default"], condition=Q(is_default=True), name="one_default_model"),
            models.CheckConstraint(condition=Q(is_default=False) | Q(is_enabled=True), name="default_model_is_enabled"),
            *(
                models.CheckConstraint(
                    condition=Q(**{f"{name}__isnull": True}) | Q(**{f"{name}__gte": 0, f"{name}__lt": 1000}),
                    name=f"model_{name}_in_range",
                )
                for name in PRICES
            ),
        ]

    def __str__(self) -> str:
        return self.key


class LastFault(models.Model):
    """The last fault of any call to a model, by Bedrock's name of it."""

    key = models.CharField(primary_key=True, max_length=KEY_LENGTH)
    code = models.CharField(max_length=64)
    at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.key} {self.code}"
