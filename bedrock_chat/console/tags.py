"""What the console's templates use: `{% load console %}`."""

from datetime import datetime

from django import template
from django.conf import settings
from django.urls import reverse
from django.utils.text import capfirst

from bedrock_chat.console import navigation, writing

register = template.Library()


@register.simple_tag(takes_context=True)
def console_trail(context: template.Context) -> list[dict[str, str]]:
    """Where one is: the list and the row, each with its name and its address. The last one has none."""
    opts, title = context.get("opts"), str(context.get("title") or "")
    if opts is None:
        return [{"title": title, "link": ""}]
    page = context.get("model_admin") or (context.get("adminform") and context["adminform"].model_admin)
    page = page or getattr(context.get("cl"), "model_admin", None)
    name = navigation.plain_name(page) if page is not None else capfirst(str(opts.verbose_name_plural))
    trail = [{"title": name, "link": reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")}]
    row = context.get("original")
    if row is not None and not isinstance(row, str):
        trail.append({"title": str(row), "link": ""})
    elif context.get("cl") is None and title:
        trail.append({"title": title, "link": ""})
    else:
        trail[0]["link"] = ""
    return trail


@register.simple_tag
def console_zone() -> str:
    """The setting REPORT_TIME_ZONE, in which all times of the console are."""
    return settings.REPORT_TIME_ZONE


@register.filter
def in_report_zone(at: datetime | None) -> str:
    """A time with the name of its zone: `2026-03-01 09:30 JST`."""
    return writing.moment(at)
