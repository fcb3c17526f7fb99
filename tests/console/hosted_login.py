"""A hosted login as Cognito has one: OpenID Connect's authorization code with PKCE, over HTTP, for one client."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.tokens import make_key, make_token, public_jwk

CLIENT, SECRET = "console-client", "a-secret-of-the-client"


class HostedLogin:
    """Signs everybody in who comes, as the person that `person` describes. `claims` overrides what the token says.

    `answer_token` may answer in place of the token endpoint: status and body, after whatever it waits for.
    """

    def __init__(self) -> None:
        self.key = make_key()
        self.person: dict[str, Any] = {"sub": "sub-alice", "cognito:username": "alice", "cognito:groups": ["Admin"]}
        self.claims: dict[str, Any] = {}
        self.signing_key: Any = self.key
        self.answer_token: Callable[[], tuple[int, bytes]] | None = None
        self.visits: dict[str, dict[str, str]] = {}
        self.exchanges: list[dict[str, str]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(address.query).items()}
                if address.path == "/oauth2/authorize":
                    self.send_response(302)
                    self.send_header("Location", owner.authorize(query))
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                elif address.path == "/jwks.json":
                    self.answer(200, json.dumps({"keys": [public_jwk(owner.key, "k1")]}).encode())
                else:
                    self.answer(404, b"{}")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                form["authorization"] = self.headers.get("Authorization", "")
                if owner.answer_token is not None:
                    self.answer(*owner.answer_token())
                else:
                    self.answer(*owner.exchange(form))

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser is sent back to, with a code."""
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe(16)
        self.visits[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def exchange(self, form: dict[str, str]) -> tuple[int, bytes]:
        """The tokens for a code, once, for who knows the verifier behind its challenge and the client's secret."""
        self.exchanges.append(form)
        visit = self.visits.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        basic = f"Basic {base64.b64encode(f'{CLIENT}:{SECRET}'.encode()).decode()}"
        if (
            visit is None
            or form.get("grant_type") != "authorization_code"
            or form.get("redirect_uri") != visit["redirect_uri"]
            or challenge.decode().rstrip("=") != visit["code_challenge"]
            or form["authorization"] != basic
        ):
            return 400, b'{"error": "invalid_grant"}'
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "nonce": visit["nonce"], "iat": now, **self.person, **self.claims}
        token = make_token(self.signing_key, **claims)
        return 200, json.dumps({"id_token": token, "access_token": "x", "token_type": "Bearer"}).encode()
