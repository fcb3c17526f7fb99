"""Which parameters the pages of the console take: those that their own filters and links make, and no others.

Django's admin takes every lookup on a column of the model, shown or not: `?password__startswith=a` answers yes or no.
An operator who may only look could so read hashes and titles letter by letter.
"""

import re
from collections.abc import Collection
from datetime import date
from typing import Any

from django.contrib.admin.exceptions import DisallowedModelAdminLookup, DisallowedModelAdminToField
from django.contrib.admin.options import IS_FACETS_VAR, IncorrectLookupParameters, ShowFacets
from django.contrib.admin.views.main import ALL_VAR, ORDER_VAR, PAGE_VAR, SEARCH_VAR
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.views import ChangeList

from bedrock_chat.wire.errors import BadRequest

PRESERVED_FILTERS = "_changelist_filters"
"""The parameters of a list, which its links to one row carry along for the way back."""

LONGEST_SEARCH = 200
MOST_VALUES = 50
"""Characters of a search, and values of all parameters. Each word and value is a condition; SQLite nests 1,000."""

LAST_YEAR = 9998
"""The date hierarchy adds a year to it."""

_PAGE = re.compile(r"[0-9]{1,9}")
_ORDERING = re.compile(r"-?[0-9]{1,3}(\.-?[0-9]{1,3})*")
_PART_OF_A_DATE = re.compile(r"[0-9]{1,4}")


def take_only(request: HttpRequest, names: Collection[str]) -> None:
    """Refuses parameters of other names, and more values than any link of ours has. Raises BadRequest."""
    for name in request.GET:
        if name not in names:
            raise BadRequest(f"This page takes no parameter {name!r}.")
    if sum(len(values) for _, values in request.GET.lists()) > MOST_VALUES:
        raise BadRequest(f"This page takes at most {MOST_VALUES} values.")


def check_search(text: str) -> None:
    """Refuses what is too long to be looked for. Raises BadRequest."""
    if len(text) > LONGEST_SEARCH:
        raise BadRequest(f"A search has at most {LONGEST_SEARCH} characters.")


def check_page_number(text: str) -> None:
    """Refuses what is no number of a page. Raises BadRequest."""
    if not _PAGE.fullmatch(text) or int(text) == 0:
        raise BadRequest("A page's number is 1 or more.")


class OwnParametersChangeList(ChangeList):
    """The list of a page. Raises BadRequest for every parameter that no filter or link of this page makes."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        try:
            super().__init__(request, *args, **kwargs)
        except (
            IncorrectLookupParameters,
            DisallowedModelAdminLookup,
            DisallowedModelAdminToField,
            OverflowError,  # a time at the calendar's end, in another zone
        ):
            raise BadRequest("This page does not take these parameters.") from None

    def get_filters(self, request: HttpRequest) -> Any:
        """Django's, whose third result is what the filters and the date hierarchy have left of the parameters."""
        self._check_values(request)
        before = set(self.get_filters_params())
        filters = super().get_filters(request)
        taken_by_filters = before - set(filters[2])
        take_only(request, {*self._parameters_of_links(), *taken_by_filters})
        return filters

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str] | None = None) -> QuerySet[Any]:
        """Django's, whose link that clears all filters would name the bounds of the date hierarchy's period instead."""
        rows: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        dates = f"{self.date_hierarchy}__"
        filters = [name for name in self.get_filters_params() if not (self.date_hierarchy and name.startswith(dates))]
        self.clear_all_filters_qs = self.get_query_string(remove=filters)
        return rows

    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        """Django's, and then what the page adds to all rows of this list at once."""
        super().get_results(request)
        self.result_list = list(self.result_list)
        self.model_admin.complete_page(request, self.result_list)

    def _parameters_of_links(self) -> set[str]:
        """What ordering, paging, the search box and the counts beside filters make."""
        names = {ORDER_VAR, PAGE_VAR, ALL_VAR}
        if self.search_fields:
            names.add(SEARCH_VAR)
        if self.list_filter and self.model_admin.show_facets is ShowFacets.ALLOW:
            names.add(IS_FACETS_VAR)
        return names

    def _check_values(self, request: HttpRequest) -> None:
        """Refuses values that Django ignores, or stumbles over. Raises BadRequest."""
        check_search(request.GET.get(SEARCH_VAR, ""))
        if PAGE_VAR in request.GET:
            check_page_number(request.GET[PAGE_VAR])
        ordering = request.GET.get(ORDER_VAR, "")  # empty where a link takes the last column out
        if ordering and not (_ORDERING.fullmatch(ordering) and len(ordering.split(".")) <= len(self.list_display)):
            raise BadRequest("An ordering names columns by their numbers.")
        if self.date_hierarchy:
            parts = {part: request.GET.get(f"{self.date_hierarchy}__{part}") for part in ("year", "month", "day")}
            _check_date(**parts)


def _check_date(year: str | None, month: str | None, day: str | None) -> None:
    """Refuses what is no year, month or day of the calendar, and a part without the larger one. Raises BadRequest."""
    present = [part for part in (year, month, day) if part is not None]
    try:
        if present != [year, month, day][: len(present)] or not all(map(_PART_OF_A_DATE.fullmatch, present)):
            raise ValueError
        if year is not None:
            date(int(year), int(month or 1), int(day or 1))
            if int(year) > LAST_YEAR:
                raise ValueError
    except ValueError:
        raise BadRequest("A date of this page is a year, a year and a month, or a day.") from None
