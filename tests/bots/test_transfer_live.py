"""Bots with files go out of a real server and come back, as bytes on a socket."""

import io
import json
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from tests.bots.bot import document
from tests.bots.travel import ZIP, named, zipped
from tests.live import LiveServer

FILE = bytes(range(256)) * 12_000
"""3 MB: more than a body may have in memory, and more than an answer may without being counted."""


def call(url: str, token: str, body: bytes | None = None) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {token}", **({"Content-Type": ZIP} if body is not None else {})}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_a_zip_goes_in_and_comes_out_as_it_was(tmp_path: Path) -> None:
    file = named("a.txt", FILE)
    sound = {"bot.json": json.dumps(document(files=[file])).encode(), f"files/{file['digest']}": FILE}
    extra = zipped({**sound, f"files/{'0' * 64}": b"not named"}, zipfile.ZIP_STORED)
    with LiveServer(tmp_path, "http://127.0.0.1:1", UPLOAD_MB="4", MAX_BODY_MB="4") as server:
        token = server.manage("issue_token", "alice", "--group", "CreatingBotAllowed")
        status, said = call(f"{server.url}/bot/import", token, extra)
        assert (status, b"the bot has no file of this digest" in said) == (400, True)
        status, said = call(f"{server.url}/bot/import", token, zipped(sound, zipfile.ZIP_STORED))
        assert status == 200, said
        bot_id = json.loads(said)["id"]
        status, body = call(f"{server.url}/bot/{bot_id}/export?files=true", token)
        assert status == 200
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            assert archive.read(f"files/{file['digest']}") == FILE
            assert json.loads(archive.read("bot.json"))["bot"]["files"] == [file]
        assert call(f"{server.url}/bot/import", token, body)[0] == 200
        assert call(f"{server.url}/bot/import", token, bytes(5 * 2**20))[0] == 413
        assert call(f"{server.url}/bot/import", "nobody", body)[0] == 401
        listed = server.call("GET", "/bot", token=token)[1]
        assert len(listed) == 2
