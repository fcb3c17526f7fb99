"""What a bot may consist of: each field's bounds, and what is answered where they are not kept."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.bedrock import catalog
from bots.configuration import SPELLINGS, WIRE_KEYS, wire_key
from tests.bots.bot import KNOWLEDGE, PARAMETERS, body, edit, make, payload, read, refused

pytestmark = pytest.mark.django_db


# ---- Texts and flags ------------------------------------------------------------------------------------------------


def test_texts_have_bounds(untouched: None, alice: APIClient) -> None:
    for field, longest in (("title", 1000), ("description", 10_000), ("instruction", 1_000_000)):
        for value in ("x" * (longest + 1), 5, True, ["x"], {"x": "y"}, 1.5):
            refused(alice, field, value)
    for field in ("title", "instruction"):
        refused(alice, field, None)
    refused(alice, "title", "")


@pytest.mark.both
def test_texts_come_back_as_they_were_sent(alice: APIClient) -> None:
    texts = {"title": "𝒯" * 1000, "description": " \t\n two  spaces ", "instruction": "<b>\u202e\ufeff\r\n語</b>\x01"}
    make(alice, "b", **texts)
    bot = read(alice, "b")
    assert {name: bot[name] for name in texts} == texts


def test_a_creation_needs_a_title_and_an_instruction_alone(alice: APIClient) -> None:
    assert body(alice.post("/bot", {"id": "b", "title": "t", "instruction": ""}, format="json"))["instruction"] == ""
    for missing in ("id", "title", "instruction"):
        sent = {name: value for name, value in payload("c").items() if name != missing}
        response = alice.post("/bot", sent, format="json")
        assert (response.status_code, response.json()["errors"]) == (400, [f"{missing}: This field is required."])


@pytest.mark.both
def test_null_is_taken_where_the_contract_says_so(alice: APIClient) -> None:
    nullable = (
        "description",
        "generationParams",
        "agent",
        "knowledge",
        "conversationQuickStarters",
        "bedrockKnowledgeBase",
        "bedrockGuardrails",
    )
    made = make(alice, "b", **dict.fromkeys(nullable))
    assert made["description"] == ""
    assert made["agent"] == {"tools": []}
    assert made["knowledge"] == KNOWLEDGE
    assert made["conversationQuickStarters"] == []
    assert body(edit(alice, "b", **dict.fromkeys(nullable)))["version"] == 1


def test_flags_are_no_other_thing(untouched: None, alice: APIClient) -> None:
    for field in ("displayRetrievedChunks", "promptCachingEnabled"):
        for value in (None, "perhaps", 7, [], {}):
            refused(alice, field, value)


def test_an_edit_is_based_on_a_version_number(untouched: None, alice: APIClient) -> None:
    for value in (0, -1, 1.5, True, "1", [1], 10**30, 1e308):
        response = edit(alice, "b", title="x", baseVersion=value)
        assert response.status_code == 400, value
        assert response.json()["errors"][0].startswith("baseVersion")
    assert edit(alice, "b", baseVersion=None).status_code == 200
    assert edit(alice, "b", title="x", baseVersion=999_999).status_code == 409


def test_what_is_no_object_is_refused(untouched: None, alice: APIClient) -> None:
    for raw in (b"", b"[]", b"null", b"5", b'"x"', b"{", b'{"title": NaN}', b'{"title": Infinity}', b"[" * 99):
        for method, path in (("POST", "/bot"), ("PATCH", "/bot/b/visibility"), ("PATCH", "/bot/b/starred")):
            assert alice.generic(method, path, raw, content_type="application/json").status_code == 400, raw
        edited = alice.generic("PATCH", "/bot/b", raw, content_type="application/json")
        assert edited.status_code == (400 if raw else 200), raw  # no body is an edit of nothing


# ---- Generation parameters ------------------------------------------------------------------------------------------


def widest(name: str) -> tuple[float, float]:
    """The lowest and the highest value that a model of the catalogue takes."""
    ranges = [model.ranges[name] for model in catalog.MODELS.values() if name in model.ranges]
    return min(r.lowest for r in ranges if r.lowest is not None), max(
        r.highest for r in ranges if r.highest is not None
    )


def test_what_no_model_takes_is_refused(untouched: None, alice: APIClient) -> None:
    most_tokens = max(model.max_output_tokens or 0 for model in catalog.MODELS.values())
    wrong: dict[str, list[Any]] = {
        "maxTokens": [0, -1, most_tokens + 1, 1.5, "5", True, None, 1e308, 10**40],
        "topK": [widest("topK")[0] - 1, widest("topK")[1] + 1, 1.5, "5", True, None],
        "topP": [widest("topP")[0] - 0.01, widest("topP")[1] + 0.01, "0.5", True, None, 1e308],
        "temperature": [widest("temperature")[0] - 0.01, widest("temperature")[1] + 0.01, "1", True, None, -1e308],
        "stopSequences": [None, "x", [""], [5], ["x" * 1001], ["x"] * 2501, [None]],
        "reasoningParams": [
            None,
            {},
            *({"budgetTokens": budget} for budget in (1023, most_tokens + 1, 1024.5, "2048", True, None)),
        ],
    }
    for name, values in wrong.items():
        for value in values:
            errors = refused(alice, "generationParams", {**PARAMETERS, name: value})
            assert all(error.startswith(f"generationParams.{name}") for error in errors), errors
        refused(alice, "generationParams", {key: value for key, value in PARAMETERS.items() if key != name})


@pytest.mark.both
def test_what_some_model_takes_is_stored_as_it_was_sent(alice: APIClient) -> None:
    most_tokens = max(model.max_output_tokens or 0 for model in catalog.MODELS.values())
    make(alice, "b")
    for place in (0, 1):
        chosen = {
            "maxTokens": (1, most_tokens)[place],
            **{name: widest(name)[place] for name in ("topK", "topP", "temperature")},
            "stopSequences": ([], ["\n\nHuman:", " ", "語"])[place],
            "reasoningParams": {"budgetTokens": (1024, most_tokens)[place]},
        }
        assert body(edit(alice, "b", generationParams=chosen))["generationParams"] == chosen
        assert read(alice, "b")["generationParams"] == chosen


# ---- Models ---------------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_a_model_is_known_in_every_spelling(alice: APIClient) -> None:
    make(alice, "b")
    for key in catalog.MODELS:
        for spelling in (wire_key(key), key.replace("-", "_").replace(".", "_")):
            answer = body(edit(alice, "b", activeModels={spelling: False}))["activeModels"]
            assert [name for name, active in answer.items() if not active] == [wire_key(key)]


def test_no_two_models_have_a_spelling_in_common() -> None:
    assert len(set(WIRE_KEYS.values())) == len(WIRE_KEYS)
    assert set(SPELLINGS.values()) == set(catalog.MODELS)
    for key, name in WIRE_KEYS.items():
        assert SPELLINGS[name] == key


def test_what_clients_read_of_models_can_be_sent_back_in_either_case(alice: APIClient) -> None:
    make(alice, "b", activeModels={"claudeV45Sonnet": False, "gptOss20b": False})
    for case in ("snake", "camel"):
        shown = body(alice.get("/bot/private/b", headers={"accept": f"application/json; case={case}"}))
        models = shown["active_models" if case == "snake" else "activeModels"]
        assert body(edit(alice, "b", activeModels=models))["version"] == 1


def test_a_bot_needs_a_model(untouched: None, alice: APIClient) -> None:
    none = dict.fromkeys(WIRE_KEYS.values(), False)
    refused(alice, "activeModels", none)
    refused(alice, "activeModels", {key.replace("-", "_").replace(".", "_"): False for key in catalog.MODELS})
    for value in (
        None,
        [],
        "x",
        {"claudeV45Sonnet": None},
        {"claudeV45Sonnet": "no"},
        {str(n): True for n in range(999)},
    ):
        refused(alice, "activeModels", value)


def test_one_model_is_enough(alice: APIClient) -> None:
    one = {**dict.fromkeys(WIRE_KEYS.values(), False), "gptOss20b": True}
    assert make(alice, "b", activeModels=one)["activeModels"] == one


# ---- Names ----------------------------------------------------------------------------------------------------------


def test_both_spellings_of_names_are_understood_down_to_the_bottom(alice: APIClient) -> None:
    sent = {
        "id": "b",
        "title": "t",
        "instruction": "i",
        "generation_params": {
            "max_tokens": 2000,
            "top_k": 100,
            "top_p": 0.9,
            "temperature": 0.5,
            "stop_sequences": ["STOP"],
            "reasoning_params": {"budget_tokens": 2048},
        },
        "agent": {"tools": [{"tool_type": "internet", "name": "n", "description": "", "search_engine": "duckduckgo"}]},
        "active_models": {"claude_v4_5_sonnet": False},
        "display_retrieved_chunks": True,
        "prompt_caching_enabled": False,
        "conversation_quick_starters": [],
        "unknown_field": {"x": 1},
    }
    made = body(alice.post("/bot", sent, format="json"))
    assert made["generationParams"] == PARAMETERS
    assert made["agent"]["tools"][0]["searchEngine"] == "duckduckgo"
    assert made["activeModels"]["claudeV45Sonnet"] is False
    assert (made["displayRetrievedChunks"], made["promptCachingEnabled"]) == (True, False)
    in_snake = body(alice.get("/bot/private/b", headers={"accept": "application/json; case=snake"}))
    assert in_snake["generation_params"] == sent["generation_params"]
    assert (
        body(edit(alice, "b", **{name: value for name, value in in_snake.items() if name != "knowledge"}))["version"]
        == 1
    )
