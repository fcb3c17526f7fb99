"""Bedrock's guardrails: they are made, changed, given versions and deleted, and intervene in answers.

Nothing is judged here: `[[blocked]]` in a text of the user is what every filter blocks, and a question with
`[[blocked:answer]]` is one whose answer is blocked. How long a guardrail is on its way, whether it fails, and which
calls go wrong, `/control/guardrails` says.
"""

import secrets
import string
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from bedrock_chat.bedrock.emulator import grounding, shapes
from bedrock_chat.bedrock.emulator.refusals import Refusal, invalid

SERVICE: Final = "bedrock"
PATHS: Final = ("/guardrails", "/listTagsForResource")
DRAFT: Final = "DRAFT"
BLOCKED: Final = "[[blocked]]"
BLOCKED_ANSWER: Final = "[[blocked:answer]]"
MOST_GUARDRAILS: Final = 100
MOST_VERSIONS: Final = 20
PAGE: Final = 1000
ACCOUNT: Final = "arn:aws:bedrock:us-east-1:123456789012:guardrail/"
POLICIES: Final = (
    "contentPolicy",
    "topicPolicy",
    "wordPolicy",
    "sensitiveInformationPolicy",
    "contextualGroundingPolicy",
)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of the guardrails that are made or changed from now on: READY after so many seconds, or FAILED."""

    seconds: float = 0.0
    fails: str | None = None


@dataclass(slots=True)
class Version:
    """A version, or the draft: what was asked for, and what becomes of it when `due` has come."""

    number: str
    settings: Json
    on_the_way: str
    due: float
    fails: str | None
    changed_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def status(self, now: float) -> str:
        if now < self.due:
            return self.on_the_way
        return "FAILED" if self.fails else "READY"


@dataclass(slots=True)
class Guardrail:
    id: str
    tags: list[Json]
    versions: dict[str, Version]
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    last_number: int = 0
    gone_at: float | None = None

    @property
    def arn(self) -> str:
        return ACCOUNT + self.id

    @property
    def draft(self) -> Version:
        return self.versions[DRAFT]

    def status(self, version: Version, now: float) -> str:
        return "DELETING" if self.gone_at is not None else version.status(now)


@dataclass(frozen=True, slots=True)
class Call:
    """A request to one of the operations."""

    operation: str
    identifier: str
    query: Mapping[str, str]
    body: Json


@dataclass(frozen=True, slots=True)
class Intervention:
    """What a guardrail puts in the place of an answer. Of a blocked question the model learns nothing."""

    text: str
    trace: Json | None
    of_question: bool


class Guardrails:
    """All guardrails of the account, in memory. Time can be made to pass (`pass_time`)."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._all: dict[str, Guardrail] = {}
        self._answers: dict[tuple[str, str, str], Json] = {}
        self._passed = 0.0
        self._most_versions = MOST_VERSIONS
        self._plan = Plan()

    # ---- Control ----

    def control(self, document: Mapping[str, Any]) -> None:
        """Takes `seconds`, `fails`, `pass` and `versions`; without a field it is as at the beginning."""
        self._plan = Plan(float(document.get("seconds", 0.0)), document.get("fails"))
        self._most_versions = int(document.get("versions", MOST_VERSIONS))
        self._passed += float(document.get("pass", 0.0))

    def listed(self) -> list[Json]:
        """Everything there is, for `GET /control/guardrails`."""
        self._bury()
        return [
            {
                "id": guardrail.id,
                "arn": guardrail.arn,
                "name": guardrail.draft.settings["name"],
                "status": guardrail.status(guardrail.draft, self._now()),
                "tags": {tag["key"]: tag["value"] for tag in guardrail.tags},
                "filters": {**_filters(guardrail.draft), **_shares(guardrail.draft)},
                "versions": [number for number in guardrail.versions if number != DRAFT],
            }
            for guardrail in self._all.values()
        ]

    # ---- Operations ----

    def answer(self, call: Call) -> tuple[int, Json]:
        """The status and the body of an answer. Raises Refusal."""
        self._bury()
        shapes.check(call.operation, call.body, service=SERVICE)
        operations: dict[str, Callable[[Call], Json]] = {
            "CreateGuardrail": self._create,
            "GetGuardrail": self._get,
            "UpdateGuardrail": self._update,
            "DeleteGuardrail": self._delete,
            "ListGuardrails": self._list,
            "CreateGuardrailVersion": self._create_version,
            "ListTagsForResource": self._list_tags,
        }
        token = call.body.get("clientRequestToken")
        key = (call.operation, call.identifier, token or "")
        if token and (before := self._answers.get(key)):
            return _status(call.operation), before
        document = operations[call.operation](call)
        if token:
            self._answers[key] = document
        return _status(call.operation), document

    def _create(self, call: Call) -> Json:
        settings = dict(call.body)
        tags = settings.pop("tags", None) or []
        _refuse_empty(settings)
        if any(other.draft.settings["name"] == settings["name"] for other in self._all.values()):
            raise Refusal("ConflictException", "Another guardrail with this name already exists.")
        if len(self._all) >= MOST_GUARDRAILS:
            raise Refusal("ServiceQuotaExceededException", "The account has as many guardrails as it may have.")
        id_ = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(12))
        guardrail = Guardrail(id_, tags, {DRAFT: self._version(DRAFT, settings, "CREATING")})
        self._all[id_] = guardrail
        return {
            "guardrailId": id_,
            "guardrailArn": guardrail.arn,
            "version": DRAFT,
            "createdAt": guardrail.created_at.isoformat(),
        }

    def _get(self, call: Call) -> Json:
        guardrail = self._named(call.identifier)
        version = guardrail.versions.get(call.query.get("guardrailVersion", DRAFT))
        if version is None:
            raise _unknown()
        status = guardrail.status(version, self._now())
        settings = version.settings
        document = {
            **{name: settings[name] for name in ("name", "blockedInputMessaging", "blockedOutputsMessaging")},
            "guardrailId": guardrail.id,
            "guardrailArn": guardrail.arn,
            "version": version.number,
            "status": status,
            "createdAt": guardrail.created_at.isoformat(),
            "updatedAt": version.changed_at.isoformat(),
        }
        for policy in POLICIES:
            if config := settings.get(f"{policy}Config"):
                document[policy] = {name.removesuffix("Config"): value for name, value in config.items()}
        if status == "FAILED":
            document["statusReasons"] = [version.fails]
        return document

    def _update(self, call: Call) -> Json:
        guardrail = self._named(call.identifier)
        self._refuse_while_busy(guardrail)
        _refuse_empty(call.body)
        guardrail.versions[DRAFT] = self._version(DRAFT, dict(call.body), "UPDATING")
        return {
            "guardrailId": guardrail.id,
            "guardrailArn": guardrail.arn,
            "version": DRAFT,
            "updatedAt": guardrail.draft.changed_at.isoformat(),
        }

    def _create_version(self, call: Call) -> Json:
        guardrail = self._named(call.identifier)
        self._refuse_while_busy(guardrail)
        if guardrail.status(guardrail.draft, self._now()) != "READY":
            raise Refusal("ConflictException", "The guardrail is not ready.")
        if len(guardrail.versions) - 1 >= self._most_versions:
            raise Refusal("ServiceQuotaExceededException", "The guardrail has as many versions as it may have.")
        guardrail.last_number += 1
        number = str(guardrail.last_number)
        guardrail.versions[number] = self._version(number, guardrail.draft.settings, "VERSIONING")
        return {"guardrailId": guardrail.id, "version": number}

    def _delete(self, call: Call) -> Json:
        guardrail = self._named(call.identifier)
        self._refuse_while_busy(guardrail)
        number = call.query.get("guardrailVersion")
        if number is None:
            guardrail.gone_at = self._now() + self._plan.seconds
        elif number == DRAFT:
            raise invalid("The draft of a guardrail cannot be deleted alone.")
        elif guardrail.versions.pop(number, None) is None:
            raise _unknown()
        return {}

    def _list(self, call: Call) -> Json:
        if "guardrailIdentifier" in call.query:
            guardrail = self._named(call.query["guardrailIdentifier"])
            rows = [(guardrail, version) for version in guardrail.versions.values()]
        else:
            rows = [(guardrail, guardrail.draft) for guardrail in self._all.values()]
        start, size = int(call.query.get("nextToken", 0)), int(call.query.get("maxResults", PAGE))
        document: Json = {"guardrails": [self._summary(*row) for row in rows[start : start + size]]}
        return document | ({"nextToken": str(start + size)} if start + size < len(rows) else {})

    def _summary(self, guardrail: Guardrail, version: Version) -> Json:
        return {
            "id": guardrail.id,
            "arn": guardrail.arn,
            "status": guardrail.status(version, self._now()),
            "name": version.settings["name"],
            "version": version.number,
            "createdAt": guardrail.created_at.isoformat(),
            "updatedAt": version.changed_at.isoformat(),
        }

    def _list_tags(self, call: Call) -> Json:
        return {"tags": self._named(call.body["resourceARN"]).tags}

    def _version(self, number: str, settings: Json, on_the_way: str) -> Version:
        return Version(number, settings, on_the_way, self._now() + self._plan.seconds, self._plan.fails)

    def _named(self, identifier: str) -> Guardrail:
        guardrail = self._all.get(identifier.removeprefix(ACCOUNT))
        if guardrail is None:
            raise _unknown()
        return guardrail

    def _refuse_while_busy(self, guardrail: Guardrail) -> None:
        now = self._now()
        if any(guardrail.status(version, now) not in ("READY", "FAILED") for version in guardrail.versions.values()):
            raise Refusal("ConflictException", "The guardrail is being changed. Try again when that is done.")

    def _bury(self) -> None:
        """Deletes for good what was being deleted for long enough."""
        now = self._now()
        for guardrail in [one for one in self._all.values() if one.gone_at is not None and one.gone_at <= now]:
            del self._all[guardrail.id]

    def _now(self) -> float:
        return time.monotonic() + self._passed

    # ---- Answers ----

    def intervention(self, body: Mapping[str, Any], question: str) -> Intervention | None:
        """What the guardrail of a request does about it. Raises Refusal if there is no such guardrail.

        As on Bedrock, all messages are looked at, not only the last one, unless some of it is marked as `guardContent`.
        """
        guarded = self._guarding(body)
        if guarded is None:
            return None
        guardrail, version = guarded
        traced = str(body["guardrailConfig"].get("trace", "disabled")).startswith("enabled")
        if _blocks(version, "inputStrength") and any(BLOCKED in text for text in grounding.judged(body["messages"])):
            trace: Json | None = {"inputAssessment": {guardrail.id: _assessment(version)}} if traced else None
            return Intervention(version.settings["blockedInputMessaging"], _traced(trace), of_question=True)
        if _blocks(version, "outputStrength") and BLOCKED_ANSWER in question:
            trace = {"outputAssessments": {guardrail.id: [_assessment(version)]}} if traced else None
            return Intervention(version.settings["blockedOutputsMessaging"], _traced(trace), of_question=False)
        shares = _shares(version)
        if grounding.applies(shares, body["messages"]) and (findings := grounding.failing(shares, question)):
            assessment = {"contextualGroundingPolicy": {"filters": findings}}
            trace = {"outputAssessments": {guardrail.id: [assessment]}} if traced else None
            return Intervention(version.settings["blockedOutputsMessaging"], _traced(trace), of_question=False)
        return None

    def check_answer(self, body: Mapping[str, Any], text: str) -> None:
        """Raises Refusal for an answer that is too long to be held against its sources."""
        guarded = self._guarding(body)
        if guarded is not None and grounding.applies(_shares(guarded[1]), body["messages"]):
            grounding.refuse_long_answer(text)

    def _guarding(self, body: Mapping[str, Any]) -> tuple[Guardrail, Version] | None:
        """The guardrail that a request names, and its version. Raises Refusal if it is not there, or not ready."""
        config = body.get("guardrailConfig")
        if not config or not config.get("guardrailIdentifier"):
            return None
        self._bury()
        guardrail = self._all.get(config["guardrailIdentifier"].removeprefix(ACCOUNT))
        version = guardrail.versions.get(config.get("guardrailVersion", "")) if guardrail else None
        if guardrail is None or version is None or guardrail.status(version, self._now()) != "READY":
            raise invalid("The guardrail identifier or version provided in the request does not exist.")
        return guardrail, version


def call_of(method: str, path: str, body: Json) -> Call | None:
    """The operation that a request is for, or None if it is none of guardrails. `path` is percent-encoded."""
    resource, _, query = path.partition("?")
    parts = [unquote(part) for part in resource.split("/")[1:]]
    values = {name: repeated[0] for name, repeated in parse_qs(query).items()}
    match method, parts:
        case "POST", ["listTagsForResource"]:
            return Call("ListTagsForResource", "", values, body)
        case _, ["guardrails"]:
            operation = {"POST": "CreateGuardrail", "GET": "ListGuardrails"}.get(method)
        case _, ["guardrails", identifier] if identifier:
            operation = {
                "GET": "GetGuardrail",
                "PUT": "UpdateGuardrail",
                "POST": "CreateGuardrailVersion",
                "DELETE": "DeleteGuardrail",
            }.get(method)
        case _:
            return None
    return Call(operation, parts[1] if len(parts) > 1 else "", values, body) if operation else None


def _status(operation: str) -> int:
    return 200 if operation.startswith(("Get", "List")) else 202


def _unknown() -> Refusal:
    return Refusal("ResourceNotFoundException", "The guardrail or its version does not exist.")


def _refuse_empty(settings: Mapping[str, Any]) -> None:
    if not any(settings.get(f"{policy}Config") for policy in POLICIES):
        raise invalid("A guardrail needs at least one policy.")


def _filters(version: Version) -> dict[str, str]:
    filters = (version.settings.get("contentPolicyConfig") or {}).get("filtersConfig") or []
    return {entry["type"]: entry["inputStrength"] for entry in filters}


def _shares(version: Version) -> dict[str, float]:
    """GROUNDING and RELEVANCE → the share below which an answer is blocked."""
    filters = (version.settings.get("contextualGroundingPolicyConfig") or {}).get("filtersConfig") or []
    return {entry["type"]: entry["threshold"] for entry in filters}


def _blocks(version: Version, direction: str) -> bool:
    filters = (version.settings.get("contentPolicyConfig") or {}).get("filtersConfig") or []
    return any(entry[direction] != "NONE" for entry in filters)


def _assessment(version: Version) -> Json:
    kind, strength = next(iter(_filters(version).items()))
    finding = {"type": kind, "confidence": "HIGH", "filterStrength": strength, "action": "BLOCKED", "detected": True}
    return {"contentPolicy": {"filters": [finding]}}


def _traced(assessments: Json | None) -> Json | None:
    return {"guardrail": {**assessments, "actionReason": "Guardrail blocked."}} if assessments else None
