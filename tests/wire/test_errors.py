"""Every error has one shape, as JSON, and a 500 says nothing of the inside."""

import logging
from typing import Any

import pytest
from django.test import Client
from rest_framework.exceptions import ValidationError

from bedrock_chat.wire import errors
from tests.wire.urls import SECRET

INTERNAL = errors.INTERNAL
BUSY = "The database does not answer; try again."
FULL = "A storage of this server is full; try again later."
FAILING = "A storage of this server fails just now; try again later."

FAILURES: list[tuple[str, int, str]] = [
    ("conflict", 409, "It is being answered."),
    ("gateway", 502, "The model failed to answer."),
    ("unauthenticated", 401, "A valid token is needed: Authorization: Bearer <ID token>."),
    ("drf-not-authenticated", 401, "A valid token is needed: Authorization: Bearer <ID token>."),
    ("drf-authentication-failed", 401, "The token has expired."),
    ("drf-permission", 403, "Not yours."),
    ("drf-not-found", 404, "Not found."),
    ("drf-parse", 400, "Malformed request."),
    ("drf-throttled", 429, "Too many requests; try again later."),
    ("django-404", 404, "There is nothing here."),
    ("django-permission", 403, "You may not do this."),
    ("django-suspicious", 400, "The request cannot be understood."),
    ("django-too-big", 413, "The request is too large."),
    ("django-validation", 400, "The request is not valid: The name is taken."),
    ("database", 503, BUSY),
    ("sqlite-full", 503, FULL),
    ("postgresql-full", 503, FULL),
    ("disk-full", 503, FULL),
    ("quota-full", 503, FULL),
    ("disk-read-only", 503, FAILING),
    ("disk-broken", 503, FAILING),
    ("crash", 500, INTERNAL),
]


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("view", ["fails", "fails-plainly"])
@pytest.mark.parametrize(("how", "status", "detail"), FAILURES)
def test_every_failure_of_a_view_is_told_in_one_shape(
    client: Client, settings: Any, debug: bool, view: str, how: str, status: int, detail: str
) -> None:
    settings.DEBUG = debug
    response = client.get(f"/{view}/{how}", headers={"Accept": "text/event-stream"})
    assert response.status_code == status
    assert response["Content-Type"] == "application/json"
    assert response.json()["detail"] == detail
    assert response.json()["errors"] == [detail.removeprefix("The request is not valid: ")]
    assert SECRET not in response.content.decode()


@pytest.mark.parametrize(
    ("how", "header", "value"),
    [
        ("conflict", "Retry-After", "3"),
        ("drf-throttled", "Retry-After", "7"),
        ("database", "Retry-After", "1"),
        ("sqlite-full", "Retry-After", "60"),
        ("disk-read-only", "Retry-After", "60"),
        ("unauthenticated", "WWW-Authenticate", "Bearer"),
        ("drf-not-authenticated", "WWW-Authenticate", "Bearer"),
        ("drf-authentication-failed", "WWW-Authenticate", "Bearer"),
    ],
)
def test_what_a_client_needs_to_act_on_an_error_is_in_its_headers(
    client: Client, how: str, header: str, value: str
) -> None:
    assert client.get(f"/fails/{how}")[header] == value


@pytest.mark.parametrize("how", ["sqlite-full", "postgresql-full", "disk-full", "quota-full"])
def test_a_deletion_that_no_disk_has_room_for_is_told_that_waiting_does_not_help(client: Client, how: str) -> None:
    response = client.delete(f"/fails/{how}")
    assert response.status_code == 507
    assert "an operator must make room" in response.json()["detail"]
    assert "Retry-After" not in response.headers


def test_the_ids_of_a_failed_turn_stand_beside_its_detail(client: Client) -> None:
    response = client.get("/fails/conflict")
    assert response.json()["conversationId"] == "c1"
    in_snake_case = client.get("/fails/conflict", headers={"Accept": "application/json; case=snake"})
    assert in_snake_case.json()["conversation_id"] == "c1"


@pytest.mark.parametrize("how", ["crash", "database"])
@pytest.mark.parametrize("view", ["fails", "fails-plainly"])
def test_what_nobody_told_a_client_is_in_the_log_with_its_traceback(
    client: Client, caplog: pytest.LogCaptureFixture, view: str, how: str
) -> None:
    client.get(f"/{view}/{how}")
    [record] = [record for record in caplog.records if record.name == errors.logger.name]
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == SECRET


def test_an_error_of_ours_is_not_logged_as_a_crash(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    client.get("/fails/gateway")
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "head"])
@pytest.mark.parametrize("debug", [False, True])
def test_an_unknown_route_is_a_404_for_every_method(client: Client, settings: Any, debug: bool, method: str) -> None:
    settings.DEBUG = debug
    response = Client(raise_request_exception=False, enforce_csrf_checks=True).generic(method.upper(), "/no/such")
    assert response.status_code == 404
    assert response["Content-Type"] == "application/json"
    if method != "head":
        assert response.json()["detail"] == "There is no /no/such here."


def test_a_method_that_a_route_does_not_have_is_a_405_that_names_those_it_has(client: Client) -> None:
    response = client.put("/items/1")
    assert response.status_code == 405
    assert {"GET", "DELETE", "OPTIONS"} <= set(response["Allow"].split(", "))
    assert response.json()["errors"] == ['Method "PUT" not allowed.']


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, ["message: This field is required."]),
        ({"message": None}, ["message: This field may not be null."]),
        ({"message": 7}, ["message: Invalid data. Expected a dictionary, but got int."]),
        ([], ["Invalid data. Expected a dictionary, but got list."]),
        (
            {"message": {"content": [{"mediaType": "a"}, {}], "parentMessageId": "x"}},
            [
                "message.content.1.mediaType: This field is required.",
                "message.parentMessageId: A valid integer is required.",
            ],
        ),
        ({"message": {"content": {}}}, ['message.content: Expected a list of items but got type "dict".']),
    ],
)
def test_each_invalid_field_is_named_as_the_wire_has_it(client: Client, body: Any, expected: list[str]) -> None:
    response = client.post("/question", body, content_type="application/json")
    assert response.status_code == 400
    assert response.json()["errors"] == expected
    others = " (and 1 more)" if len(expected) > 1 else ""
    assert response.json()["detail"] == f"The request is not valid: {expected[0]}{others}"


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ("Wrong.", ["Wrong."]),
        (["One.", "Two."], ["One.", "Two."]),
        ([{}, {"a_b": ["Wrong."]}], ["1.aB: Wrong."]),
        ({"a": {0: {1: ["Wrong."]}}}, ["a.0.1: Wrong."]),
        ({"a": {"non_field_errors": ["Wrong."]}}, ["a: Wrong."]),
        ({"a": [[], ["Wrong."]]}, ["a.1: Wrong."]),
    ],
)
def test_nested_errors_have_dotted_paths(detail: Any, expected: list[str]) -> None:
    assert list(errors.field_errors(ValidationError(detail).detail)) == expected


def test_an_answer_does_not_grow_with_the_nonsense_it_is_about() -> None:
    nonsense = {f"field{number}": ["x" * 10_000] for number in range(1000)}
    error = errors.as_api_error(ValidationError(nonsense))
    assert error.errors[-1] == "There are more than these 100."
    assert len(error.errors) == errors.MOST_ERRORS + 1
    assert max(map(len, [str(error.detail), *error.errors])) <= errors.LONGEST_ERROR


@pytest.mark.parametrize("handler", [errors.bad_request, errors.permission_denied, errors.server_error])
def test_djangos_own_error_views_have_our_shape(handler: Any, rf: Any) -> None:
    response = handler(rf.get("/"))
    assert response["Content-Type"] == "application/json"
    assert b'"detail"' in response.content
    assert b'"errors"' in response.content


def test_logging_is_on_for_the_errors_that_are_recorded() -> None:
    assert errors.logger.isEnabledFor(logging.ERROR)
