"""The rows of vectors. All but an index's own are written once: out of sight, then shown, hidden and deleted."""

from django.db import models


class VectorIndex(models.Model):
    """What all vectors of an index share.

    `version` is a random number, a new one with every change of what is visible, so that a process that keeps bits in
    memory sees that it has to read anew. A counter could come back to the same number after a rollback or a restored
    backup. `visible` is the number of vectors that a search looks at.
    """

    index_id = models.BigIntegerField(primary_key=True)
    version = models.BigIntegerField()
    dimensions = models.IntegerField()
    visible = models.IntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(dimensions__gt=0, visible__gte=0), name="vector_index_counts"),
        ]

    def __str__(self) -> str:
        return f"vectors of {self.index_id}"


class VectorBits(models.Model):
    """The sign bits of a batch's vectors, or of all vectors of a group, one behind the other, with their keys.

    `keys` are 8 bytes each, little-endian, `bits` are `dimensions` bits each. `shown` is null out of sight, else the
    version of the index that showed them.
    """

    index_id = models.BigIntegerField()
    group_id = models.BigIntegerField()
    shown = models.BigIntegerField(null=True)
    count = models.IntegerField()
    keys = models.BinaryField()
    bits = models.BinaryField()

    class Meta:
        indexes = [
            models.Index(fields=["index_id", "group_id"], name="vector_bits_of_group"),
            models.Index(fields=["index_id", "id"], condition=models.Q(shown__isnull=False), name="vector_bits_shown"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(count__gt=0), name="vector_bits_hold_some"),
        ]

    def __str__(self) -> str:
        return f"{self.count} vectors of {self.index_id}"


class Vector(models.Model):
    """A vector, as `quantising` packs it: its scales of four bytes, then one signed byte for each dimension."""

    pk = models.CompositePrimaryKey("index_id", "key")
    index_id = models.BigIntegerField()
    key = models.BigIntegerField()
    group_id = models.BigIntegerField()
    quantised = models.BinaryField()

    class Meta:
        indexes = [models.Index(fields=["index_id", "group_id"], name="vector_of_group")]

    def __str__(self) -> str:
        return f"vector {self.key} of {self.index_id}"
