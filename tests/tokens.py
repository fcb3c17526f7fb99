"""Keys, tokens and JWKS documents, real ones over HTTP."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

ISSUER = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Test"
CLIENT = "client-1"
HOUR = 3600


def make_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def make_token(key: Any, kid: str = "k1", *, algorithm: str = "RS256", headers: Any = None, **changes: Any) -> str:
    """A Cognito-shaped ID token; a claim of None is left out."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": CLIENT,
        "sub": "3f1c0a9e-0000-4000-8000-00000000a11c",
        "token_use": "id",
        "cognito:username": "alice",
        "email": "alice@example.com",
        "iat": now,
        "auth_time": now,
        "exp": now + HOUR,
        **changes,
    }
    payload = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": kid, **(headers or {})})


def sign(payload: str, key: Any, kid: str = "k1") -> str:
    """A token around a payload that need not be claims, or JSON."""
    return jwt.PyJWS().encode(payload.encode(), key, algorithm="RS256", headers={"kid": kid})


def public_jwk(key: rsa.RSAPrivateKey, kid: str) -> dict[str, Any]:
    return {
        **json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())),
        "kid": kid,
        "alg": "RS256",
        "use": "sig",
    }


class JwksServer:
    """A JWKS document over HTTP that can change, fail and stall. Counts how often it was fetched.

    With a port of its own its `url` is known before it listens, and after it has ended.
    """

    def __init__(self, port: int = 0, **keys: rsa.RSAPrivateKey) -> None:
        self.keys = keys
        self.url = f"http://127.0.0.1:{port}/jwks.json"
        self._port = port
        self.fetches = 0
        self.down = False
        self.delay = 0.0

    def __enter__(self) -> Self:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.fetches += 1
                time.sleep(owner.delay)
                body = json.dumps({"keys": [public_jwk(key, kid) for kid, key in owner.keys.items()]}).encode()
                self.send_response(503 if owner.down else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks.json"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
