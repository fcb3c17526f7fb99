"""The first glance: what is wrong with jobs, workers, models and budgets, and what runs now."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from django.db.models import BigIntegerField, F
from django.db.models.functions import Cast
from django.http import HttpRequest

from bedrock_chat.console import periods, writing
from bedrock_chat.console.addresses import of_calls, of_list, of_row
from bedrock_chat.console.panels import Figure
from bedrock_chat.console.periods import Choice
from bedrock_chat.console.registry import Severity, Trouble, now, warning
from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs import backlog
from bedrock_chat.jobs.models import Job, State
from bedrock_chat.ledger.budgets import amounts
from bedrock_chat.ledger.budgets.models import BudgetCounter
from bedrock_chat.ledger.rollups import reading
from bedrock_chat.ledger.rollups.figures import THROTTLED, Figures
from bedrock_chat.ledger.rollups.models import Dimension
from bedrock_chat.ledger.zones import QUARTER, Span, quarter_of

LONG_WAIT_SECONDS: Final = 600
MOST_DEAD: Final = 1_000

THROTTLED_HOURS: Final = timedelta(hours=1)
THROTTLED_SHARE: Final = 0.05
FEWEST_THROTTLED: Final = 5
"""Fewer throttled calls in an hour are no trouble, whatever their share."""

NEAR_END: Final = 90
"""Percent of a budget after which it is near its end."""
SHOWN_BUDGETS: Final = 3


@warning("jobs", permission="bedrock_chat.view_job")
def jobs(request: HttpRequest) -> Iterator[Trouble]:
    """Dead jobs, no worker, and jobs that nobody begins."""
    dead = Job.objects.filter(state=State.DEAD).values_list("pk", flat=True)[:MOST_DEAD].count()
    if dead:
        number = f"{dead:,} jobs were" if dead > 1 else "1 job was"
        more = " or more" if dead == MOST_DEAD else ""
        text = f"{number}{more} given up after failing again and again."
        yield Trouble(text, of_list("bedrock_chat.job", state__exact=State.DEAD), Severity.ERROR, "Read why, and retry")
    state = backlog.look()
    if not state.workers:
        text = "No worker runs, so no job is done: start one with manage.py run_worker."
        yield Trouble(text, of_list("bedrock_chat.worker"), Severity.ERROR, "Workers")
    elif state.oldest_seconds > LONG_WAIT_SECONDS:
        minutes = round(state.oldest_seconds / 60)
        text = f"Jobs wait: {state.waiting:,} are due, the oldest one for {minutes:,} minutes."
        yield Trouble(text, of_list("bedrock_chat.job"), Severity.CAUTION, "Jobs")


@warning("throttles", permission="bedrock_chat.view_modelcall")
def throttles(request: HttpRequest) -> Iterator[Trouble]:
    """Bedrock throttles more than THROTTLED_SHARE of the calls of the last hour."""
    end = quarter_of(database_now()) + QUARTER
    figures = Figures.total(reading.usage(Span(end - THROTTLED_HOURS, end), by=Dimension.MODEL).values())
    if figures.throttles >= FEWEST_THROTTLED and figures.throttles > THROTTLED_SHARE * figures.calls:
        share = figures.throttles / figures.calls
        text = f"Bedrock throttled {share:.0%} of the calls of the last hour ({figures.throttles:,})."
        today = periods.period_of({}, default=Choice.TODAY)
        assert today is not None
        yield Trouble(text, of_calls(today, fault=THROTTLED), Severity.ERROR, "The throttled calls")


@warning("budgets", permission="bedrock_chat.view_budget")
def budgets(request: HttpRequest) -> Iterator[Trouble]:
    """Budgets of which NEAR_END percent are used or reserved in their period of now: the fullest first."""
    taken = Cast(F("used") + F("reserved"), BigIntegerField())
    counters = (
        BudgetCounter.objects.filter(ends_at__gt=database_now(), allowance__gt=0)
        .annotate(taken=taken)
        .filter(taken__gte=F("allowance") / 100 * NEAR_END)
        .order_by(F("taken") * 100 / F("allowance") * -1, "pk")
    )
    full = list(counters[: SHOWN_BUDGETS + 1])
    for counter in full[:SHOWN_BUDGETS]:
        share = counter.taken * 100 // counter.allowance
        amount = amounts.sentence(counter.allowance, counter.unit)
        text = f"The budget of {counter.payer_kind} {counter.payer_id} ({amount} a {counter.period}) is {share} % used."
        severity = Severity.ERROR if share >= 100 and counter.is_hard else Severity.CAUTION
        yield Trouble(text, of_row("bedrock_chat.budget", counter.budget_id), severity, "The budget")
    if len(full) > SHOWN_BUDGETS:
        yield Trouble("Other budgets are near their end, too.", of_list("bedrock_chat.budget"), link_text="Budgets")


@now("jobs", order=50, permission="bedrock_chat.view_job")
def jobs_now(request: HttpRequest) -> Iterator[Figure]:
    """Depth of the queue, and who works on it."""
    state = backlog.look()
    running = Job.objects.filter(state=State.RUNNING).count()
    oldest = f"the oldest for {state.oldest_seconds:,.0f} s" if state.waiting else ""
    yield Figure("Jobs waiting", writing.number(state.waiting), of_list("bedrock_chat.job"), oldest)
    yield Figure("Jobs running", writing.number(running), of_list("bedrock_chat.job", state__exact=State.RUNNING))
    yield Figure("Workers", writing.number(state.workers), of_list("bedrock_chat.worker"))
