"""Asks a published bot and prints the answer as it comes; a broken connection is picked up where it broke.

    ENDPOINT=… API_KEY=… python published_stream.py "Hello!"        (ENDPOINT: as GET /bot/{id}/publication shows it)

Ctrl-C stops the model, and what it has said so far is kept. Python's standard library is all it needs.
"""

import http
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

ENDPOINT = os.environ["ENDPOINT"].rstrip("/")
HEADERS = {"x-api-key": os.environ["API_KEY"], "Content-Type": "application/json", "Accept": "text/event-stream"}
TRIES = 10


def call(method: str, path: str, body: Any = None, **headers: str) -> http.client.HTTPResponse:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(ENDPOINT + path, data, {**HEADERS, **headers}, method=method)
    return urllib.request.urlopen(request, timeout=60)


def events(response: http.client.HTTPResponse) -> Iterator[tuple[str, str, Any]]:
    """Name, id and data of each event."""
    fields: dict[str, str] = {}
    for raw in response:
        line = raw.decode().rstrip("\n")
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and "data" in fields:
            yield fields["event"], fields.get("id", ""), json.loads(fields["data"])
            fields = {}


def turn(text: str, conversation: str | None = None, model: str = "claude-v4.5-sonnet") -> Iterator[tuple[str, Any]]:
    """The events of one turn, whole, however often the connection breaks."""
    message = {"content": [{"contentType": "text", "body": text}], "model": model}
    body = {"conversationId": conversation, "message": message}
    path = last_seen = ""
    for _ in range(TRIES):
        try:
            if path:
                response = call("GET", f"{path}/stream", **({"Last-Event-ID": last_seen} if last_seen else {}))
            else:
                response = call("POST", "/conversation", body)
            with response:
                if response.status == http.HTTPStatus.NO_CONTENT:
                    return  # the end was seen already
                for name, event_id, data in events(response):
                    if name == "error" and data.get("resume"):
                        break  # this server leaves, the turn goes on
                    if "messageId" in data:
                        ids = (urllib.parse.quote(data[key], safe="") for key in ("conversationId", "messageId"))
                        path = "/conversation/{}/{}".format(*ids)
                    last_seen = event_id or last_seen
                    yield name, data
                    if name in ("message_stop", "error"):
                        return
        except KeyboardInterrupt:
            if path:
                call("POST", f"{path}/stop").close()
        except urllib.error.HTTPError as refusal:
            with refusal:
                yield "error", json.load(refusal)
            return
        except (OSError, http.client.HTTPException):
            if not path:  # whether the question arrived is not known, so it is not asked twice
                raise
        time.sleep(1)
    yield "error", {"detail": "The connection was lost."}


def main() -> int:
    answer = printed = ""
    for name, data in turn(" ".join(sys.argv[1:]) or "Hello!"):
        if name == "restart":
            print("\n(it is written anew)", file=sys.stderr)
            printed = ""
        elif name == "message_start":
            answer = ""  # from here on the answer is told from its beginning, perhaps again
        elif name == "text":
            answer += data["text"]
            print(answer[len(printed) :], end="", flush=True)
            printed = max(printed, answer, key=len)
        elif name == "message_stop":
            print(f"\n({data['stopReason']}, {data['price']} USD)", file=sys.stderr)
        elif name == "error":
            print(f"\n{data['detail']}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
