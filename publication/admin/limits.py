"""Changing the limits of an API in the console, after they were tried on last month's questions."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django import forms

from bedrock_chat.console.confirming import ConfirmedAction, ConsoleForm, Preview, Table
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger import zones
from publication import lifecycle, simulating
from publication.models import LimitsScope, Period, Publication
from publication.serializers.publications import PublicationChangeSerializer
from publication.simulating import Outcome, Wanted

MOST_TRIED: Final = 100_000
"""Questions that limits are tried on while somebody waits: some two seconds. `simulate_quota` has no such bound."""
MOST_SHOWN: Final = 50
"""Keys of a simulation, those with most refusals first."""


SHOWN: Final = {
    "quota_limit": "Quota",
    "quota_period": "Its period",
    "rate_limit": "Questions a second",
    "burst_limit": "Questions at once",
    "limits_scope": "They count for",
}


class LimitsForm(ConsoleForm):
    base = forms.CharField(widget=forms.HiddenInput)
    quota_limit = forms.IntegerField(required=False, min_value=1, label="Quota", help_text="Questions. Empty: none.")
    quota_period = forms.ChoiceField(
        required=False,
        label="Period of the quota",
        choices=[("", "None"), *((period.value, f"A {period.value.lower()}") for period in Period)],
        help_text="Periods begin at midnight UTC, with the week, with the month.",
    )
    rate_limit = forms.FloatField(
        required=False,
        label="Rate",
        widget=forms.NumberInput({"step": "any"}),
        help_text="Questions a second, on average. Empty: no throttle.",
    )
    burst_limit = forms.IntegerField(required=False, min_value=1, label="Burst", help_text="Questions at once.")
    limits_scope = forms.ChoiceField(
        label="They count for",
        choices=[(LimitsScope.KEY.value, "each key"), (LimitsScope.PUBLICATION.value, "all keys together")],
    )


class ChangeLimits(ConfirmedAction[Publication]):
    name, label, icon = "limits", "Change limits", "speed"
    button = "Save these limits"
    permission = "publication.change_publication"
    is_previewed = True
    form_class = LimitsForm

    def consequences(self, row: Publication | None) -> Iterable[str]:
        yield "They hold from the next question on. What was used in the present period stays used."

    def initial(self, row: Publication) -> dict[str, Any]:
        return {**{name: getattr(row, name) for name in SHOWN}, "base": lifecycle.limits_revision(row)}

    def preview(self, row: Publication, values: Mapping[str, Any], *, actor: Caller) -> Preview:
        columns = _columns(row, values)
        wanted = Wanted(
            quota=columns["quota_limit"],
            period=None if columns["quota_period"] is None else Period(columns["quota_period"]),
            rate=columns["rate_limit"],
            burst=columns["burst_limit"],
            scope=LimitsScope(columns["limits_scope"]),
        )
        simulation = simulating.simulate(row, wanted, most=MOST_TRIED)
        ranked = sorted(
            simulation.outcomes.items(),
            key=lambda entry: (-entry[1].throttled - entry[1].over_quota, -entry[1].requests, entry[0]),
        )
        refused = sum(outcome.requests - outcome.admitted for _, outcome in ranked)
        questions = sum(outcome.requests for _, outcome in ranked)
        sentences = [
            f"{questions:,} questions were asked since {simulation.since:%Y-%m-%d} (UTC), "
            f"last month and this one so far. These limits would have refused {refused:,} of them."
        ]
        if simulation.is_cut:
            sentences.append(f"They were tried on the first {MOST_TRIED:,} questions alone.")
        if len(ranked) > MOST_SHOWN:
            sentences.append(f"{len(ranked) - MOST_SHOWN:,} more keys are not shown.")
        rows = [_row(key_id, outcome) for key_id, outcome in ranked[:MOST_SHOWN]]
        changed = [(label, _written(getattr(row, name)), _written(columns[name])) for name, label in SHOWN.items()]
        names = ("Key", "Asked", "Admitted", "Throttled", "Over quota", "Most in a period", "First refusal")
        return Preview(sentences, [Table("Limits", ("", "Now", "Then"), changed), Table("By key", names, rows)])

    def perform(self, row: Publication, values: Mapping[str, Any], *, actor: Caller) -> str:
        lifecycle.change(row.bot_id, _columns(row, values), limits_base=values["base"], actor=actor)
        return "The limits are saved; they hold from the next question on."


def _columns(row: Publication, values: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that PATCH would change. Raises DRF's ValidationError."""
    limit = values["quota_limit"]
    quota = {"limit": limit, "offset": row.quota_offset if limit else 0, "period": values["quota_period"] or None}
    throttle = {"rate_limit": values["rate_limit"], "burst_limit": values["burst_limit"]}
    sent = {"quota": quota, "throttle": throttle, "limits_scope": values["limits_scope"]}
    serializer = PublicationChangeSerializer(data=sent)
    serializer.is_valid(raise_exception=True)
    return serializer.columns()


def _written(value: Any) -> str:
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value).lower()


def _row(key_id: str, outcome: Outcome) -> tuple[str, ...]:
    at = outcome.first_refusal_at
    counts = (outcome.requests, outcome.admitted, outcome.throttled, outcome.over_quota, outcome.busiest)
    first = "none" if at is None else zones.written(datetime.fromtimestamp(at, UTC))
    return (key_id, *(f"{count:,}" for count in counts), first)
