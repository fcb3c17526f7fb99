"""The OpenAPI document offers what the recorded API offers: every route, parameter and field."""

import json
from pathlib import Path
from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator

from tests.contract.check_contract import Checker, Document

CONTRACT = Path(__file__).with_name("contract-main.json")
PUBLISHED = Path(__file__).with_name("contract-published.json")

NOT_BUILT: set[str] = set()
"""Routes of parts that are not there yet. Remove a route here once it is built."""


def differences(document: dict[str, Any], route: dict[str, Any], prefix: str = "") -> list[str]:
    checker = Checker(Document(document))
    checker.route(route, prefix)
    lines: list[str] = checker.differences
    return lines


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document as `GET /schema` returns it: JSON."""
    generated = SchemaGenerator().get_schema(request=None, public=True)
    loaded: dict[str, Any] = json.loads(json.dumps(generated))
    return loaded


@pytest.mark.parametrize(
    "route", json.loads(CONTRACT.read_text())["routes"], ids=lambda route: f"{route['method']} {route['path']}"
)
def test_a_route_takes_and_answers_all_that_was_recorded(document: dict[str, Any], route: dict[str, Any]) -> None:
    name = f"{route['method']} {route['path']}"
    lines = differences(document, route)
    if name in NOT_BUILT:
        assert lines == [f"{name}: no such route"], f"{name} is built: strike it from NOT_BUILT"
    else:
        assert lines == []


@pytest.mark.parametrize(
    "route", json.loads(PUBLISHED.read_text())["routes"], ids=lambda route: f"{route['method']} {route['path']}"
)
def test_a_published_route_takes_and_answers_all_that_was_recorded(
    document: dict[str, Any], route: dict[str, Any]
) -> None:
    assert differences(document, route, "/published/{bot_id}/{stage}") == []


def test_every_route_not_built_is_one_of_the_contract() -> None:
    routes = {f"{route['method']} {route['path']}" for route in json.loads(CONTRACT.read_text())["routes"]}
    assert routes > NOT_BUILT


def test_a_field_that_goes_missing_is_noticed(document: dict[str, Any]) -> None:
    without = json.loads(json.dumps(document))
    del without["components"]["schemas"]["Conversation"]["properties"]["shouldContinue"]
    route = next(
        route
        for route in json.loads(CONTRACT.read_text())["routes"]
        if (route["method"], route["path"]) == ("GET", "/conversation/{conversation_id}")
    )
    assert differences(without, route) == [f"GET {route['path']} response.shouldContinue: missing"]
