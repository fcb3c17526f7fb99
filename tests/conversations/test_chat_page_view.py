"""The page to try the product: where it is served, under which policy, and what it offers."""

import importlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import clear_url_caches

import bedrock_chat.urls
import conversations.urls

CAPABILITIES = {"images": True, "documents": True, "prefill": True, "reasoning": "optional"}


def page_config(client: Client) -> dict[str, Any]:
    response = client.get("/chat")
    assert response.status_code == 200
    match = re.search(r'<script id="config" type="application/json">(.*?)</script>', response.content.decode())
    assert match
    config: dict[str, Any] = json.loads(match[1])
    return config


@pytest.fixture
def without_local_identities(settings: Any) -> Iterator[None]:
    def read_routes() -> None:
        for module in (conversations.urls, bedrock_chat.urls):
            importlib.reload(module)
        clear_url_caches()

    settings.LOCAL_IDENTITIES = False
    read_routes()
    yield
    settings.LOCAL_IDENTITIES = True
    read_routes()


def test_it_runs_scripts_and_styles_of_this_server_alone_and_sends_nothing_elsewhere(client: Client) -> None:
    response = client.get("/chat")
    assert response.headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    assert response.headers["Cache-Control"] == "no-cache"
    assert re.findall(r"""(?:src|href)=["'](?!/static/|#)""", response.content.decode()) == []
    assert " style=" not in response.content.decode()


def test_it_offers_the_models_that_may_be_used_the_default_first(client: Client, settings: Any) -> None:
    models = page_config(client)["models"]
    assert models[0] == {
        "key": settings.DEFAULT_MODEL,
        "flag": "claudeV45Sonnet",
        "name": "Claude Sonnet 4.5",
        **CAPABILITIES,
    }
    assert len(models) == len({model["key"] for model in models}) > 20
    settings.GLOBAL_AVAILABLE_MODELS = ["amazon-nova-micro", "gpt-oss-20b"]
    settings.DEFAULT_MODEL = "gpt-oss-20b"
    assert page_config(client)["models"] == [
        # Nobody knows whether this model reads documents, so the page lets users try, as the API does.
        {
            "key": "gpt-oss-20b",
            "flag": "gptOss20b",
            "name": "gpt-oss-20b",
            "images": False,
            "documents": True,
            "prefill": False,
            "reasoning": "always",
        },
        {
            "key": "amazon-nova-micro",
            "flag": "amazonNovaMicro",
            "name": "Nova Micro",
            "images": False,
            "documents": False,
            "prefill": True,
            "reasoning": "never",
        },
    ]


def test_it_says_whether_an_emulator_answers(client: Client, settings: Any) -> None:
    assert page_config(client)["emulator"] is True
    settings.BEDROCK = "aws"
    assert page_config(client)["emulator"] is False


def test_it_can_only_be_read(client: Client) -> None:
    refused = Client(enforce_csrf_checks=True).post("/chat")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD")
    assert set(refused.json()) == {"detail", "errors"}
    assert client.head("/chat").status_code == 200


@pytest.mark.usefixtures("without_local_identities")
def test_without_local_identities_there_is_no_such_page(client: Client) -> None:
    assert client.get("/chat").status_code == 404
    assert client.get("/.well-known/jwks.json").status_code == 404
