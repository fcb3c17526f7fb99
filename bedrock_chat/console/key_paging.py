"""Lists of tables that grow without end: paged by key, without a total count, each page in a bounded time."""

from dataclasses import dataclass
from typing import Any, Final

from django.contrib.admin.options import ShowFacets
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import AutoField, BigAutoField, IntegerField, QuerySet
from django.http import HttpRequest

from bedrock_chat.console.lookups import OwnParametersChangeList
from bedrock_chat.console.site import ConsolePage, ReadOnlyAdmin
from bedrock_chat.wire.errors import BadRequest

AFTER: Final = "after"
BEFORE: Final = "before"
"""The parameters of a page: the key after which it begins, or before which it ends, in the order of the list."""

SCANNED: Final = 50_000
"""So many keys a page looks through where its filters have no index. What is beyond is behind the next link."""


@dataclass(frozen=True, slots=True)
class KeyBounds:
    """The keys that rows of a filter have, both included. None: no bound."""

    first: int | None = None
    last: int | None = None


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
        size = self.list_per_page
        cursor_name, cursor = self._cursor(request)
        is_backwards = cursor_name == BEFORE
        goes_down = self.model_admin.newest_first != is_backwards
        rows = self.queryset.order_by("-pk" if goes_down else "pk")
        bounds = self._bounds(request)
        if bounds.first is not None:
            rows = rows.filter(pk__gte=bounds.first)
        if bounds.last is not None:
            rows = rows.filter(pk__lte=bounds.last)
        if cursor is not None:
            rows = rows.filter(**{"pk__lt" if goes_down else "pk__gt": cursor})
        limit = self._scan_limit(request, rows, bounds, cursor, goes_down=goes_down)
        if limit is not None:
            rows = rows.filter(**{"pk__gte" if goes_down else "pk__lte": limit})
        page = list(rows[: size + 1])
        has_more = len(page) > size
        page = page[:size]
        if is_backwards:
            page.reverse()
        self.looked_until = None if has_more else limit
        self._set_links(page, cursor_name, has_more=has_more)
        self._set_what_django_reads(page)

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

    def _bounds(self, request: HttpRequest) -> KeyBounds:
        return self.model_admin.key_bounds(request)

    def _scan_limit(
        self, request: HttpRequest, rows: QuerySet[Any], bounds: KeyBounds, cursor: Any, *, goes_down: bool
    ) -> int | None:
        """The last key to look at. None where an index finds the rows, or every row is listed."""
        if not self._is_scanned(request):
            return None
        start = cursor
        if start is None:
            every = self.model_admin.model._default_manager.order_by("-pk" if goes_down else "pk")
            start = bounds.last if goes_down else bounds.first
            if start is None:
                start = every.values_list("pk", flat=True).first()
        if start is None:
            return None
        limit: int = start - SCANNED if goes_down else start + SCANNED
        end = bounds.first if goes_down else bounds.last
        if end is not None and (limit <= end if goes_down else limit >= end):
            return None
        return limit if limit > 0 else None

    def _is_scanned(self, request: HttpRequest) -> bool:
        if not isinstance(self.opts.pk, AutoField | BigAutoField | IntegerField):
            return False
        filters = self.get_filters_params(dict(request.GET.lists())).keys() - self.model_admin.key_bounding
        if filters & self.model_admin.indexed_filters:
            return False
        is_scanned_search = self.query and not self.model_admin.is_indexed_search(request, self.query)
        return bool(filters) if not self.query else bool(is_scanned_search)

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
    A filter by time is turned into keys by `key_bounds`, and its parameters are named in `key_bounding`.
    """

    newest_first = True
    indexed_filters: frozenset[str] = frozenset()
    key_bounding: frozenset[str] = frozenset()
    list_per_page = 50
    sortable_by = ()
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    date_hierarchy = None
    list_disable_select_all = True

    def key_bounds(self, request: HttpRequest) -> KeyBounds:
        """The keys that rows may have, told by a filter whose column has no index, as a time."""
        return KeyBounds()

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
