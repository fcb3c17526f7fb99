"""How far the erasure of a person is."""

from django.db import models
from django.db.models import Q

LONGEST_REFUSAL = 512


class Erasure(models.Model):
    """A person who is being erased, or was a while ago. It is kept for some days, for who asked.

    `steps` are the sentences of what was done, the newest last. `was_active`: whether they were let in before it, so
    that calling it off lets them in again. `refusal` is why it ended before its end: a hold that was placed meanwhile.
    """

    user_id = models.CharField("person", primary_key=True, max_length=128)
    asked_by = models.CharField(max_length=128, blank=True)
    asked_at = models.DateTimeField()
    was_active = models.BooleanField(db_default=True)
    begun_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True, db_index=True)
    steps = models.JSONField(default=list, blank=True)
    refusal = models.CharField("stopped, because", max_length=LONGEST_REFUSAL, blank=True, default="")

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(
                condition=Q(finished_at__isnull=True) | Q(begun_at__isnull=False), name="finished_erasure_was_begun"
            ),
            models.CheckConstraint(
                condition=Q(refusal="") | Q(finished_at__isnull=False), name="refused_erasure_is_finished"
            ),
        ]

    def __str__(self) -> str:
        return self.user_id
