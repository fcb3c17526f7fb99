"""Which columns no page of the console shows, filters, orders or searches: secrets, and what people write."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib.admin import ModelAdmin
from django.contrib.admin.options import BaseModelAdmin
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models import F
from django.db.models.constants import LOOKUP_SEP
from django.db.models.expressions import OrderBy

SECRET = {"password", "secret", "private", "token", "session", "digest", "hash", "encrypted"}
WRITTEN = {"title", "instruction", "description", "content", "text", "body", "prompt", "feedback", "comment", "note"}
DERIVED = {"payload", "terms", "words"}
PRIVATE_WORDS = SECRET | WRITTEN | DERIVED
"""A column with one of them in its name is private."""

LONGEST_PUBLIC_TEXT = 512
"""Characters. A column that may hold more is made for what people write; ids and ARNs have as many."""


def is_private(column: models.Field) -> bool:
    """Whether a column holds a secret or private text, told by its name and its type. A key of other rows does not."""
    if column.is_relation:
        return False
    if PRIVATE_WORDS & set(column.name.lower().split("_")):
        return True
    if isinstance(column, models.JSONField | models.BinaryField | models.FileField | models.TextField):
        return True
    return isinstance(column, models.CharField) and (column.max_length or 0) > LONGEST_PUBLIC_TEXT


def uses(page: ModelAdmin) -> list[str]:
    """`option: path` of every private column that a page or an inline uses, and does not declare open itself."""
    inlines = [inline(page.model, page.admin_site) for inline in page.get_inlines(None, None)]  # type: ignore[arg-type]  # ours need none
    return [
        f"{option}: {path}"
        for part in (page, *inlines)
        for option, path in _paths(part)
        if any(is_private(column) for column in _columns(part.model, path))
        and path not in getattr(part, "open_columns", ())
    ]


def _columns(model: type[models.Model], path: str) -> Iterator[models.Field]:
    """The columns along a path such as `user__username__startswith`, as far as it names some."""
    current: Any = model
    for name in path.split(LOOKUP_SEP):
        try:
            field = current._meta.pk if name == "pk" else current._meta.get_field(name)
        except FieldDoesNotExist:
            return
        if isinstance(field, models.Field):
            yield field
        if not field.is_relation:
            return
        current = field.related_model


def _paths(page: BaseModelAdmin) -> Iterator[tuple[str, str]]:
    """Each option of a page that names columns, with the path to the column."""
    for name in _shown(page):
        yield "fields", name
    for entry in (*page.readonly_fields, *_listed(page, "list_display")):
        for path in _ordered_by(page, entry):
            yield "list_display, readonly_fields", path
    for entry in _listed(page, "list_filter"):
        path = entry[0] if isinstance(entry, tuple | list) else entry
        if isinstance(path, str):  # else a class of ours, with a queryset of its own
            yield "list_filter", path
    for path in getattr(page, "search_fields", ()):
        yield "search_fields", path.lstrip("^=@")
    if hierarchy := getattr(page, "date_hierarchy", None):
        yield "date_hierarchy", hierarchy
    for entry in page.ordering or page.model._meta.ordering:
        for path in _ordered_by(page, entry):
            yield "ordering", path


def _listed(page: BaseModelAdmin, option: str) -> Iterable[Any]:
    """The columns or filters of a list, with those of other apps (`registry.extend`). Inlines have none."""
    read = getattr(page, f"get_{option}", None)
    entries: Iterable[Any] = () if read is None else read(None)
    return entries


def _shown(page: BaseModelAdmin) -> Iterable[str]:
    """The names on the page of one row. Django shows every column of a model whose page names none."""
    if page.fieldsets:
        entries: Iterable[Any] = [entry for _, options in page.fieldsets for entry in options["fields"]]
    else:
        entries = page.fields or [column.name for column in page.model._meta.fields]
    for entry in entries:
        yield from [entry] if isinstance(entry, str) else entry


def _ordered_by(page: BaseModelAdmin, entry: Any) -> Iterator[str]:
    """The path of a column, given by its name, as an expression, or by a method that says what it is ordered by."""
    if isinstance(entry, OrderBy):
        entry = entry.expression
    if isinstance(entry, F):
        yield entry.name  # type: ignore[attr-defined]  # the stubs lack it
        return
    method = entry
    if isinstance(entry, str):
        yield entry.removeprefix("-")
        method = getattr(page, entry, None) or getattr(page.model, entry, None)
    ordering = getattr(method, "admin_order_field", None)
    if ordering is not None:
        yield from _ordered_by(page, ordering)
