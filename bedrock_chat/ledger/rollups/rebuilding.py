"""Making all sums anew from the ledger, day by day. Reports go on meanwhile: each day is exchanged as it is made."""

from collections.abc import Iterator
from datetime import date

from django.conf import settings
from django.db.models import Min

from bedrock_chat.ledger.rollups import making
from bedrock_chat.ledger.rollups.making import QUARTERS_AT_A_TIME, progress_locked
from bedrock_chat.ledger.rollups.models import Progress, QuarterHour
from bedrock_chat.ledger.zones import DAY, Span, day_of, days, start_of, third_after, third_of


def rebuild(*, resume: bool) -> Iterator[date]:
    """Makes the sums anew of all that is made; yields each day. With `resume`, goes on where a rebuild ended.

    What was pruned stays pruned, and sums whose calls were pruned stay as they are.
    """
    with progress_locked() as progress:
        if not resume:
            progress.rebuilt_to = None
            progress.save(update_fields=["rebuilt_to"])
        made_until, rebuilt_to = progress.made_until, progress.rebuilt_to
    if made_until is None:
        return
    if rebuilt_to is None:
        for _, keys in making.keys_after(progress.pruned_key):
            with progress_locked():
                making.note_keys(keys, made_until)
    first = rebuilt_to or QuarterHour.objects.aggregate(first=Min("start"))["first"]
    if first is not None and progress.kept_from is not None:
        first = max(first, progress.kept_from)
    day = None if first is None else day_of(first)
    while day is not None and start_of(day) < made_until:
        span = days(day, day)
        _rebuild_quarters(Span(span.start, min(span.end, made_until)))
        _finish_day(day)
        yield day
        day += DAY
    with progress_locked() as progress:
        progress.rebuilt_to = None
        progress.save(update_fields=["rebuilt_to"])


def _rebuild_quarters(span: Span) -> None:
    quarters = list(QuarterHour.objects.filter(start__gte=span.start, start__lt=span.end).order_by("start"))
    for first in range(0, len(quarters), QUARTERS_AT_A_TIME):
        with progress_locked() as progress:
            making.make(quarters[first : first + QUARTERS_AT_A_TIME], progress)


def _finish_day(day: date) -> None:
    """Makes the sums of the day anew, at the end of a third of its month those of both, and notes how far this is."""
    with progress_locked() as progress:
        if progress.zone == settings.REPORT_TIME_ZONE:
            is_last = day + DAY in (third_after(third_of(day)), progress.months_until)
            making.make_again_above(progress, day, with_month=is_last)
        Progress.objects.update(rebuilt_to=start_of(day + DAY))
