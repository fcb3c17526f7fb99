"""The conditions of alerts: each app registers, from `apps.ready`, functions that say what is wrong now.

One rule has one home: what is sent and what the console's first glance shows come from the same functions.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Any, Final

from bedrock_chat.alerts.models import Severity

logger = logging.getLogger(__name__)

MOST: Final = 20
"""Problems of one condition. With more, those that are not looked at are neither opened nor resolved."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and what to do.

    `subject` tells problems of one condition apart, such as the id of a key. `sentence` and `remedy` are for operators,
    without texts of people; `link` is the path of the console where it is mended. `facts` are for programs.
    """

    subject: str
    severity: Severity
    sentence: str
    remedy: str
    link: str
    facts: Mapping[str, Any] = field(default_factory=dict)


Check = Callable[[], Iterable[Problem]]
"""Gives the problems of now, the worst first, in a query or two whose cost does not grow with the large tables."""


@dataclass(frozen=True, slots=True)
class Condition:
    """`lasts`: a problem counts as resolved when it was not seen for so long; `permission` is who may see it."""

    name: str
    check: Check
    permission: str
    lasts: timedelta


_conditions: Final[dict[str, Condition]] = {}


def register(name: str, check: Check, *, permission: str, lasts: timedelta = timedelta()) -> None:
    """Adds a condition. A name that is registered again replaces the earlier one."""
    _conditions[name] = Condition(name, check, permission, lasts)


def registered() -> Sequence[Condition]:
    return list(_conditions.values())


def problems(condition: Condition) -> list[Problem]:
    """What is wrong now, MOST problems at the most."""
    return list(islice(condition.check(), MOST))


def looked(condition: Condition) -> list[Problem] | None:
    """As `problems`. None where it could not be looked at, which is logged, so that it stops no other."""
    try:
        return problems(condition)
    except Exception:
        logger.exception("the condition %s could not be looked at", condition.name)
        return None
