"""Whatever JSON is sent: never a fault of the server, and nothing is stored that is not read back as it was sent."""

import copy
import itertools
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from bedrock_chat.wire.names import camel, snake
from bots.models import Bot, BotVersion
from tests.bots.bot import PARAMETERS, firecrawl, make, payload, pin, read, share
from tests.bots.test_parts import AGENT, BASE, DUCKDUCKGO, GUARDRAILS, PLAIN

SLOW = bool(os.environ.get("SLOW"))
MORE = 12 if os.environ.get("WHOLE") else 6 if SLOW else 1
pytestmark = [pytest.mark.django_db, pytest.mark.both, *([pytest.mark.slow] if SLOW else [])]

NUMBERS = st.sampled_from(
    [
        0,
        1,
        -1,
        3,
        500,
        1024,
        10**30,
        2**63,
        -(2**63) - 1,
        0.5,
        0.1 + 0.2,
        -0.0,
        5e-324,
        1e-7,
        1e308,
        -1e308,
        float("nan"),
    ]
)
TEXTS = st.sampled_from(
    [
        "",
        "x",
        " ",
        "\0",
        "\ud800",
        "😀",
        "true",
        "null",
        "********",
        "https://e.com/",
        "s3://bucket/",
        "x" * 2000,
        "plain",
    ]
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS | st.text(max_size=5)
NAMES = st.sampled_from(
    ["toolType", "name", "tools", "chunkingStrategy", "claudeV45Sonnet", "__class__", "", "\0", "input"]
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=3)
)
DEEP = st.integers(1, 70).map(lambda depth: json.loads("[" * depth + "]" * depth))
VALUES = JSON | DEEP

KNOWLEDGE = {"sourceUrls": ["https://example.com/"], "sitemapUrls": [], "s3Urls": ["s3://bucket/a/"]}
FIELDS: dict[str, Any] = {
    "title": "A bot",
    "instruction": "You are a bot.",
    "description": "It does this.",
    "generationParams": PARAMETERS,
    "agent": {"tools": [PLAIN, DUCKDUCKGO, AGENT, firecrawl("fc-key", name="other")["tools"][0]]},
    "displayRetrievedChunks": True,
    "conversationQuickStarters": [{"title": "t", "example": "e"}],
    "bedrockKnowledgeBase": BASE,
    "bedrockGuardrails": GUARDRAILS,
    "activeModels": {"claudeV45Sonnet": False, "unknown": True},
    "promptCachingEnabled": False,
}
CREATION = {"knowledge": {**KNOWLEDGE, "filenames": []}, **FIELDS}
EDIT = {
    "knowledge": {**KNOWLEDGE, "addedFilenames": [], "deletedFilenames": [], "unchangedFilenames": []},
    **FIELDS,
    "baseVersion": None,
}
VISIBILITY = {"targetSharedScope": "partial", "targetAllowedUserIds": ["x", "y"], "targetAllowedGroupIds": ["g"]}
PUSHED = {"toPinned": True, "order": 7}


@pytest.fixture(autouse=True)
def _read_buckets(settings: Any) -> None:
    settings.KNOWLEDGE_S3 = (("bucket", ""),)


def examples(number: int) -> settings:
    """So many examples, and many more with the slow tests."""
    return settings(
        max_examples=number * MORE,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


fresh_ids = (f"bot-{number}" for number in itertools.count())


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value inside of a JSON value."""
    for name, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield (*path, name)
        yield from places(inner, (*path, name))


@st.composite
def changed(draw: st.DrawFn, sound: dict[str, Any]) -> Any:
    """A sound body of which something was replaced, left out or added; now and then anything else."""
    if draw(st.integers(0, 9)) == 0:
        return draw(VALUES)
    sent = copy.deepcopy(sound)
    for _ in range(draw(st.sampled_from([1, 1, 1, 3]))):
        if not sent:
            break  # all of it was left out
        *outer, last = draw(st.sampled_from(list(places(sent))))
        inside = sent
        for step in outer:
            inside = inside[step]
        match draw(st.sampled_from(["replace", "replace", "leave out", "add"])):
            case "replace":
                inside[last] = draw(VALUES)
            case "leave out":
                del inside[last]
            case _ if isinstance(inside, dict):
                inside[draw(NAMES)] = draw(VALUES)
    return draw(st.sampled_from([sent, renamed(sent)]))


def renamed(value: Any) -> Any:
    """The same in snake_case."""
    if isinstance(value, dict):
        return {snake(name): renamed(inner) for name, inner in value.items()}
    return [renamed(inner) for inner in value] if isinstance(value, list) else value


def send(client: APIClient, method: str, path: str, sent: Any) -> int:
    """The status. Lone surrogates and NaN go out as `json` writes them."""
    response = client.generic(method, path, json.dumps(sent), content_type="application/json")
    assert response.status_code in (200, 400, 404, 409), response.content
    if response.status_code != 200:
        assert response.json()["errors"]
    return response.status_code


def is_echoed(sent: Any, got: Any) -> bool:
    """Whether what is read is what was sent, as far as it is known at all. Null stands for what there is anyway."""
    if sent is None or got == "********":
        return True
    if isinstance(got, dict):
        return isinstance(sent, dict) and all(
            is_echoed(value, got[camel(name)]) for name, value in sent.items() if camel(name) in got
        )
    if isinstance(got, list):
        return isinstance(sent, list) and len(sent) == len(got) and all(map(is_echoed, sent, got))
    if isinstance(got, bool):
        return isinstance(sent, bool) or bool(sent) is got or str(sent).lower() in ("f", "n", "no", "off", "0", "false")
    return bool(sent == got) and isinstance(sent, bool) is isinstance(got, bool)


@examples(40)
@given(sent=changed({"id": "placeholder", **CREATION}))
def test_any_creation_is_stored_whole_or_refused(alice: APIClient, sent: Any) -> None:
    bot_id = next(fresh_ids)
    if isinstance(sent, dict) and sent.get("id") == "placeholder":
        sent["id"] = bot_id
    before = Bot.objects.count()
    if send(alice, "POST", "/bot", sent) == 200:
        assert is_echoed(sent, read(alice, sent["id"]))
    else:
        assert Bot.objects.count() == before


@examples(40)
@given(sent=changed(EDIT))
def test_any_edit_is_stored_whole_or_refused(alice: APIClient, sent: Any) -> None:
    if not Bot.objects.exists():
        make(alice, "b", **CREATION)
    before = read(alice, "b")
    if send(alice, "PATCH", "/bot/b", sent) == 200:
        after = read(alice, "b")
        assert is_echoed(sent, after)
        assert BotVersion.objects.filter(bot="b", number=after["version"]).exists()
    else:
        assert read(alice, "b") == before


@examples(20)
@given(sent=changed(VISIBILITY))
def test_any_visibility_is_stored_whole_or_refused(alice: APIClient, sent: Any) -> None:
    if not Bot.objects.exists():
        make(alice, "b")
    before = read(alice, "b")
    status = send(alice, "PATCH", "/bot/b/visibility", sent)
    after = read(alice, "b")
    if status != 200:
        assert after == before
        return
    names = {camel(name): value for name, value in sent.items()}
    is_partial = names["targetSharedScope"] == "partial"
    assert after["sharedScope"] == names["targetSharedScope"]
    users, groups = after["allowedCognitoUsers"], after["allowedCognitoGroups"]
    assert users == (list(dict.fromkeys(names["targetAllowedUserIds"])) if is_partial else [])
    assert groups == (list(dict.fromkeys(names["targetAllowedGroupIds"])) if is_partial else [])


@examples(20)
@given(sent=changed(PUSHED))
def test_any_pin_is_stored_whole_or_refused(alice: APIClient, carol: APIClient, sent: Any) -> None:
    if not Bot.objects.exists():
        make(alice, "b")
        share(alice, "b", "all")
    pin(carol, "b", None)
    status = send(carol, "PATCH", "/admin/bot/b/pushed", sent)
    order = Bot.objects.get().pinned_order
    if status == 200:
        names = {camel(name): value for name, value in sent.items()}
        assert order is None or order == names["order"]
    else:
        assert order is None


@examples(8)
@given(sent=VALUES, bot_id=st.sampled_from(["nope", "new", "%00", "%ff", "a%2Fb", "..", "%F0%9F%98%80", "x" * 300]))
def test_no_id_in_an_address_is_a_fault(alice: APIClient, carol: APIClient, sent: Any, bot_id: str) -> None:
    for method, path in (
        ("GET", "/bot/private/{}"),
        ("GET", "/bot/summary/{}"),
        ("PATCH", "/bot/{}"),
        ("PATCH", "/bot/{}/starred"),
        ("DELETE", "/bot/{}/recently-used"),
        ("GET", "/bot/{}/versions/99999999999999999999"),
        ("DELETE", "/bot/{}"),
        ("GET", "/admin/bot/public/{}"),
        ("PATCH", "/admin/bot/{}/pushed"),
    ):
        assert carol.generic(
            method, path.format(bot_id), json.dumps(sent), content_type="application/json"
        ).status_code in (
            400,
            404,
        )


def test_payload_is_sound(alice: APIClient) -> None:
    """What the tests above change is taken as it is."""
    assert send(alice, "POST", "/bot", {"id": "b", **CREATION}) == 200
    assert send(alice, "PATCH", "/bot/b", EDIT) == 200
    assert send(alice, "PATCH", "/bot/b", renamed(EDIT)) == 200
    assert send(alice, "POST", "/bot", payload("c")) == 200
