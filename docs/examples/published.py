"""Asks a published bot, waits for the answer, and prints it.

    ENDPOINT=… API_KEY=… python published.py "Hello!"        (ENDPOINT: as GET /bot/{id}/publication shows it)

Python's standard library is all it needs.
"""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import Any

ENDPOINT = os.environ["ENDPOINT"].rstrip("/")
HEADERS = {"x-api-key": os.environ["API_KEY"], "Content-Type": "application/json"}
PATIENCE = 300  # seconds for the answer
WAIT = 30  # seconds for which one request waits for it, below the time-out of 60
LONGEST_PAUSE = 60  # a quota may say to come back tomorrow: that is not waited for


class Refused(Exception):
    """The API has said no, or the turn has failed: a sentence."""


def call(method: str, path: str, body: Any, deadline: float) -> Any:
    """The JSON of an answer. What says `Retry-After` is asked again then. Raises Refused.

    Whether a question arrived is not known where no answer came. With the same key it is sent again, and asked once.
    """
    data = None if body is None else json.dumps(body).encode()
    headers = HEADERS if method == "GET" else {**HEADERS, "Idempotency-Key": str(uuid.uuid4())}
    while True:
        request = urllib.request.Request(ENDPOINT + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as refusal:
            with refusal:
                sentence, pause = refusal.read().decode(), float(refusal.headers.get("Retry-After", "inf"))
            if pause > LONGEST_PAUSE or time.monotonic() + pause > deadline:
                raise Refused(f"{refusal.code}: {sentence}") from None
        except (OSError, http.client.HTTPException):
            if time.monotonic() > deadline:
                raise
            pause = 1
        time.sleep(pause)


def ask(text: str, conversation: str | None = None, model: str = "claude-v4.5-sonnet") -> tuple[str, str]:
    """The answer, and the conversation's id to go on with. Raises Refused."""
    deadline = time.monotonic() + PATIENCE
    message = {"content": [{"contentType": "text", "body": text}], "model": model}
    accepted = call("POST", "/conversation", {"conversationId": conversation, "message": message}, deadline)
    ids = (urllib.parse.quote(accepted[name], safe="") for name in ("conversationId", "messageId"))
    answer = call("GET", "/conversation/{}/{}?wait={}".format(*ids, WAIT), None, deadline)
    texts = [part["body"] for part in answer["message"]["content"] if part["contentType"] == "text"]
    return "".join(texts), accepted["conversationId"]


if __name__ == "__main__":
    try:
        print(ask(" ".join(sys.argv[1:]) or "Hello!")[0])
    except Refused as refusal:
        sys.exit(str(refusal))
