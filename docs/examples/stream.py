"""Asks a question and prints the answer as it comes; a broken connection is picked up where it broke.

    TOKEN=… python stream.py "Hello!"            (BASE_URL names another server than http://localhost:8000)

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

BASE_URL = os.environ.get("BASE_URL", "http://localhost:8000")
HEADERS = {"Authorization": f"Bearer {os.environ['TOKEN']}", "Content-Type": "application/json"}
TRIES = 5


def call(method: str, path: str, body: Any = None, **headers: str) -> http.client.HTTPResponse:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE_URL + path, data, {**HEADERS, **headers}, method=method)
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


def turn(conversation: str, text: str, model: str = "claude-v4.5-sonnet") -> Iterator[tuple[str, Any]]:
    """The events of one turn, whole, however often the connection breaks."""
    question = f"question-{time.time_ns()}"
    message = {"content": [{"contentType": "text", "body": text}], "model": model, "messageId": question}
    body = {"conversationId": conversation, "message": message}
    path = f"/conversation/{urllib.parse.quote(conversation, safe='')}/{question}"
    begun, last_seen = False, ""
    for _ in range(TRIES):
        try:
            # Asking again under the same id is safe, and needed until the server has said that the question is stored.
            if begun:
                response = call("GET", f"{path}/stream", **{"Last-Event-ID": last_seen})
            else:
                response = call("POST", "/conversation", body, Accept="text/event-stream")
            with response:
                for name, event_id, data in events(response):
                    if name == "error" and data.get("resume"):
                        break  # this server leaves, the turn goes on
                    begun, last_seen = True, event_id or last_seen
                    yield name, data
                    if name in ("message_stop", "error"):
                        return
        except KeyboardInterrupt:
            call("POST", f"{path}/stop").close()
        except urllib.error.HTTPError as refusal:
            if refusal.code != http.HTTPStatus.CONFLICT or begun:
                yield "error", json.load(refusal)
                return
            begun = True  # the first try did arrive: its turn is running
        except (OSError, http.client.HTTPException):
            time.sleep(1)
    yield "error", {"detail": "The connection was lost."}


def main() -> int:
    text = " ".join(sys.argv[1:]) or "Hello!"
    answer = printed = ""
    for name, data in turn(f"example-{time.time_ns()}", text):
        if name == "message_start":
            answer = ""  # from here on the answer is told from its beginning, perhaps again
        elif name == "text":
            answer += data["text"]
            if len(answer) > len(printed):
                print(answer[len(printed) :], end="", flush=True)
                printed = answer
        elif name == "retrying":
            print(f"(Bedrock is busy; next try in {data['seconds']} s)", file=sys.stderr)
        elif name == "message_stop":
            print(f"\n({data['stopReason']}, {data['price']} USD)", file=sys.stderr)
        elif name == "error":
            print(f"\n{data['detail']}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
