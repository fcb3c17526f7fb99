"""Each published API has a document and a page of its own, which need no key and tell nothing of the bot."""

import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from openapi_spec_validator import validate
from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
from publication import published_urls
from tests.bots.bot import body
from tests.conversations.test_queries import statements
from tests.publication.api import Api, limits, work

pytestmark = pytest.mark.django_db(transaction=True)

ORIGIN = "https://app.example.com"
PAGES = ("/docs", "/docs?script=", "/openapi.json")


def document_of(api: Api) -> Any:
    return body(Client().get(f"{api.path}/openapi.json"))


def test_the_document_is_valid_and_has_the_routes_of_the_api_alone(api: Api) -> None:
    document = document_of(api)
    validate(document)
    served = {
        (method, re.sub(r"<\w+:(\w+)>", r"{\1}", str(route.pattern).removeprefix(published_urls.API)))
        for route in published_urls.urlpatterns
        if str(route.pattern).startswith(published_urls.API)
        and not str(route.pattern).endswith(("/docs", "/openapi.json"))
        for method in getattr(route.callback, "actions", ())
        if method != "head"
    }
    assert {(method, path) for path, methods in document["paths"].items() for method in methods} == served
    assert len(served) >= 4
    assert document["servers"] == [{"url": f"http://localhost:8000{api.path}"}]


def test_its_headings_are_named_for_whoever_reads_them(api: Api) -> None:
    tags = {
        path: operation["tags"] for path, methods in document_of(api)["paths"].items() for operation in methods.values()
    }
    assert tags["/conversation"] == tags["/health"] == ["conversation"]
    assert tags["/v1/models"] == tags["/v1/chat/completions"] == ["OpenAI"]


def test_every_route_needs_a_key_and_says_how_it_refuses(api: Api) -> None:
    document = document_of(api)
    schemes = document["components"]["securitySchemes"]
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["security"]
            assert all(set(requirement) <= set(schemes) and requirement for requirement in operation["security"])
            assert {"403", "429"} <= set(operation["responses"]) or "401" in operation["responses"]


def test_the_example_calls_work(api: Api, emulator: Any) -> None:
    """As somebody would who copies them into a shell."""
    environment = {"API_KEY": api.key}
    calls = {
        (path, method): re.findall(r"```sh\n(.+?)\n```", operation["description"], re.DOTALL)
        for path, methods in document_of(api)["paths"].items()
        for method, operation in methods.items()
    }
    assert all(len(examples) == 1 for examples in calls.values())
    for (path, _), [example] in sorted(calls.items(), key=lambda call: call[0][1], reverse=True):
        answer = run(example, environment)
        assert answer.status_code == 200, (path, answer.content)
        if path == "/conversation":
            ids = answer.json()
            environment |= {"CONVERSATION_ID": ids["conversationId"], "MESSAGE_ID": ids["messageId"]}
            work()


def run(call: str, environment: dict[str, str]) -> Any:
    """Does what curl would do with this command."""
    _, _, method, address, *options = shlex.split(call.replace("\\\n", " "))
    values = [re.sub(r"\$([A-Z_]+)", lambda name: environment[name[1]], value) for value in (address, *options)]
    headers = dict(value.split(": ", 1) for flag, value in zip(values[1::2], values[2::2], strict=True) if flag == "-H")
    data = "".join(value for flag, value in zip(values[1::2], values[2::2], strict=True) if flag == "-d")
    return Client().generic(method, values[0].removeprefix("http://localhost:8000"), data, headers=headers)


def test_it_tells_nothing_of_the_bot_and_its_owner(api: Api, dave: APIClient) -> None:
    private = body(dave.get("/bot/private/helper"))
    for page in PAGES:
        text = Client().get(api.path + page).content.decode()
        for name in ("title", "description", "instruction", "ownerUserId"):
            assert not private[name] or private[name] not in text, (page, name)


def test_what_is_not_open_is_refused_like_a_wrong_key(api: Api, dave: APIClient) -> None:
    def refusal(path: str = api.path) -> Any:
        answers = [Client().get(path + page) for page in PAGES]
        assert [answer.status_code for answer in answers] == [403] * 3
        assert all(answer.content == answers[0].content for answer in answers)
        headers = {name: value for name, value in answers[0].headers.items() if name != "X-Request-ID"}
        return answers[0].content, headers

    def patch(**fields: Any) -> None:
        body(dave.patch("/bot/helper/publication", fields, format="json"))

    unknown = refusal("/published/nowhere/api")
    assert refusal("/published/helper/dev") == unknown
    patch(allowedNetworks=["10.0.0.0/8"])
    assert refusal() == unknown
    patch(allowedNetworks=[])
    User.objects.filter(username="dave").update(is_active=False)
    assert refusal() == unknown
    User.objects.filter(username="dave").update(is_active=True)
    assert Client().get(f"{api.path}/docs").status_code == 200
    body(dave.delete("/bot/helper/publication"))
    assert refusal() == unknown
    wrong = api.get("/health", key="wrong")
    assert wrong.content == unknown[0]


@pytest.mark.parametrize("page", PAGES)
def test_the_setting_takes_all_of_them_away(api: Api, settings: LazySettings, page: str) -> None:
    settings.PUBLISHED_DOCS = False
    answers = [Client().get(path + page) for path in (api.path, "/published/nowhere/api")]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert api.get("/health").status_code == 200


def test_an_address_reads_so_many_in_a_minute_and_keys_are_not_refused_for_it(api: Api, settings: LazySettings) -> None:
    settings.PUBLISHED_DOCS_RATE = "2/m"
    paths = (api.path, "/published/nowhere/api", api.path)
    assert [Client().get(f"{path}/openapi.json").status_code for path in paths] == [200, 403, 429]
    assert api.get("/health").status_code == 200


def test_it_takes_one_query_and_spends_nothing(dave: APIClient, api: Api) -> None:
    body(dave.patch("/bot/helper/publication", {"quota": limits(quota=1)["quota"]}, format="json"))
    for page in PAGES:
        with CaptureQueriesContext(connection) as captured:
            answer = Client().get(api.path + page)
        assert len(statements(captured)) == 1
        assert answer.headers["Cache-Control"] == "private, max-age=300"
        assert "Origin" in answer.headers["Vary"]
        assert "Set-Cookie" not in answer.headers
    api.ask()


def test_the_origins_of_the_api_may_read_it(api: Api, dave: APIClient) -> None:
    body(dave.patch("/bot/helper/publication", {"allowedOrigins": [ORIGIN]}, format="json"))
    read: Callable[[str], Any] = lambda origin: Client().get(f"{api.path}/openapi.json", headers={"origin": origin})  # noqa: E731
    assert read(ORIGIN).headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Access-Control-Allow-Origin" not in read("https://elsewhere.example.com").headers


@pytest.mark.parametrize("page", ["/docs", "/docs?script="])
def test_the_page_comes_from_local_assets_under_a_strict_policy(api: Api, page: str) -> None:
    answer = Client().get(api.path + page)
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "default-src 'none'" in policy
    text = answer.content.decode()
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", text)
    assert not re.findall(r"<script>", text)
    assert "openapi.json" in text or "?script=" in text
