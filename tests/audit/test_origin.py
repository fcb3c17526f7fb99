"""The caller of a request carries from where it came, through every way in."""

import ipaddress
from typing import Any

import pytest
from django.test import RequestFactory

from bedrock_chat import logs
from bedrock_chat.identity import authentication
from bedrock_chat.identity.caller import Caller, operator_of
from bedrock_chat.identity.models import User
from bedrock_chat.identity.origin import Origin
from tests.people import auth, token_for

pytestmark = pytest.mark.django_db


def test_a_request_gives_its_id_and_the_clients_network(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from rest_framework.test import APIClient

    settings.TRUSTED_PROXIES = [ipaddress.ip_network("10.0.0.0/8")]
    callers: list[Caller] = []
    sign_in = authentication._sign_in

    def noted(*args: Any) -> Any:
        user, caller = sign_in(*args)
        callers.append(caller)
        return user, caller

    monkeypatch.setattr(authentication, "_sign_in", noted)
    headers = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "1.1.1.1, 198.51.100.9", "HTTP_X_REQUEST_ID": "r-1"}
    assert APIClient().get("/conversations", **headers, **auth("alice")).status_code == 200
    (caller,) = callers
    assert (caller.origin.request_id, caller.origin.network) == ("r-1", "198.51.100.9")


def test_a_message_of_a_websocket_gives_its_own_id() -> None:
    request = RequestFactory().get("/ws", REMOTE_ADDR="192.0.2.1")
    token = token_for("alice")
    ids = []
    for _ in range(2):
        with logs.line(method="WEBSOCKET", route="/ws") as log_status:
            caller = authentication.sign_in(request, token)
            ids.append(caller.origin.request_id)
            log_status(200)
    assert caller.origin.network == "192.0.2.1"
    assert all(ids)
    assert len(set(ids)) == 2


def test_an_operator_is_one() -> None:
    request = RequestFactory().get("/console/", REMOTE_ADDR="192.0.2.1")
    request.user = User.objects.create_superuser("olga", "correct horse battery")
    caller = operator_of(request)
    assert (caller.user_id, caller.is_operator, caller.origin.network) == (request.user.pk, True, "192.0.2.1")
    assert caller.groups == frozenset()
    assert caller.is_admin  # the page has asked for the permission of what they do


def test_callers_are_the_same_wherever_they_are() -> None:
    assert Caller(user_id="alice", origin=Origin("r-1")) == Caller(user_id="alice", origin=Origin("r-2"))
    assert Caller(user_id="alice") != Caller(user_id="alice", is_operator=True)
