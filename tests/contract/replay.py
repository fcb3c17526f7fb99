"""Sends recorded requests, in order, and says where our answers differ from the recorded ones.

Ids that the recorded server made are bound to ours at first sight: in a message map by their place in the tree,
elsewhere by their field. Times, token counts and prices are compared by type. The words of errors are ours; their shape
is that of every error.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.test import Client
from rest_framework.test import APIClient

from bedrock_chat.identity import local, tokens
from tests.contract.exceptions import STATUSES
from tests.contract.tokens import bad_authorizations, known_key
from tests.publication.api import Api
from tests.tokens import make_token

Sample = dict[str, Any]

SAMPLES: list[Sample] = json.loads(Path(__file__).with_name("golden-samples.json").read_text())
GROUPS = {
    "alice": ("CreatingBotAllowed",),
    "bob": (),
    "carol": ("Admin",),
    "dave": ("CreatingBotAllowed", "PublishAllowed"),
    "erin": (),
}
SUBJECTS = {
    "alice": "32676be9-f566-40f1-96c1-15c6abc7dcd9",
    "bob": "ae34c21b-6777-4ce5-995c-cb18645cbdba",
    "dave": "6931d9a5-5023-418d-b526-7b6b22212855",
}
"""The ids that people have in the recording. Here too they are their tokens' subjects, and their user names."""
KEY_ID = "s49icuszwv"
"""The recorded key, which was made by a request that is not compared."""
MADE_ID = re.compile(rf"01M8[0-9A-Z]{{22}}|{KEY_ID}")
BY_TYPE = {
    *("createTime", "lastUsedTime", "createdDate", "publishedDatetime"),
    *("price", "input", "output", "value", "endpoint", "codebuildId"),
}
REPEATED = re.compile(r"<'(.)' \* (\d+)>")


def _first_bot_a_without_the_refused(recorded: list[Sample]) -> list[Sample]:
    """The list without the bot that was refused here, and with `bot-a` where its first POST put it."""
    kept = [entry for entry in recorded if entry["id"] not in ("bot-fire4", "bot-a")]
    [bot_a] = [entry for entry in recorded if entry["id"] == "bot-a"]
    place = [entry["id"] for entry in kept].index("bot-min") + 1
    return [*kept[:place], bot_a, *kept[place:]]


def _with_first_key(recorded: Sample) -> Sample:
    return {**recorded, "apiKeyIds": ["01M80000000000000FIRST0KEY", *recorded["apiKeyIds"]]}


DECIDED_BODIES: dict[str, Callable[[Any], Any]] = {
    "bot-summary-owner": lambda recorded: {**recorded, "title": "Title bot-a"},
    "bot-list-private-starred-ignored": _first_bot_a_without_the_refused,
    "bot-list-pinned": lambda recorded: [{**entry, "isStarred": False} for entry in recorded],
    "related-docs-agent": lambda recorded: json.loads(json.dumps(recorded).replace("(A1)", "(A1A1A1A1A1)")),
    "pub-get": _with_first_key,
    "pub-get-with-key": _with_first_key,
    "admin-published-bots-limit-1": lambda recorded: {"bots": [{"id": "bot-full"}], "nextToken": None},
}
"""Sample → what its recorded body is here, by a decision."""


def _is_signed(recorded: Any) -> bool:
    """Whether this is an address in S3, which is signed anew each time, and of a bucket that is not here."""
    return isinstance(recorded, str) and "X-Amz-Signature=" in recorded


class Differs(Exception):
    """Our answer is not the recorded one; the message says where."""


class Comparison:
    """Compares our answers with the recorded ones, and keeps what is known of the recorded server's ids."""

    def __init__(self) -> None:
        self.bindings: dict[str, str] = {}
        """Recorded id → ours."""
        self.answered: defaultdict[str, set[int]] = defaultdict(set)
        """Conversation id → statuses of the turns sent to it."""

    def _ours(self, sent: Any) -> Any:
        """What was sent, with our ids in place of the recorded ones."""
        if isinstance(sent, dict):
            return {name: self._ours(value) for name, value in sent.items()}
        if isinstance(sent, list):
            return [self._ours(value) for value in sent]
        if isinstance(sent, str):
            sent = REPEATED.sub(lambda match: match[1] * int(match[2]), sent)
            return MADE_ID.sub(lambda match: self.bindings.get(match[0], match[0]), sent)
        return sent

    def compare(self, sample: Sample, response: Any) -> bool:
        """True if the answer is the recorded one, False if it is one that `expect` has instead.

        Raises Differs for any other answer.
        """
        expected = sample.get("expect", {}).get("status") or [sample["status"]]
        if sample["name"] in STATUSES:
            expected = [STATUSES[sample["name"]]]
        if response.status_code not in expected:
            raise Differs(f"status {response.status_code}, not {expected}: {response.content[:200]!r}")
        self._headers(sample, response)
        recorded = response.status_code == sample["status"] and not sample.get("looksLikeBug")
        if response.status_code >= 400:
            self._error(response)
        elif recorded:
            self._body(sample, response)
        return recorded and sample["name"] not in {"conv-list", *DECIDED_BODIES}

    def _headers(self, sample: Sample, response: Any) -> None:
        recorded = sample["responseHeaders"]
        if response.status_code == 401 and not response.headers.get("WWW-Authenticate", "").startswith("Bearer"):
            raise Differs("a 401 without WWW-Authenticate: Bearer")
        if response.status_code == 405 and recorded["allow"] not in response.headers["Allow"]:
            raise Differs(f"Allow: {response.headers['Allow']}")
        request_headers = sample["request"]["headers"]
        if "origin" not in request_headers:
            return
        if response.headers.get("Access-Control-Allow-Origin") not in ("*", request_headers["origin"]):
            raise Differs("no CORS headers")
        if "access-control-request-method" in request_headers:
            methods = set(response.headers["Access-Control-Allow-Methods"].split(", "))
            names = set(response.headers["Access-Control-Allow-Headers"].split(", "))
            if not {"GET", "POST", "PUT", "PATCH", "DELETE"} <= methods or "Access-Control-Max-Age" not in response:
                raise Differs(f"the preflight allows {methods}")
            if not set(request_headers["access-control-request-headers"].split(",")) <= names:
                raise Differs(f"the preflight allows the headers {names}")

    def _error(self, response: Any) -> None:
        if response.headers["Content-Type"] != "application/json":
            raise Differs(f"an error as {response.headers['Content-Type']}")
        body = response.json()
        sound = isinstance(body.get("detail"), str) and isinstance(body.get("errors"), list) and body["errors"]
        if not sound or not all(isinstance(error, str) for error in body["errors"]):
            raise Differs(f"the error is {body}")

    def _body(self, sample: Sample, response: Any) -> None:
        if isinstance(sample["response"], dict) and "__raw" in sample["response"]:  # a page or a word: we need no copy
            return
        ours = response.json()
        if isinstance(sample["response"], dict) and "messageMap" in sample["response"]:
            self._bind_tree(sample["response"]["messageMap"], ours["messageMap"])
        recorded = sample["response"]
        if sample["name"] == "conv-list":
            recorded = self._listed(recorded)
        elif sample["name"] in DECIDED_BODIES:
            recorded = DECIDED_BODIES[sample["name"]](recorded)
        self._equal("", recorded, ours)

    def _listed(self, recorded: list[Sample]) -> list[Sample]:
        """The list as it is here: without conversations whose turns were all refused, with those whose turns failed."""
        kept = [entry for entry in recorded if self.answered.get(entry["id"], {200}) & {200, 502}]
        known = {entry["id"] for entry in kept}
        failed = [name for name, statuses in self.answered.items() if statuses == {502} and name not in known]
        kept += [{**recorded[-1], "id": name} for name in failed]
        return sorted(kept, key=lambda entry: str(entry["id"]), reverse=True)

    def _bind_tree(self, recorded: Sample, ours: Sample) -> None:
        waiting = [("system", "system")]
        for theirs, mine in waiting:
            children, own = recorded[theirs]["children"], ours.get(mine, {}).get("children", [])
            if len(children) != len(own):
                raise Differs(f"{theirs} has {len(children)} children, ours has {len(own)}")
            waiting += zip(children, own, strict=True)
        for theirs, mine in waiting[1:]:
            self._equal(f"messageMap.{theirs}", theirs, mine)

    def _equal(self, where: str, recorded: Any, ours: Any) -> None:
        if isinstance(recorded, dict) and isinstance(ours, dict):
            for name, value in recorded.items():
                mine = self.bindings.get(name, name)
                if mine not in ours:
                    raise Differs(f"{where}.{name}: missing")
                if (name in BY_TYPE or _is_signed(value)) and not isinstance(value, dict | list):
                    if type(value) is not type(ours[mine]):
                        raise Differs(f"{where}.{name}: {ours[mine]!r}, not like {value!r}")
                else:
                    self._equal(f"{where}.{name}", value, ours[mine])
        elif isinstance(recorded, list) and isinstance(ours, list):
            if len(recorded) != len(ours):
                raise Differs(f"{where}: {len(ours)} items, not {len(recorded)}: {ours}")
            for index, (value, mine) in enumerate(zip(recorded, ours, strict=True)):
                self._equal(f"{where}[{index}]", value, mine)
        elif isinstance(recorded, str) and MADE_ID.fullmatch(recorded):
            self._bind(where, recorded, ours)
        elif isinstance(recorded, str) and MADE_ID.fullmatch(recorded.partition("@")[0]) and isinstance(ours, str):
            self._bind(where, recorded.partition("@")[0], ours.partition("@")[0])  # a document of an answer
            self._equal(where, recorded.partition("@")[2], ours.partition("@")[2])
        elif type(recorded) is not type(ours) or self._ours(recorded) != ours:
            raise Differs(f"{where}: {ours!r}, not {recorded!r}")

    def _bind(self, where: str, recorded: str, ours: Any) -> None:
        taken = self.bindings.get(recorded) is None and ours in self.bindings.values()
        if not isinstance(ours, str) or taken or self.bindings.setdefault(recorded, ours) != ours:
            raise Differs(f"{where}: {ours!r} stands for {recorded!r}, bound to {self.bindings.get(recorded)!r}")


class Replay(Comparison):
    """One run through the recording, as all its people."""

    def __init__(self) -> None:
        super().__init__()
        known_key()
        self.tokens = {name: _token(name, groups) for name, groups in GROUPS.items()}
        self.bad = bad_authorizations("mallory")
        self.client = Client(raise_request_exception=False)
        self.published: Api | None = None
        """The published API that samples are sent to."""

    def api_client(self, username: str) -> APIClient:
        """A client for requests that are not in the recording."""
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {self.tokens[username]}")
        return client

    def send(self, sample: Sample) -> Any:
        request = sample["request"]
        headers = {name: self._header(sample, name, value) for name, value in request["headers"].items()}
        base = ""
        if sample["target"] == "published":
            assert self.published is not None
            base, headers["x-api-key"] = self.published.path, self.published.key
        content_type = headers.pop("content-type", "")
        body = b""
        if "json" in request:
            body = json.dumps(self._ours(request["json"])).encode()
        elif "rawBody" in request:
            body = request["rawBody"].encode("latin-1")  # one character a byte
        response = self.client.generic(
            request["method"],
            base + self._ours(request["path"]),
            body,
            content_type=content_type,
            query_params=request.get("query"),
            headers=headers,
        )
        if request["method"] == "POST" and request["path"].endswith("/api-key") and response.status_code == 200:
            self.bindings[KEY_ID] = response.json()["id"]
        if not base and request["method"] == "POST" and request["path"] == "/conversation" and "json" in request:
            self.answered[str(_conversation_id(request["json"]))].add(response.status_code)
        return response

    def _header(self, sample: Sample, name: str, value: str) -> str:
        if value == "<see note>":
            fault = next((fault for fault in self.bad if fault in sample["name"]), "malformed-token")
            return self.bad[fault]
        return re.sub(r"<id-token:(\w+)>", lambda match: self.tokens[match[1]], value)


def _token(name: str, groups: tuple[str, ...]) -> str:
    tokens.reset()  # the test before may have had another key
    key, subject = local.signing_key(), SUBJECTS.get(name, name)
    return make_token(
        local._private_key(key),
        key.kid,
        iss=settings.LOCAL_ISSUER,
        aud=settings.LOCAL_CLIENT_ID,
        sub=subject,
        email=f"{name}@example.com",
        **{"cognito:username": subject, "cognito:groups": list(groups) or None},
    )


def _conversation_id(body: Any) -> Any:
    return body.get("conversationId", body.get("conversation_id"))
