"""What was used of quotas in the present period, for a page of rows at once, and how it is shown."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils import timezone
from django.utils.html import format_html

from publication import limits
from publication.models import ApiKey, Gate, LimitsScope, Period, Publication

NO_QUOTA = "no quota"
BAR = (
    '<span class="align-middle bg-base-100 inline-block mr-2 overflow-hidden rounded-default w-32 dark:bg-base-800" '
    'role="img" aria-label="{}"><span class="bg-primary-600 block h-1.5 dark:bg-primary-500" style="width: {}%">'
    "</span></span><span>{}</span>"
)


@dataclass(frozen=True, slots=True)
class Used:
    """Questions of the present period, and how many there may be; `account` is whose."""

    used: int
    allowed: int
    account: str


def of_publications(publications: Iterable[Publication]) -> dict[str, Used]:
    """Publication → its use, or that of its busiest key where limits count for each. Those without a quota are left
    out. One query.
    """
    limited = {row.pk: row for row in publications if row.quota_limit is not None}
    busiest: dict[str, Used] = {}
    for gate in Gate.objects.filter(publication_id__in=limited, period__in=_labels()).order_by("account"):
        row = limited[gate.publication_id]
        if _is_shared(row) != (gate.account == row.pk) or gate.account.endswith(limits.POLLS):
            continue
        used = _used(row, gate)
        if used is not None and (row.pk not in busiest or _share(used) > _share(busiest[row.pk])):
            busiest[row.pk] = used
    return {pk: busiest.get(pk) or Used(0, row.quota_limit or 0, pk) for pk, row in limited.items()}


def of_keys(keys: Iterable[ApiKey]) -> dict[str, Used]:
    """Key → the use of the account that it draws on. One query."""
    accounts = {key.pk: _account_of(key) for key in keys if key.publication.quota_limit is not None}
    gates = Gate.objects.filter(period__in=_labels()).in_bulk(list(set(accounts.values())))
    of_keys: dict[str, Used] = {}
    for key in keys:
        if key.pk not in accounts:
            continue
        gate = gates.get(accounts[key.pk])
        used = _used(key.publication, gate) if gate is not None else None
        of_keys[key.pk] = used or Used(0, key.publication.quota_limit or 0, accounts[key.pk])
    return of_keys


def bar(used: Used | None) -> str:
    """A bar with its figures beside it."""
    if used is None:
        return NO_QUOTA
    figures = f"{used.used:,} of {used.allowed:,}"
    percent = min(100, round(100 * used.used / max(1, used.allowed)))
    return format_html(BAR, figures, percent, figures)


def _labels() -> dict[str, Period]:
    """Label → period, of the periods that run now."""
    now = timezone.now()
    return {limits.label_of(period, now): period for period in Period}


def _used(row: Publication, gate: Gate) -> Used | None:
    """None for a row of another kind of period. The offset of a first period is left to the API's own headers."""
    assert row.quota_limit is not None
    if _labels().get(gate.period) != row.quota_period:
        return None
    return Used(gate.used, row.quota_limit + gate.extra, gate.account)


def _share(used: Used) -> float:
    return used.used / max(1, used.allowed)


def _is_shared(row: Publication) -> bool:
    return row.limits_scope == LimitsScope.PUBLICATION


def _account_of(key: ApiKey) -> str:
    return key.publication_id if _is_shared(key.publication) else key.lineage
