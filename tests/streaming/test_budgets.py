"""Who listens to an answer reads what is left, or one sentence that says why there is none, in every process soon."""

import time

import httpx
import jwt
import pytest

from bedrock_chat.ledger.budgets.payers import FRESH_SECONDS
from tests.conversations.chat import payload
from tests.listening import ask, asking, frames, send, socket
from tests.live import LiveServer


@pytest.mark.both
def test_a_first_budget_holds_in_a_running_server_within_five_seconds(server: LiveServer, alice: str) -> None:
    ask(server, alice, "c1", "hello")
    server.manage("set_budget", "user", sub_of(alice), "--tokens", "20", "--per", "month")
    time.sleep(FRESH_SECONDS)
    with asking(server, alice, "c2", "hello") as listener:
        assert listener.response.headers["X-Budget-Remaining"].endswith(";unit=tokens;period=month;payer=user")
        list(listener)
    ask(server, alice, "c3", "[[words:20]]")
    refused = httpx.post(
        server.url + "/conversation",
        json=payload("c4", "hello"),
        headers={"Authorization": f"Bearer {alice}", "Accept": "text/event-stream"},
    )
    assert (refused.status_code, refused.headers["Content-Type"]) == (429, "application/json")
    sentence = refused.json()["detail"]
    assert sentence.startswith("Your budget of 20 tokens a month is used up until ")
    with socket(server) as websocket:
        send(websocket, alice, payload("c5", "hello"))
        assert frames(websocket) == [{"status": "ERROR", "reason": sentence}]
    assert "0 differ" in server.manage("reconcile_ledger")


def sub_of(token: str) -> str:
    """Whose token it is."""
    return str(jwt.decode(token, options={"verify_signature": False})["sub"])
