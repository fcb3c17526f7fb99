"""A Cognito user pool that tests fill: moto's, over HTTP, or one that answers what a test has written down."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from bedrock_chat.identity.directory import cognito
from tests.stalling import Service

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}


@dataclass(frozen=True)
class UserPool:
    """A pool behind an address. People get an id of Cognito's, which is no user name."""

    url: str
    id: str

    @property
    def _client(self) -> Any:
        keys = {name.lower(): value for name, value in CREDENTIALS.items()}
        return boto3.client("cognito-idp", region_name="us-east-1", endpoint_url=self.url, **keys)

    def add(self, username: str, **attributes: str) -> str:
        """A person, with the address `username@example.com` unless told otherwise. Returns the id."""
        values = {"email": f"{username}@example.com", **attributes}
        added = self._client.admin_create_user(
            UserPoolId=self.id,
            Username=username,
            UserAttributes=[{"Name": name, "Value": value} for name, value in values.items()],
        )
        return next(str(pair["Value"]) for pair in added["User"]["Attributes"] if pair["Name"] == "sub")

    def add_group(self, name: str, description: str = "") -> None:
        described = {"Description": description} if description else {}
        self._client.create_group(UserPoolId=self.id, GroupName=name, **described)

    @classmethod
    def made_at(cls, url: str) -> "UserPool":
        made = cls(url, "")._client.create_user_pool(PoolName="people")
        return cls(url, made["UserPool"]["Id"])


@contextmanager
def moto() -> Iterator[str]:
    """The address of a server of moto's, in this process."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@contextmanager
def searched(url: str, pool_id: str, settings: Any) -> Iterator[None]:
    """Inside the block, that pool is the directory of this process."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": url}.items():
            environment.setenv(name, value)
        before, settings.COGNITO_USER_POOL_ID = settings.COGNITO_USER_POOL_ID, pool_id
        cognito.reset()
        try:
            yield
        finally:
            settings.COGNITO_USER_POOL_ID = before
            cognito.reset()


# ---- Answers that moto does not give --------------------------------------------------------------------------------

Answer = tuple[int, dict[str, Any]]


class ScriptedPool:
    """Answers each call by `answer`, given the operation and its parameters; keeps all calls in `calls`."""

    id = "us-east-1_Scripted"

    def __init__(self, answer: Callable[[str, dict[str, Any]], Answer]) -> None:
        self.answer = answer
        self.calls: list[tuple[str, dict[str, Any]]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                operation = self.headers["X-Amz-Target"].rpartition(".")[2]
                parameters = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                owner.calls.append((operation, parameters))
                status, body = owner.answer(operation, parameters)
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.service = Service(f"http://127.0.0.1:{self._server.server_port}")

    @contextmanager
    def serving(self) -> Iterator["ScriptedPool"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def nobody(operation: str, _parameters: dict[str, Any]) -> Answer:
    """A pool without anybody."""
    if operation == "AdminGetUser":
        return refusal("UserNotFoundException")
    return 200, {"Users": [], "Groups": []}


def refusal(code: str, status: int = 400) -> Answer:
    return status, {"__type": code, "message": f"{code}, for some reason."}
