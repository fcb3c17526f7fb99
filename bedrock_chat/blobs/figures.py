"""How much is stored, at a cost that does not grow with it.

Blobs are named by their digests, which are spread evenly: those with the lowest names are as good a sample as any. Up
to SAMPLE blobs are counted, and what they say of all is estimated from how far their names reach.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from django.core.files.storage import default_storage
from django.db.models import Count, Exists, OuterRef, QuerySet, Sum

from bedrock_chat.blobs import storing, uploads
from bedrock_chat.blobs.models import Blob, BlobReference, BlobRemoval

SAMPLE: Final = 20_000
MOST_COUNTED: Final = 1_000
"""Files that wait, and files that are to be deleted. A bucket lists a thousand in one request."""
_NAMES: Final = 16**64


@dataclass(frozen=True, slots=True)
class Amount:
    """Files and their bytes."""

    files: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """The blobs with names up to `last`, which are `fraction` of all; without `last`, all of them."""

    last: str | None = None
    fraction: float = 1.0

    @property
    def is_estimate(self) -> bool:
        return self.last is not None

    @property
    def blobs(self) -> "QuerySet[Blob]":
        rows = Blob.objects.order_by()
        return rows if self.last is None else rows.filter(pk__lte=self.last)

    @property
    def references(self) -> "QuerySet[BlobReference]":
        """Those to the blobs of the sample. The bound stands here, too: else a database reads all of them."""
        rows = BlobReference.objects.order_by()
        return rows if self.last is None else rows.filter(blob_id__lte=self.last)

    def of_all(self, amount: Amount) -> Amount:
        """What an amount in the sample says of all."""
        return Amount(round(amount.files / self.fraction), round(amount.bytes / self.fraction))


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored, and for whom: an owner's kind → what has one of them. A file may have owners of two kinds.

    `unreferenced` has no owner. `to_delete` files have no blob any more (MOST_COUNTED: so many or more).
    """

    sample: Sample
    all: Amount
    by_kind: dict[str, Amount]
    unreferenced: Amount
    to_delete: int


def sample() -> Sample:
    """In one query, which reads the names of the sample."""
    last = Blob.objects.order_by("pk").values_list("pk", flat=True)[SAMPLE - 1 : SAMPLE].first()
    # The last one is where the sample ends, so it says nothing of how close together the names are.
    return Sample() if last is None else Sample(last, (int(last, 16) + 1) / _NAMES)


def stored(of: Sample) -> Stored:
    """A few queries, each over the sample."""
    by_kind = {kind: _amount(of, _referred_to(of, owner_kind=kind)) for kind in _owner_kinds()}
    return Stored(
        sample=of,
        all=_amount(of, of.blobs),
        by_kind=by_kind,
        unreferenced=_amount(of, of.blobs.filter(~Exists(of.references.filter(blob=OuterRef("pk"))))),
        to_delete=BlobRemoval.objects.order_by()[:MOST_COUNTED].count(),
    )


def waiting() -> Amount:
    """What was uploaded and nothing has kept yet, up to MOST_COUNTED files. Raises StorageUnavailable.

    It asks the storage, which may be a network away: call it outside any transaction.
    """
    storing.let_go_of_database()
    files = default_storage.waiting(f"{uploads.FOLDER}/")  # type: ignore[attr-defined]  # our storages have it
    sizes = [file.size for file, _ in islice(files, MOST_COUNTED)]
    return Amount(len(sizes), sum(sizes))


def _owner_kinds() -> Iterator[str]:
    """The kinds of owners that there are, by a look into the index for each."""
    kind: str | None = ""
    while True:
        kinds = BlobReference.objects.filter(owner_kind__gt=kind).order_by("owner_kind").values_list("owner_kind")
        kind = kinds.values_list("owner_kind", flat=True).first()
        if kind is None:
            return
        yield kind


def _referred_to(of: Sample, owner_kind: str) -> "QuerySet[Blob]":
    return of.blobs.filter(Exists(of.references.filter(blob=OuterRef("pk"), owner_kind=owner_kind)))


def _amount(of: Sample, rows: "QuerySet[Blob]") -> Amount:
    sums = rows.aggregate(files=Count("pk"), bytes=Sum("size", default=0))
    return of.of_all(Amount(sums["files"], int(sums["bytes"])))
