"""Filters of lists that ask the table nothing: what one may choose is known, or is a value that a link brought."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact
from django.http import HttpRequest

from bedrock_chat.console import periods
from bedrock_chat.console.periods import Choice, Period
from bedrock_chat.wire.errors import BadRequest

LONGEST_VALUE = 256

BY_KEY = "finds_by_key"
"""The attribute of a request whose filters shall not use their index."""


Condition = Callable[[str], Q]
"""The rows whose column has a value, as an index finds them."""


def matching(
    request: HttpRequest, rows: QuerySet[Any], column: str, value: str, indexed: Condition | None = None
) -> QuerySet[Any]:
    """Rows whose column, a text that may be NULL, has a value. `indexed`: not every row is in an index of the column.

    While a list looks through keys (`key_paging`), the condition is one that no index answers: a database that does
    not know how frequent a value is would gather and sort all its rows.
    """
    if getattr(request, BY_KEY, False):
        return rows.filter(Exact(Coalesce(F(column), Value("")), value))
    return rows.filter(**{column: value}) if indexed is None else rows.filter(indexed(value))


class _Filter(admin.SimpleListFilter):
    """The base of ours. It refuses a value that no column can hold: without the filter, all rows would be listed."""

    def value(self) -> str | None:
        value = super().value()
        if value and len(value) > LONGEST_VALUE:
            raise BadRequest(f"A filter's value has at most {LONGEST_VALUE} characters.")
        return value or None


class IdFilter(_Filter):
    """Keeps the rows whose column is what a link named. Nobody chooses an id from a list: without one none is shown."""

    column: ClassVar[str]
    indexed: ClassVar[Condition | None] = None

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        value = self.value()
        return [(value, value)] if value else []

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return matching(request, rows, self.column, value, type(self).indexed) if value else rows


class ChoiceFilter(_Filter):
    """Keeps the rows whose column is one of some known values, or what a link named."""

    column: ClassVar[str]

    def choices_known(self) -> Iterable[tuple[str, str]]:
        """Value and label of what one may choose."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        known = dict(self.choices_known())
        value = self.value()
        return list({**known, **({value: value} if value and value not in known else {})}.items())

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return rows.filter(**{self.column: value}) if value else rows


def id_filter(parameter: str, column: str, title: str, indexed: Condition | None = None) -> type[IdFilter]:
    """A filter by an id: `id_filter("bot", "bot_id", "bot")` takes `?bot=`."""
    attributes = {"parameter_name": parameter, "column": column, "title": title, "indexed": indexed}
    return type("IdFilter", (IdFilter,), attributes)


def choice_filter(
    parameter: str, column: str, title: str, known: Callable[[], Iterable[tuple[str, str]]]
) -> type[ChoiceFilter]:
    """A filter by known values, which `known` gives with their labels when a list is shown."""
    attributes = {
        "parameter_name": parameter,
        "column": column,
        "title": title,
        "choices_known": lambda _self: known(),
    }
    return type("ChoiceFilter", (ChoiceFilter,), attributes)


class PeriodFilter(admin.SimpleListFilter):
    """Keeps the rows of the last days, or of the days that a link named, in the setting REPORT_TIME_ZONE."""

    title = "time"
    parameter_name = periods.DAYS
    column = "created_at"

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        own = {name: params.pop(name)[-1] for name in periods.PARAMETERS if name in params}
        self.period: Period | None = periods.period_of(own, default=None)
        super().__init__(request, params, model, model_admin)
        self.used_parameters.update(own)

    def expected_parameters(self) -> list[str | None]:
        return [*periods.PARAMETERS]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in Choice.choices]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """The days to choose from, and the two dates that a link named."""
        dates = [periods.FROM, periods.TO]
        yield {
            "selected": self.period is None,
            "query_string": changelist.get_query_string(remove=[periods.DAYS, *dates]),
            "display": "All",
        }
        for value, label in self.lookup_choices:
            yield {
                "selected": self.value() == value,
                "query_string": changelist.get_query_string({periods.DAYS: value}, dates),
                "display": label,
            }
        if self.period is not None and self.value() is None:
            yield {
                "selected": True,
                "query_string": changelist.get_query_string(),
                "display": self.period.label,
            }

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        if self.period is None:
            return rows
        span = self.period.span
        return rows.filter(**{f"{self.column}__gte": span.start, f"{self.column}__lt": span.end})
