"""Lists of tables that grow without end: paged by key, without a total count, each page in a bounded time."""

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from django.contrib.admin.options import ShowFacets
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import AutoField, BigAutoField, IntegerField, QuerySet
from django.http import HttpRequest

from bedrock_chat.console import periods
from bedrock_chat.console.filters import BY_KEY
from bedrock_chat.console.lookups import OwnParametersChangeList
from bedrock_chat.console.site import ConsolePage, ReadOnlyAdmin
from bedrock_chat.database.keys_by_time import keys_between
from bedrock_chat.wire.errors import BadRequest

AFTER: Final = "after"
BEFORE: Final = "before"
"""The parameters of a page: the key after which it begins, or before which it ends, in the order of the list."""

SCANNED: Final = 30_000
"""So many keys a page looks through where its filters have no index. What is beyond is behind the next link."""


@dataclass(frozen=True, slots=True)
class KeyBounds:
    """The keys that rows of a filter have, both included. None: no bound."""

    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Keys that are gone through: from `start` to `end`, both included, behind `cursor`. None: no bound."""

    goes_down: bool
    start: int | None
    end: int | None
    cursor: Any

    def cut(self, rows: QuerySet[Any], limit: int | None = None) -> QuerySet[Any]:
        """The rows of these keys in their order, as far as `limit`."""
        from_start, to_end, behind = ("lte", "gte", "lt") if self.goes_down else ("gte", "lte", "gt")
        bounds = {f"pk__{from_start}": self.start, f"pk__{to_end}": self.end, f"pk__{behind}": self.cursor}
        rows = rows.filter(**{name: key for name, key in bounds.items() if key is not None})
        if limit is not None:
            rows = rows.filter(**{f"pk__{to_end}": limit})
        return rows.order_by("-pk" if self.goes_down else "pk")


class NoCount(Paginator):
    """A paginator that counts nothing: the list is cut by its keys before."""

    count = 0


class KeyPagedChangeList(OwnParametersChangeList):
    """A page of rows in the order of their keys, with links to the next and the previous one.

    Filters that have no index would read a whole table to find a row that is not there. Where one is set, and the keys
    are numbers, the page looks through SCANNED keys and then says how far it has looked.
    """

    model_admin: "KeyPagedAdmin"
    is_key_paged = True
    scanned = f"{SCANNED:,}"
    looked_until: Any = None
    """The last key that was looked at, where the page gave up before it was full."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str]:
        return ["-pk" if self.model_admin.newest_first else "pk"]

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        return {
            name: values for name, values in super().get_filters_params(params).items() if name not in (AFTER, BEFORE)
        }

    def get_query_string(self, new_params: Any = None, remove: Any = None) -> str:
        """Django's. Every link that changes what is listed begins with the first page again."""
        for name in (AFTER, BEFORE):
            self.filter_params.pop(name, None)
        query: str = super().get_query_string(new_params, remove)
        return query

    def get_results(self, request: HttpRequest) -> None:
        cursor_name, cursor = self._cursor(request)
        self.is_backwards = cursor_name == BEFORE
        self.goes_down = self.model_admin.newest_first != self.is_backwards
        bounds = self.model_admin.key_bounds(request)
        start, end = (bounds.last, bounds.first) if self.goes_down else (bounds.first, bounds.last)
        page, self.looked_until = self._read(request, _Stretch(self.goes_down, start, end, cursor))
        has_more = len(page) > self.list_per_page
        page = page[: self.list_per_page]
        if self.is_backwards:
            page.reverse()
        self._set_links(page, cursor_name, has_more=has_more)
        self._set_what_django_reads(page)
        self.model_admin.complete_page(request, page)

    def _read(self, request: HttpRequest, keys: "_Stretch") -> tuple[list[Any], int | None]:
        """Rows, one more than a page has if there are more, and the last key that was looked at, if that was not all.

        With an index, rare rows are found by it. Of frequent ones it would sort all; among SCANNED keys are enough.
        """
        size = self.list_per_page + 1
        is_numbered = isinstance(self.opts.pk, AutoField | BigAutoField | IntegerField)
        indexed, others = self._filters(request)
        if not is_numbered or not (indexed or others):
            return list(keys.cut(self.queryset)[:size]), None
        limit = self._limit(keys)
        if limit is None:
            return list(keys.cut(self._rows(request, by_key=True))[:size]), None
        page = list(keys.cut(self._rows(request, by_key=True), limit)[:size])
        if len(page) == size:
            return page, None
        if indexed and (not others or not self._is_frequent(request, keys, limit)):
            return list(keys.cut(self._rows(request, by_key=False))[:size]), None
        return page, limit

    def _filters(self, request: HttpRequest) -> tuple[set[str], set[str]]:
        """The filters and the search that are set: those with an index, and the others, without those by time."""
        filters = self.get_filters_params(dict(request.GET.lists())).keys() - self.model_admin.key_bounding
        indexed = filters & self.model_admin.indexed_filters
        if self.query and self.model_admin.is_indexed_search(request, self.query):
            indexed = {*indexed, SEARCH_VAR}
        return indexed, {*filters, *([SEARCH_VAR] if self.query else [])} - indexed

    def _rows(self, request: HttpRequest, *, by_key: bool) -> QuerySet[Any]:
        """What is listed. `by_key`: found by its key alone, without the index that a filter has."""
        setattr(request, BY_KEY, by_key)
        return self.get_queryset(request)

    def _is_frequent(self, request: HttpRequest, keys: "_Stretch", limit: int) -> bool:
        """Whether the rows that the index would find fill a page among the keys that are looked through."""
        setattr(request, BY_KEY, True)
        rows = self.root_queryset
        for spec in self.filter_specs:
            if spec.parameter_name in self.model_admin.indexed_filters:
                rows = spec.queryset(request, rows) or rows
        if self.query and self.model_admin.is_indexed_search(request, self.query):
            rows, _ = self.model_admin.get_search_results(request, rows, self.query)
        some = keys.cut(rows, limit).values_list("pk", flat=True)[: self.list_per_page + 1]
        is_frequent: bool = len(some) > self.list_per_page
        return is_frequent

    def _limit(self, keys: "_Stretch") -> int | None:
        """The last of SCANNED keys. None where there are not so many."""
        every = self.model._default_manager.order_by("-pk" if keys.goes_down else "pk")
        start = keys.cursor if keys.cursor is not None else keys.start
        if start is None:
            start = every.values_list("pk", flat=True).first()
        end = keys.end if keys.end is not None else every.reverse().values_list("pk", flat=True).first()
        if start is None or end is None or abs(start - end) <= SCANNED:
            return None
        limit: int = start - SCANNED if keys.goes_down else start + SCANNED
        return limit

    def _cursor(self, request: HttpRequest) -> tuple[str, Any]:
        """Which of the parameters is there, and the key. Raises BadRequest for what is no key, and for both."""
        present = [name for name in (AFTER, BEFORE) if name in request.GET]
        if not present:
            return "", None
        try:
            [name] = present
            return name, self.opts.pk.clean(request.GET[name], None)
        except (ValueError, ValidationError):
            raise BadRequest("A page begins after a key, or ends before one.") from None

    def _set_links(self, page: list[Any], cursor_name: str, *, has_more: bool) -> None:
        has_next = has_more if cursor_name != BEFORE else True
        has_previous = has_more if cursor_name == BEFORE else bool(cursor_name)
        if cursor_name != BEFORE and not has_more and self.looked_until is not None:
            has_next, last = True, self.looked_until
        else:
            last = page[-1].pk if page else None
        first = page[0].pk if page else None
        if cursor_name == BEFORE and self.looked_until is not None:
            has_previous, first = True, self.looked_until
        self.next_link = self.get_query_string({AFTER: last}) if has_next and last is not None else ""
        self.previous_link = self.get_query_string({BEFORE: first}) if has_previous and first is not None else ""
        self.first_link = self.get_query_string() if cursor_name else ""

    def _set_what_django_reads(self, page: list[Any]) -> None:
        """The attributes that Django's and Unfold's templates use. There is one page, and what is on it is all."""
        self.result_list = page
        self.result_count = self.full_result_count = len(page)
        self.show_full_result_count = False
        self.show_admin_actions = bool(page)
        self.can_show_all = self.multi_page = False
        self.paginator = NoCount(page, self.list_per_page)

    def _parameters_of_links(self) -> set[str]:
        """Those of the search box and of pages. There is no other order, no page by number and no list of all."""
        names = super()._parameters_of_links() - {"o", "p", "all"}
        return {*names, AFTER, BEFORE}


class KeyPagedAdmin(ConsolePage):
    """A page whose list may have millions of rows.

    It is ordered by key alone, and nothing counts: neither rows nor facets. Filters should have an index that begins
    with their column: their parameters are named in `indexed_filters`. Others are looked for in SCANNED keys at a time.
    A filter by time (`PeriodFilter`) is turned into keys by `time_column`, what it filters by. A page that knows the
    keys of some time otherwise has a `key_bounds` of its own.
    """

    newest_first = True
    indexed_filters: frozenset[str] = frozenset()
    key_bounding: frozenset[str] = periods.PARAMETERS
    time_column: ClassVar[str] = ""
    list_per_page = 50
    sortable_by = ()
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    date_hierarchy = None
    list_disable_select_all = True

    def key_bounds(self, request: HttpRequest) -> KeyBounds:
        """The keys that rows may have, told by a filter whose column has no index: the one by time."""
        period = periods.period_of(request.GET.dict(), default=None) if self.time_column else None
        if period is None:
            return KeyBounds()
        rows = self.model._default_manager.all()
        keys = keys_between(rows, self.time_column, period.span.start, period.span.end)
        return KeyBounds(keys.first, keys.last)

    def is_indexed_search(self, request: HttpRequest, search_term: str) -> bool:
        """Whether an index finds what is searched for."""
        return True

    def get_ordering(self, request: HttpRequest) -> list[str]:
        return ["-pk" if self.newest_first else "pk"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeyPagedChangeList]:
        return KeyPagedChangeList

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Only what is selected is acted on: what is on no page was never seen."""
        if request.POST.get("select_across", "0") not in ("", "0"):
            raise BadRequest("Rows of this list are selected one by one.")
        return super().response_action(request, queryset)


class KeyPagedReadOnlyAdmin(ReadOnlyAdmin, KeyPagedAdmin):
    """The same, to look things up."""
