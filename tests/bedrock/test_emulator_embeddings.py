"""The emulator makes vectors of texts as Bedrock's two models do, and refuses what they refuse."""

import json
from itertools import combinations
from typing import Any

import botocore.exceptions
import numpy as np
import pytest

from bedrock_chat.bedrock.emulator import concepts, embeddings
from tests.bedrock.boto import SONNET, boto
from tests.emulator import Emulator

TITAN, COHERE = "amazon.titan-embed-text-v2:0", "cohere.embed-multilingual-v3"


def invoke(emulator: Emulator, model: str, **body: Any) -> tuple[Any, dict[str, str]]:
    response = boto(emulator).invoke_model(modelId=model, body=json.dumps(body))
    return json.loads(response["body"].read()), response["ResponseMetadata"]["HTTPHeaders"]


def refusal(emulator: Emulator, model: str, **body: Any) -> str:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        invoke(emulator, model, **body)
    error = caught.value.response["Error"]
    return f"{error['Code']}: {error['Message']}"


def cohere(*texts: str, **fields: Any) -> dict[str, Any]:
    return {"texts": list(texts), "input_type": "search_document", **fields}


def test_both_models_answer_in_their_own_shape(emulator: Emulator) -> None:
    answer, headers = invoke(emulator, TITAN, inputText="Hello there", dimensions=256, normalize=True)
    assert (len(answer["embedding"]), answer["inputTextTokenCount"]) == (256, 3)
    assert answer["embeddingsByType"]["float"] == answer["embedding"]
    assert sum(value * value for value in answer["embedding"]) == pytest.approx(1)
    assert headers["x-amzn-bedrock-input-token-count"] == "3"
    answer, headers = invoke(emulator, COHERE, **cohere("one", "two two"))
    assert (answer["response_type"], answer["texts"]) == ("embeddings_floats", ["one", "two two"])
    assert [len(vector) for vector in answer["embeddings"]] == [1024, 1024]
    assert headers["x-amzn-bedrock-input-token-count"] == "3"
    by_type, _ = invoke(emulator, COHERE, **cohere("one", "two two", embedding_types=["float"]))
    assert by_type["response_type"] == "embeddings_by_type"
    assert by_type["embeddings"] == {"float": answer["embeddings"]}
    assert emulator.embedded() == {"calls": 3, "texts": 5, "tokens": 9, "distinct": 3}
    assert [(entry["operation"], entry["status"]) for entry in emulator.requests()] == [("InvokeModel", 200)] * 3


@pytest.mark.parametrize(
    ("model", "body", "words"),
    [
        (TITAN, {"inputText": ""}, "#/inputText: expected minLength: 1, actual: 0"),
        (TITAN, {"inputText": "a" * 50_001}, "#/inputText: expected maxLength: 50000, actual: 50001"),
        (TITAN, {"inputText": "a" * 4 * 8_193}, "Max input tokens: 8192, request input token count: 8193"),
        (TITAN, {"inputText": "a", "dimensions": 1000}, "#/dimensions: 1000 is not a valid enum value"),
        (TITAN, {"texts": ["a"]}, "extraneous key [texts]"),
        (COHERE, cohere(), "#/texts: expected minimum item count: 1"),
        (COHERE, cohere(""), "#/texts/0: expected minLength: 1, actual: 0"),
        (COHERE, cohere(*["a"] * 97), "#/texts: expected maximum item count: 96, found: 97"),
        (COHERE, cohere("a", "b" * 2_049), "#/texts/1: expected maxLength: 2048, actual: 2049"),
        (COHERE, cohere("休" * 800), "Input is too long for requested model."),
        (COHERE, {"texts": ["a"]}, "#/input_type"),
        (COHERE, cohere("a", truncate="BOTH"), "#/truncate"),
        ("amazon.titan-embed-text-v9:0", {"inputText": "a"}, "The provided model identifier is invalid."),
        (SONNET, {"messages": []}, "This model is called with Converse here."),
    ],
)
def test_what_bedrock_refuses_is_refused_in_its_words(
    emulator: Emulator, model: str, body: dict[str, Any], words: str
) -> None:
    sentence = refusal(emulator, model, **body)
    assert sentence.startswith("ValidationException: ")
    assert words in sentence
    assert emulator.embedded()["calls"] == 0


def test_the_limits_themselves_are_taken(emulator: Emulator) -> None:
    invoke(emulator, TITAN, inputText="a" * 4 * 8_192)
    invoke(emulator, COHERE, **cohere(*["a" * 2_048] * 96))
    invoke(emulator, COHERE, **cohere("休" * 800, truncate="END"))
    assert emulator.embedded()["calls"] == 3


def test_calls_fare_as_they_were_scripted(emulator: Emulator) -> None:
    throttle = {"fault": "ThrottlingException", "times": 2, "retry_after": 7, "model": "cohere"}
    emulator.embeddings(troubles=[throttle, {"answer": {"embedding": []}, "text": "odd"}], most_tokens=2)
    invoke(emulator, TITAN, inputText="even")
    assert invoke(emulator, TITAN, inputText="odd")[0] == {"embedding": []}
    assert "embeddingsByType" in invoke(emulator, TITAN, inputText="odd")[0]
    for _ in range(2):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            invoke(emulator, COHERE, **cohere("a"))
        assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "7"
    invoke(emulator, COHERE, **cohere("a"))
    assert "Max input tokens: 2, request input token count: 3" in refusal(emulator, TITAN, inputText="a" * 9)
    emulator.embeddings(troubles=[{"cut": True}])
    with pytest.raises(botocore.exceptions.HTTPClientError):
        invoke(emulator, TITAN, inputText="even")


def likeness(first: str, second: str) -> float:
    return float(np.dot(embeddings.vector_of(first, 1024), embeddings.vector_of(second, 1024)))


def test_what_means_the_same_is_nearer_than_what_does_not() -> None:
    leave = "Employees are granted 25 days of annual leave per year."
    toner = "The printer on the second floor needs toner."
    for question in ("How many vacation days do I get?", "Wie viel Urlaub habe ich?", "有給休暇は何日ありますか。"):
        assert likeness(question, leave) > likeness(question, toner) + 0.2
    assert likeness("holiday", "有給休暇の申請は上司に提出してください。") > 0.3
    assert likeness(leave, leave) == pytest.approx(1)


def test_vectors_are_dense_and_unlike_texts_share_half_of_their_signs() -> None:
    texts = ("Invoices are paid in March.", "Der Hund schläft.", "天気がいいです。", "x1", "   ")
    vectors = [np.array(embeddings.vector_of(text, 1024)) for text in texts]
    assert all(np.count_nonzero(vector) > 1000 for vector in vectors)
    for first, second in combinations(vectors, 2):
        assert 400 < np.count_nonzero((first > 0) == (second > 0)) < 620


def test_the_table_of_synonyms_is_small_and_names_each_term_once_a_group() -> None:
    assert concepts.GROUPS <= 150
    assert concepts.of_word("urlaub") == concepts.of_word("vacations") == next(concepts.of_japanese("年次休暇"))
    assert list(concepts.of_phrases(["my", "annual", "leave"])) == [concepts.of_word("holiday")]
    assert concepts.of_word("zebra") is None
