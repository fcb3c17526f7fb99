"""The goals of a benchmark, as its document shows them."""

import operator
from collections.abc import Callable, Iterable
from typing import Any

Goal = tuple[str, float, str, float]
"""What is measured, its value, the sign between value and goal, and the goal."""

_HOLDS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "<": operator.lt,
    "=": operator.eq,
}


def judged(goals: Iterable[Goal]) -> list[dict[str, Any]]:
    """The goals with their values, and whether each is met."""
    return [
        {"what": what, "value": value, "goal": f"{sign} {goal:g}", "met": _HOLDS[sign](value, goal)}
        for what, value, sign, goal in goals
    ]
