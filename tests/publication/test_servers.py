"""Two servers on one database: what an owner decides at one of them holds at the other from the next request on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.bots.bot import payload
from tests.emulator import Emulator
from tests.encryption.vault import new_key
from tests.live import LiveServer
from tests.publication.api import limits, question

pytestmark = pytest.mark.both

KEYS = "/bot/helper/publication/api-key"


@pytest.fixture(scope="module")
def servers(
    database_url: str, tmp_path_factory: pytest.TempPathFactory, emulator_process: Emulator
) -> Iterator[tuple[LiveServer, LiveServer]]:
    secrets = {"ENCRYPTION_KEYS": new_key(), "SECRET_KEY": "x" * 60, "DATABASE_URL": database_url}
    with (
        LiveServer(tmp_path_factory.mktemp("one"), emulator_process.url, **secrets) as one,
        LiveServer(tmp_path_factory.mktemp("two"), emulator_process.url, **secrets) as two,
    ):
        yield one, two


def test_a_key_that_ends_at_one_server_is_refused_by_the_other_at_once(servers: tuple[LiveServer, LiveServer]) -> None:
    one, two = servers
    token = one.manage("issue_token", "dave", "--group", "CreatingBotAllowed", "--group", "PublishAllowed")

    def owner(method: str, path: str, sent: Any = None) -> Any:
        status, answer = one.call(method, path, sent, token=token)
        assert status == 200, answer
        return answer

    def health(value: str) -> int:
        return httpx.get(f"{two.url}/published/helper/api/health", headers={"x-api-key": value}).status_code

    owner("POST", "/bot", payload("helper"))
    owner("PATCH", "/bot/helper/visibility", {"targetSharedScope": "all"})
    owner("POST", "/bot/helper/publication", limits(quota=3))
    made = owner("POST", KEYS, {"description": "k"})
    assert health(made["value"]) == 200
    for enabled, status in ((False, 403), (True, 200)):
        owner("PATCH", f"{KEYS}/{made['id']}", {"enabled": enabled})
        assert health(made["value"]) == status
    owner("PATCH", f"{KEYS}/{made['id']}", {"expiresAt": 1})
    assert health(made["value"]) == 403
    owner("PATCH", f"{KEYS}/{made['id']}", {"expiresAt": None})
    headers = {"x-api-key": made["value"]}
    statuses = [
        httpx.post(f"{server.url}/published/helper/api/conversation", json=question(), headers=headers).status_code
        for server in (one, two, one, two)
    ]
    assert statuses == [200, 200, 200, 429]
    owner("DELETE", f"{KEYS}/{made['id']}")
    assert health(made["value"]) == 403
    for server in servers:
        log = Path(server.log).read_text()
        assert made["value"] not in log
