"""Reads what the emulator shall do, from markers in a prompt or from JSON sent to `/control/`, into a frozen Script.

    [[NAME]]   [[NAME:VALUE]]   [[NAME:VALUE:after:N]]   [[NAME:VALUE:times:N]]
    [[tool:NAME:JSON]]   [[use:JSON]]   [[say:TEXT]]

A marker that does not parse is text. `[[then]]` divides a prompt into rounds: the markers after the first `[[then]]`
are for the answer after the first tool result (or for the continuation), and so on. A round with `[[again]]` is also
all rounds behind it, and `[[results_alone]]` is for all rounds.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from bedrock_chat.bedrock.emulator.refusals import FAULTS

AFTER_ALL = 2**31  # more deltas than any answer has, so: after the last delta and before messageStop
FOR_EVER = math.inf


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool use. `raw` is sent in the place of its input as it is, be it JSON or not. Without an `id` it gets one."""

    name: str
    input: Any
    id: str | None = None
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """What one answer shall be. Times are in seconds. `after` is a number of deltas; None: before the first byte.

    `thinks` is how many tokens a model that thinks spends on it before its answer.
    """

    wait: float = 0.0
    pace: float = 0.0
    text: str | None = None
    words: int | None = None
    stop: str | None = None
    reasoning: bool = False
    redacted: bool = False
    thinks: int = 0
    guardrail: bool = False
    tools: tuple[ToolCall, ...] = ()
    fault: str | None = None
    message: str | None = None
    cut: bool = False
    silence: float | None = None
    end: bool = False
    after: int | None = None
    times: int | None = None
    usage: tuple[int, int] | None = None
    static: bool = False
    results_alone: bool = False

    @property
    def fails(self) -> bool:
        return bool(self.fault or self.cut or self.end) or self.silence is not None

    def succeeding(self) -> "Script":
        """The same script without its failures."""
        return replace(self, fault=None, cut=False, silence=None, end=False)


class ScriptError(ValueError):
    """A script sent to `/control/` is not valid. The text names the field."""


# ---- Markers --------------------------------------------------------------------------------------------------------

THEN = "[[then]]"
AGAIN = "[[again]]"
RESULTS_ALONE = "[[results_alone]]"

_MARKER = re.compile(r"\[\[([a-z_]+)((?::[A-Za-z0-9_.]+)*)\]\]")
_TOOL = re.compile(r"\[\[(?:tool:(?P<name>[A-Za-z0-9_-]{1,64})|use(?=:))(?P<json>:)?")
_SAY = re.compile(r"\[\[say:([^\[\]]*)\]\]")
_SECONDS = re.compile(r"\d{1,5}(\.\d{1,6})?")
_COUNT = re.compile(r"\d{1,5}")
_STOP_REASON = re.compile(r"[a-z_]{1,64}")


def parse(prompt: str, round_: int = 0) -> Script:
    """The script in a prompt's markers, for the answer after `round_` tool results. A later marker wins."""
    rounds = prompt.split(THEN)
    alone = RESULTS_ALONE in prompt
    if round_ >= len(rounds):
        repeated = next((number for number, text in enumerate(rounds) if AGAIN in text), None)
        if repeated is None:
            return Script(results_alone=alone)
        round_ = repeated
    text, tools = _tools(rounds[round_])
    fields: dict[str, Any] = {}
    if spoken := _SAY.findall(text):
        fields["text"] = spoken[-1]
    for match in _MARKER.finditer(text):
        name, *arguments = f"{match[1]}{match[2]}".split(":")
        if (read := _MARKERS.get(name)) and (marker_fields := _with_conditions(read, arguments)) is not None:
            fields |= marker_fields
    return Script(**fields, tools=tuple(tools), results_alone=alone)


def _with_conditions(
    read: Callable[[str | None], dict[str, Any] | None], arguments: list[str]
) -> dict[str, Any] | None:
    """The marker's fields: `read` gets what is left, at most one value, without `after:N` and `times:N` at the end.

    None if the marker does not parse.
    """
    conditions: dict[str, Any] = {}
    while len(arguments) > 1 and arguments[-2] in ("after", "times") and _COUNT.fullmatch(arguments[-1]):
        conditions[arguments[-2]] = int(arguments[-1])
        arguments = arguments[:-2]
    if len(arguments) > 1:
        return None
    fields = read(arguments[0] if arguments else None)
    return None if fields is None else fields | conditions


def _tools(text: str) -> tuple[str, list[ToolCall]]:
    """The text without its markers of tool uses, and these: what a tool is asked may have markers of its own."""
    calls: list[ToolCall] = []
    rest, position = "", 0
    while match := _TOOL.search(text, position):
        call, end = None, match.end()
        document: Any = {}
        if match["json"]:
            try:
                # JSON may contain `]]`, so only a parser finds where it ends.
                document, end = json.JSONDecoder().raw_decode(text, end)
                orjson.dumps(document)  # fails for what an answer cannot carry, such as a number of thirty digits
            except (TypeError, ValueError, RecursionError):
                document = None
        if isinstance(document, dict) and text.startswith("]]", end):
            call = ToolCall(match["name"], document) if match["name"] else _tool_call(document)
        if call is None:
            end = match.end()
            rest += text[position:end]
        else:
            calls.append(call)
            rest, end = rest + text[position : match.start()], end + 2
        position = end
    return rest + text[position:], calls


def _tool_call(document: Mapping[str, Any]) -> ToolCall | None:
    """The tool use of `{"name", "input", "id", "raw"}`, of which only the name must be there. None if it is none."""
    try:
        return _as_tool(document)
    except (TypeError, ValueError, KeyError):
        return None


def _fixed(**fields: Any) -> Callable[[str | None], dict[str, Any] | None]:
    return lambda value: None if value else fields


def _number(field: str, pattern: re.Pattern[str], kind: type) -> Callable[[str | None], dict[str, Any] | None]:
    return lambda value: {field: kind(value)} if value and pattern.fullmatch(value) else None


def _fault(value: str | None) -> dict[str, Any] | None:
    code = fault_code(value or "")
    return {"fault": code} if code else None


def _throttle(value: str | None) -> dict[str, Any] | None:
    if value is None:
        return {"fault": "ThrottlingException"}
    return {"fault": "ThrottlingException", "times": int(value)} if _COUNT.fullmatch(value) else None


def _silence(value: str | None) -> dict[str, Any] | None:
    if value is None:
        return {"silence": FOR_EVER}
    return {"silence": float(value)} if _SECONDS.fullmatch(value) else None


def _stop(value: str | None) -> dict[str, Any] | None:
    return {"stop": value} if value and _STOP_REASON.fullmatch(value) else None


_MARKERS: dict[str, Callable[[str | None], dict[str, Any] | None]] = {
    "wait": _number("wait", _SECONDS, float),
    "pace": _number("pace", _SECONDS, float),
    "words": _number("words", _COUNT, int),
    "stop": _stop,
    "max_tokens": _fixed(text="This answer stops", stop="max_tokens"),
    "empty": _fixed(text=""),
    "trail": _fixed(text="Trailing space and newline \n"),
    "reasoning": _fixed(reasoning=True),
    "redacted": _fixed(redacted=True),
    "thinks": _number("thinks", _COUNT, int),
    "guardrail": _fixed(guardrail=True),
    "fault": _fault,
    "throttle": _throttle,
    "validation": _fixed(fault="ValidationException"),
    "denied": _fixed(fault="AccessDeniedException"),
    "streamerror": _fixed(fault="ModelStreamErrorException", after=AFTER_ALL),
    "cut": _fixed(cut=True),
    "silence": _silence,
    "end": _fixed(end=True),
}


def fault_code(name: str) -> str | None:
    """The name of a fault in FAULTS, or None. The first letter of `name` may be in either case."""
    return next((code for code in (name, name[:1].upper() + name[1:]) if code in FAULTS), None)


# ---- JSON -----------------------------------------------------------------------------------------------------------


def fields_from(document: Any) -> dict[str, Any]:
    """The fields of a Script as `/control/script` gives them. Raises ScriptError."""
    if not isinstance(document, Mapping):
        raise ScriptError("A script is a JSON object.")
    fields: dict[str, Any] = {}
    for name, value in document.items():
        if name not in _FIELDS:
            raise ScriptError(f"{name}: no such field; there are {', '.join(sorted(_FIELDS))}.")
        read, description = _FIELDS[name]
        try:
            fields[name] = read(value)
        except (TypeError, ValueError, KeyError):
            raise ScriptError(f"{name}: must be {description}.") from None
    return fields


def _require(condition: object) -> None:
    if not condition:
        raise ValueError


def _as_seconds(value: Any) -> float:
    _require(isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6)
    return float(value)


def _as_count(value: Any) -> int:
    _require(isinstance(value, int) and not isinstance(value, bool) and value >= 0)
    return int(value)


def _as_text(value: Any) -> str:
    _require(isinstance(value, str))
    return str(value)


def _as_switch(value: Any) -> bool:
    _require(isinstance(value, bool))
    return bool(value)


def _as_silence(value: Any) -> float | None:
    return (FOR_EVER if value else None) if isinstance(value, bool) else _as_seconds(value)


def _as_fault(value: Any) -> str:
    code = fault_code(_as_text(value))
    _require(code)
    return str(code)


def _as_tools(value: Any) -> tuple[ToolCall, ...]:
    return tuple(_as_tool(call) for call in value)


def _as_tool(value: Any) -> ToolCall:
    _require(isinstance(value, Mapping) and value.keys() <= {"name", "input", "id", "raw"})
    id_, raw = value.get("id"), value.get("raw")
    return ToolCall(
        _as_text(value["name"]),
        value.get("input", {}),
        None if id_ is None else _as_text(id_),
        None if raw is None else _as_text(raw),
    )


def _as_usage(value: Any) -> tuple[int, int]:
    return _as_count(value["input"]), _as_count(value["output"])


_FIELDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "wait": (_as_seconds, "seconds"),
    "pace": (_as_seconds, "seconds"),
    "text": (_as_text, "a string"),
    "words": (_as_count, "a count"),
    "stop": (_as_text, "a string"),
    "reasoning": (_as_switch, "true or false"),
    "redacted": (_as_switch, "true or false"),
    "thinks": (_as_count, "a count of tokens"),
    "guardrail": (_as_switch, "true or false"),
    "tools": (_as_tools, 'a list of {"name", "input", "id", "raw"}'),
    "fault": (_as_fault, f"one of {', '.join(FAULTS)}"),
    "message": (_as_text, "a string"),
    "cut": (_as_switch, "true or false"),
    "silence": (_as_silence, "true, or seconds"),
    "end": (_as_switch, "true or false"),
    "after": (_as_count, "a count of deltas"),
    "usage": (_as_usage, '{"input", "output"}'),
    "static": (_as_switch, "true or false"),
    "results_alone": (_as_switch, "true or false"),
}
