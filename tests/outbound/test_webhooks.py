"""Webhooks: signed, without redirects, and within their time-out whatever the receiver does."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.core.exceptions import ImproperlyConfigured

from bedrock_chat import environment
from bedrock_chat.outbound import webhooks
from bedrock_chat.outbound.webhooks import NotDelivered

SECRET = b"k" * 32
NOW = datetime(2026, 11, 29, 18, 0, tzinfo=UTC)


class Receiver(BaseHTTPRequestHandler):
    """Answers by its path: a status, or `/drip`."""

    received: list[tuple[str, dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, dict(self.headers), body))
        if self.path == "/drip":
            try:
                for letter in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100:
                    self.wfile.write(bytes([letter]))
                    time.sleep(0.1)
            except OSError:
                return
            return
        self.send_response(int(self.path[1:]))
        self.send_header("Location", "/200")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def receiver() -> Iterator[str]:
    Receiver.received = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def deliver(url: str) -> None:
    webhooks.deliver(url, SECRET, event_id="budget-1", sent_at=NOW, document={"type": "budget.exceeded"})


def test_what_is_posted_is_signed_as_standard_webhooks_says(receiver: str) -> None:
    deliver(f"{receiver}/204")
    [(_, headers, body)] = Receiver.received
    assert json.loads(body) == {"type": "budget.exceeded"}
    signed = b"budget-1." + str(int(NOW.timestamp())).encode() + b"." + body
    signature = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert (headers["webhook-id"], headers["webhook-signature"]) == ("budget-1", f"v1,{signature}")


@pytest.mark.parametrize("status", [302, 307, 400, 500])
def test_a_redirect_is_not_followed_and_any_other_status_is_a_failure(receiver: str, status: int) -> None:
    with pytest.raises(NotDelivered, match=str(status)):
        deliver(f"{receiver}/{status}")
    assert [path for path, _, _ in Receiver.received] == [f"/{status}"]


def test_a_receiver_that_drips_or_is_not_there_costs_its_time_and_no_more(
    receiver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "TOTAL_SECONDS", 0.5)
    started = time.monotonic()
    with pytest.raises(NotDelivered, match="did not answer in time"):
        deliver(f"{receiver}/drip")
    assert time.monotonic() - started < 8
    with pytest.raises(NotDelivered) as refused:
        deliver("http://127.0.0.1:9/secret-path")
    assert "secret-path" not in str(refused.value)


@pytest.mark.parametrize("secret", ["", "whsec_", "short", "whsec_" + base64.b64encode(b"x" * 23).decode(), "ä" * 40])
def test_a_secret_that_is_none_stops_the_start_and_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("BUDGET_ALERT_SECRET", secret)
    with pytest.raises(ImproperlyConfigured, match="BUDGET_ALERT_SECRET") as refused:
        environment.webhook_secret("BUDGET_ALERT_SECRET")
    assert not secret or (len(secret) < 10 or secret not in str(refused.value))
    monkeypatch.setenv("BUDGET_ALERT_SECRET", "whsec_" + base64.b64encode(SECRET).decode())
    assert environment.webhook_secret("BUDGET_ALERT_SECRET") == SECRET
