"""What apps add to the console: panels of its home, warnings of its first glance, and parts of each other's pages.

The console knows no app to its right. They register what they know, in their `admin.py` or from `apps.ready`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from django.db.models import Model, QuerySet
from django.http import HttpRequest

from bedrock_chat.console.panels import Figure, Panel
from bedrock_chat.console.periods import Period

# ---- Panels and warnings --------------------------------------------------------------------------------------------


class Severity(IntEnum):
    """How bad it is. The first glance shows the worst first."""

    ERROR = 2
    """Something does not work now."""
    CAUTION = 1
    """Something will not work soon, or for somebody."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A sentence that says what is wrong, and the address of the place where it is mended."""

    text: str
    link: str
    severity: Severity = Severity.CAUTION
    link_text: str = "Look"


ReadPanel = Callable[[HttpRequest, Period], Panel]
ReadWarnings = Callable[[HttpRequest], Iterable[Trouble]]
ReadNow = Callable[[HttpRequest], Iterable[Figure]]


@dataclass(frozen=True, slots=True)
class RegisteredPanel:
    """`name` is in addresses, for the CSV file. `permission` is what an operator must have to see it; empty: none."""

    name: str
    read: ReadPanel
    order: int
    permission: str


@dataclass(frozen=True, slots=True)
class RegisteredWarning:
    name: str
    read: ReadWarnings
    permission: str


@dataclass(frozen=True, slots=True)
class RegisteredNow:
    name: str
    read: ReadNow
    order: int
    permission: str


_panels: Final[dict[str, RegisteredPanel]] = {}
_warnings: Final[dict[str, RegisteredWarning]] = {}
_now: Final[dict[str, RegisteredNow]] = {}


def panel(name: str, *, order: int, permission: str = "") -> Callable[[ReadPanel], ReadPanel]:
    """Decorates a function that makes a panel of the dashboard: `read(request, period)`.

    Panels are in the order of `order` and then by name. A name that is registered again replaces the earlier one.
    """

    def register(read: ReadPanel) -> ReadPanel:
        _panels[name] = RegisteredPanel(name, read, order, permission)
        return read

    return register


def warning(name: str, *, permission: str = "") -> Callable[[ReadWarnings], ReadWarnings]:
    """Decorates a function that tells of everything that is wrong, in a few statements: `read(request)`.

    Every visit of the home calls it, so what it costs must not grow with the tables. It gives nothing if all is well.
    """

    def register(read: ReadWarnings) -> ReadWarnings:
        _warnings[name] = RegisteredWarning(name, read, permission)
        return read

    return register


def now(name: str, *, order: int, permission: str = "") -> Callable[[ReadNow], ReadNow]:
    """Decorates a function that gives figures of this moment, as how many turns run: `read(request)`."""

    def register(read: ReadNow) -> ReadNow:
        _now[name] = RegisteredNow(name, read, order, permission)
        return read

    return register


def panels_for(request: HttpRequest) -> list[RegisteredPanel]:
    """The panels that this operator may see, in their order."""
    return [
        entry
        for entry in sorted(_panels.values(), key=lambda entry: (entry.order, entry.name))
        if _may(request, entry.permission)
    ]


def figures_now(request: HttpRequest) -> list[Figure]:
    """The figures of this moment that this operator may see, in their order."""
    entries = sorted(_now.values(), key=lambda entry: (entry.order, entry.name))
    return [figure for entry in entries if _may(request, entry.permission) for figure in entry.read(request)]


def troubles_for(request: HttpRequest) -> list[Trouble]:
    """All that is wrong and that this operator may see, the worst first."""
    troubles = [
        trouble for entry in _warnings.values() if _may(request, entry.permission) for trouble in entry.read(request)
    ]
    return sorted(troubles, key=lambda trouble: -trouble.severity)


def _may(request: HttpRequest, permission: str) -> bool:
    return not permission or request.user.has_perm(permission)


# ---- Parts of pages -------------------------------------------------------------------------------------------------

Annotate = Callable[[Any], "QuerySet[Any]"]


@dataclass(slots=True)
class Extension:
    """What apps to the right have added to the pages of a model."""

    annotations: list[Annotate] = field(default_factory=list)
    columns: list[Callable[[Any], Any]] = field(default_factory=list)
    filters: list[Any] = field(default_factory=list)

    def annotated(self, rows: "QuerySet[Any]") -> "QuerySet[Any]":
        for annotate in self.annotations:
            rows = annotate(rows)
        return rows


_extensions: Final[dict[type[Model], Extension]] = {}
_NOTHING: Final = Extension()


def extend(
    model: type[Model],
    *,
    annotate: Annotate | None = None,
    columns: Sequence[Callable[[Any], Any]] = (),
    filters: Sequence[Any] = (),
) -> None:
    """Adds to the pages of a model of an app to the left.

    `annotate` takes the page's queryset and returns it with what the columns show, so no column costs a query per row.
    Columns are functions of a row, decorated with `admin.display`; they stand at the end of the list. Filters are
    classes or names as in `list_filter`. What is registered twice is there once. Actions are offered to a page with
    `confirming.offer`.
    """
    extension = _extensions.setdefault(model, Extension())
    if annotate is not None and annotate not in extension.annotations:
        extension.annotations.append(annotate)
    additions: list[tuple[list[Any], Sequence[Any]]] = [
        (extension.columns, columns),
        (extension.filters, filters),
    ]
    for parts, new in additions:
        parts += [part for part in new if part not in parts]


def extension_of(model: type[Model]) -> Extension:
    """What was added to the pages of a model; nothing, mostly."""
    return _extensions.get(model, _NOTHING)
