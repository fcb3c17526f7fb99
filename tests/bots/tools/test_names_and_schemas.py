"""A call with a bad name or a bad input is answered in a sentence, whatever a model or a foreign schema makes up."""

import re
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.tools import names, schemas
from bots.tools.tool import Context, Result, Tool


def tool(schema: Mapping[str, Any]) -> Tool:
    def run(value: Mapping[str, Any], context: Context) -> Result:
        raise AssertionError("No input is run here.")

    return Tool("t", "", schema, "internet", True, "s", None, run)


OBJECT = {
    "type": "object",
    "properties": {
        "query": {"type": "string"},
        "count": {"type": "integer"},
        "share": {"type": ["number", "null"]},
        "on": {"type": "boolean"},
        "tags": {"type": "array"},
        "more": {"type": "object"},
        "free": {},
        "odd": {"type": "date"},
    },
    "required": ["query"],
}


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"query": "q"}, None),
        ({"query": "q", "count": 2, "share": 0.5, "on": True, "tags": [], "more": {}, "free": [1], "odd": 3}, None),
        ({"query": "q", "count": 2.0, "share": None, "unknown": 1}, None),
        ({}, "The input lacks “query”."),
        ({"query": 5}, "The input's “query” must be a string."),
        ({"query": None}, "The input's “query” must be a string."),
        ({"query": "q", "count": True}, "The input's “count” must be a whole number."),
        ({"query": "q", "count": 2.5}, "The input's “count” must be a whole number."),
        ({"query": "q", "share": "half"}, "The input's “share” must be a number or null."),
        ({"query": "q", "on": 1}, "The input's “on” must be true or false."),
        ({"query": "q", "tags": {}}, "The input's “tags” must be a list."),
        ({"query": "q", "more": []}, "The input's “more” must be an object."),
        ([], "The input must be a JSON object."),
        ("q", "The input must be a JSON object."),
        (None, "The input must be a JSON object."),
        ({"query": "q" * 300_000}, "The input is larger than 256 KB."),
        ({"query": "\ud800"}, "The input is not JSON."),
        ({"query": "q", "count": 2**70}, "The input is not JSON."),
    ],
)
def test_an_input_that_does_not_fit_is_told_what_is_wrong(value: Any, sentence: str | None) -> None:
    assert schemas.check_input(tool(OBJECT), value) == sentence


def test_inputs_nest_thirty_two_levels_and_no_more() -> None:
    def nested(levels: int) -> Any:
        value: Any = {}
        for level in range(levels - 2):
            value = [value] if level % 2 else {"in": value}
        return {"query": "q", "free": value}

    assert schemas.check_input(tool(OBJECT), nested(32)) is None
    assert schemas.check_input(tool(OBJECT), nested(33)) == "The input is nested more than 32 levels deep."
    assert "32 levels" in (schemas.check_input(tool(OBJECT), nested(100_000)) or "")


def test_a_tool_that_takes_no_other_properties_says_which_are_too_many() -> None:
    closed = {**OBJECT, "additionalProperties": False}
    sentence = schemas.check_input(tool(closed), {"query": "q", **{f"x{n}": 1 for n in range(7)}})
    assert sentence == "The input has “x0”, “x1”, “x2”, “x3”, “x4” and 2 more, which the tool does not know."


def test_a_foreign_schema_neither_fetches_nor_runs_for_long() -> None:
    bombs: list[dict[str, Any]] = [
        {"type": "object", "properties": {"q": {"type": "string", "pattern": "^(a+)+$"}}},
        {"type": "object", "properties": {"q": {"$ref": "http://127.0.0.1:9/never"}}},
        {"type": "object", "properties": {"q": {"type": "array", "uniqueItems": True}}},
        {"type": "object", "properties": "none", "required": {"q": 1}},
        {"type": "object", "properties": {"q": 5}, "required": [None, 3]},
    ]
    began = time.monotonic()
    for schema in bombs:
        assert schemas.check_input(tool(schema), {"q": "a" * 40 + "!"}) in (
            None,
            "The input's “q” must be a list.",
        )
    assert time.monotonic() - began < 10


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=4), JSON)
def test_no_schema_and_no_input_make_the_check_fail(schema: dict[str, Any], value: Any) -> None:
    sentence = schemas.check_input(tool(schema), value)
    assert sentence is None or sentence.endswith(".")
    schemas.why_refused(schema)


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}]}}}, None),
        ({"type": "object"}, None),
        ({"properties": {}}, "not of the type object"),
        ({"type": "object", "oneOf": []}, "oneOf at the root"),
        ({"type": "object", "allOf": []}, "allOf at the root"),
        ({"type": "object", "properties": []}, "no object"),
        ({"type": "object", "properties": {"a b": {}}}, "“a b”"),
        ({"type": "object", "properties": {"": {}}}, "“”"),
        ({"type": "object", "properties": {"a" * 65: {}}}, "models refuse"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}}, "references"),
    ],
)
def test_a_schema_that_would_fail_the_whole_request_is_known_before(schema: dict[str, Any], word: str | None) -> None:
    why = schemas.why_refused(schema)
    assert (why is None) if word is None else (word in (why or ""))


def test_names_are_made_as_converse_takes_them() -> None:
    assert names.legal("my tool/é.1") == "my_tool___1"
    assert names.legal("") == "unnamed"
    assert names.legal("x" * 200) == "x" * 64
    taken = {"search", "search_2"}
    assert names.alias_of("search", taken) == "search_3"
    assert names.alias_of("x" * 70, {"x" * 64}) == "x" * 62 + "_2"
    assert names.unknown("not_a_tool") == "Unknown tool: not_a_tool"


@given(st.text(), st.sets(st.text(max_size=3), max_size=5))
def test_every_alias_is_legal_and_free(name: str, taken: set[str]) -> None:
    alias = names.alias_of(name, taken)
    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", alias)
    assert alias not in taken
