"""What a bot's settings ask for and does not happen: told in a sentence to who edits, opens or chats with it."""

from typing import Any

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from bedrock_chat.bedrock import catalog
from bots import warnings
from bots.configuration import DEFAULT_GENERATION_PARAMS, WIRE_KEYS, Configuration, GenerationParams
from bots.content import Content
from tests.bots import upload
from tests.bots.bot import KNOWLEDGE, PARAMETERS, body, edit, firecrawl, make, read, share
from tests.bots.test_parts import BASE, GUARDRAILS

pytestmark = pytest.mark.both

CLAUDE, GPT, NOVA = "claude-v3.7-sonnet", "gpt-oss-20b", "amazon-nova-lite"


def configured(**parameters: Any) -> Configuration:
    """A configuration whose generation parameters are the usual ones but for these."""
    chosen: GenerationParams = {**DEFAULT_GENERATION_PARAMS, **parameters}  # type: ignore[typeddict-item]
    return {**Content().configuration, "generation_params": chosen}


def of_turn(key: str, *, thinks: bool = False, **parameters: Any) -> list[str]:
    """The parameters that a turn is warned of."""
    sentences = warnings.of_turn(configured(**parameters), catalog.find(key), thinks=thinks)
    return [sentence.partition(" ")[0] for sentence in sentences]


def test_nobody_is_told_of_what_clients_send_unasked() -> None:
    for model in catalog.MODELS.values():
        for thinks in (False, model.reasoning.fields is not None):
            assert warnings.of_turn(Content().configuration, model, thinks=thinks) == []
            assert warnings.of_turn(configured(), model, thinks=thinks) == []


def test_what_one_model_refuses_is_told_of_that_model() -> None:
    assert of_turn(NOVA, top_k=200) == ["topK"]
    assert of_turn(NOVA, top_k=100) == []
    assert of_turn(CLAUDE, top_k=200) == []
    assert of_turn(GPT, stop_sequences=["STOP"]) == ["stopSequences"]
    assert of_turn(CLAUDE, temperature=0.5) == []
    assert of_turn(CLAUDE, thinks=True, temperature=0.5) == ["temperature"]
    sentences = warnings.of_turn(configured(top_k=200), catalog.find(NOVA), thinks=False)
    assert sentences == ["topK is not sent as chosen: Nova Lite does not take it."]


def test_of_two_parameters_that_exclude_each_other_the_one_that_is_left_out_is_told() -> None:
    (key, *_) = [key for key, model in catalog.MODELS.items() if "temperature-or-topP" in model.restrictions]
    assert of_turn(key, top_p=0.5, temperature=0.5) == ["topP"]
    assert of_turn(key, temperature=0.5) == []


@pytest.mark.django_db
def test_a_bot_tells_of_every_model_that_may_be_chosen_for_it(alice: APIClient, settings: LazySettings) -> None:
    made = make(alice, "b", generationParams={**PARAMETERS, "topK": 200})
    (sentence,) = [warning for warning in made["warnings"] if warning.startswith("topK ")]
    assert "more models" in sentence
    only = {**dict.fromkeys(WIRE_KEYS.values(), False), "amazonNovaLite": True, "claudeV37Sonnet": True}
    answer = body(edit(alice, "b", activeModels=only))
    assert answer["warnings"] == ["topK is not sent as chosen to Nova Lite."]
    assert read(alice, "b")["warnings"] == answer["warnings"]
    assert body(alice.get("/bot/b/versions/2"))["warnings"] == answer["warnings"]
    settings.GLOBAL_AVAILABLE_MODELS = [CLAUDE]
    assert read(alice, "b")["warnings"] == []


@pytest.mark.django_db
def test_what_does_not_work_yet_is_told_to_who_chats(alice: APIClient, bob: APIClient) -> None:
    parts: list[tuple[dict[str, Any], str]] = [
        (
            {
                "knowledge": {**KNOWLEDGE, "sourceUrls": ["https://example.com/"]},
                "bedrockKnowledgeBase": {**BASE, "existKnowledgeBaseId": "KB1"},
            },
            warnings.BESIDE_A_BASE,
        ),
        ({"bedrockGuardrails": GUARDRAILS}, warnings.NO_THRESHOLDS),
    ]
    for number, (fields, sentence) in enumerate(parts):
        assert make(alice, f"b{number}", **fields)["warnings"] == [sentence]
        share(alice, f"b{number}", "all")
        assert body(bob.get(f"/bot/summary/b{number}"))["warnings"] == [sentence]
    guarded = {"bedrockGuardrails": {**GUARDRAILS, "hateThreshold": 1}}
    assert make(alice, "guarded", **guarded)["warnings"] == []
    searching = {"bedrockKnowledgeBase": {**BASE, "existKnowledgeBaseId": "KB1"}}
    assert make(alice, "searching", **searching)["warnings"] == []
    able = {**dict.fromkeys(WIRE_KEYS.values(), False), "claudeV37Sonnet": True}
    assert make(alice, "able", agent=firecrawl("fc-key"), activeModels=able)["warnings"] == []
    (sentence,) = make(alice, "unable", agent=firecrawl("fc-key"))["warnings"]
    assert sentence.startswith("The bot's tools cannot be used by ")
    disabled = {"bedrockGuardrails": {**GUARDRAILS, "isGuardrailEnabled": False}}
    assert make(alice, "disabled", **disabled)["warnings"] == []


@pytest.mark.django_db
def test_an_instruction_that_no_model_can_hold_is_told(alice: APIClient) -> None:
    made = make(alice, "b", instruction="You are verbose. " * 56_000)
    assert made["warnings"][0].startswith("The instruction alone is too long for ")
    assert make(alice, "c", instruction="You are brief.")["warnings"] == []


@pytest.mark.django_db
def test_a_type_of_file_that_is_kept_and_not_read_is_told_when_it_is_saved(alice: APIClient, bob: APIClient) -> None:
    sentence = "Files of the type doc are not read; save them as DOCX."
    for name in ("secret plan.doc", "old.DOC", "a.txt"):
        upload.upload(alice, "b", name, b"x")
    made = make(alice, "b", knowledge=upload.sources("secret plan.doc", "old.DOC", "a.txt"))
    assert made["warnings"].count(sentence) == 1
    share(alice, "b", "all")
    summary = body(bob.get("/bot/summary/b"))
    assert sentence in summary["warnings"]
    assert "secret plan" not in str(summary["warnings"])  # whom a bot is shared with is told no names of files
    edit(alice, "b", bedrockKnowledgeBase={**BASE, "existKnowledgeBaseId": "KB12345678"})
    assert sentence not in read(alice, "b")["warnings"]  # none of its files is read then, which is another warning
    edit(alice, "b", bedrockKnowledgeBase={**BASE, "existKnowledgeBaseId": None})
    assert sentence in read(alice, "b")["warnings"]
    edit(alice, "b", knowledge=upload.change(unchanged=["a.txt"]))
    assert sentence not in read(alice, "b")["warnings"]
