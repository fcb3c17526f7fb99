"""Texts become vectors: few calls at once, faults and interruptions keep what was paid for, nothing is cut unseen."""

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from bedrock_chat.bedrock import clients, embedding_models, embeddings, faults, retrying
from bedrock_chat.bedrock.embedding_places import NoPlace, Places
from bedrock_chat.bedrock.embeddings import PLACES, Embedded
from bedrock_chat.bedrock.overrides import last_faults
from bedrock_chat.process.interruption import Interrupted, Interruption
from tests.emulator import Emulator
from tests.together import wait_for

TITAN, COHERE = "titan_v2", "cohere_multilingual_v3"


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(retrying, "FIRST_WAIT", 0.02)
    PLACES.forget()
    yield
    PLACES.forget()


def embed(key: str, texts: Sequence[str], *, seconds: float = 10, switch: Interruption | None = None) -> Embedded:
    deadline = time.monotonic() + seconds
    model = embeddings.model(key)
    return embeddings.embed_documents(model, texts, interruption=switch or Interruption(), deadline=deadline)


def has_vector(embedded: Embedded) -> list[bool]:
    return [vector is not None for vector in embedded.vectors]


def bodies(emulator: Emulator) -> list[Any]:
    return [entry["body"] for entry in emulator.requests()]


def test_titan_takes_a_text_a_call_and_says_what_it_counted(emulator: Emulator) -> None:
    texts = ["Invoices are paid in March.", " \n", *(f"Passage {number}" for number in range(20))]
    embedded = embed(TITAN, texts)
    assert has_vector(embedded) == [True, False, *[True] * 20]
    assert embedded.vectors[5] == embed(TITAN, texts[5:6]).vectors[0]
    assert (embedded.calls, embedded.is_whole, embedded.estimated, embedded.too_long) == (21, True, False, frozenset())
    assert embedded.input_tokens == sum(len(text) // 4 + 1 for text in texts if text.strip())
    assert bodies(emulator)[-1] == {"inputText": "Passage 3", "dimensions": 1024, "normalize": True}
    assert emulator.embedded()["calls"] == 22


def test_cohere_takes_96_texts_a_call_and_is_told_what_they_are_for(emulator: Emulator) -> None:
    embedded = embed(COHERE, [f"Passage {number}" for number in range(96)])
    assert (all(has_vector(embedded)), embedded.calls, embedded.estimated) == (True, 1, False)
    assert embedded.input_tokens == emulator.embedded()["tokens"]
    query = embeddings.embed_query(
        embeddings.model(COHERE), "休暇は？" * 1000, interruption=Interruption(), deadline=time.monotonic() + 10
    )
    assert has_vector(query) == [True]
    requests = [(body["input_type"], body["truncate"], len(body["texts"])) for body in bodies(emulator)]
    assert requests == [("search_document", "NONE", 96), ("search_query", "END", 1)]
    with pytest.raises(ValueError, match="97 texts"):
        embed(COHERE, ["a"] * 97)


def test_without_a_count_tokens_are_estimated_and_marked(emulator: Emulator) -> None:
    vector = [0.5] * 1024
    emulator.embeddings(troubles=[{"answer": {"embeddings": {"float": [vector, vector]}}, "model": "cohere"}])
    embedded = embed(COHERE, ["four letters", "休暇"])
    assert embedded.vectors == (vector, vector)
    assert (embedded.input_tokens, embedded.estimated, embedded.calls) == (5, True, 1)


@pytest.mark.parametrize("key", [TITAN, COHERE])
def test_texts_that_the_model_calls_too_long_are_told_and_the_others_have_vectors(emulator: Emulator, key: str) -> None:
    emulator.embeddings(most_tokens=10)
    texts = ["short"] * 40
    texts[3], texts[29] = "far too long " * 10, "also too long " * 10
    texts[7] = "x" * (embeddings.model(key).most_characters + 1)
    embedded = embed(key, texts)
    assert embedded.too_long == {3, 7, 29}
    assert [number for number, known in enumerate(has_vector(embedded)) if not known] == [3, 7, 29]
    assert embedded.is_whole
    assert embedded.input_tokens == emulator.embedded()["tokens"]


@pytest.mark.parametrize(
    "sentence",
    [
        "Malformed input request: #/texts/1: expected maxLength: 2048, actual: 2449#/texts/2: expected maxLength: "
        "2048, actual: 2227, please reformat your input and try again.",
        "Malformed input request: expected maxLength: 50000, actual: 52611, please reformat your input and try again.",
        "400 Bad Request: Too many input tokens. Max input tokens: 8192, request input token count: 9875 ",
        "Input is too long for requested model.",
        "too many tokens: total number of tokens in text cannot exceed 512 - received 634",
        "invalid request: text at index 3 is longer than the maximum of 512 tokens",
        "The input exceeds the maximum input token length.",
    ],
)
@pytest.mark.parametrize("key", [TITAN, COHERE])
def test_every_wording_of_too_long_halves_the_texts_until_the_long_one_is_known(
    emulator: Emulator, key: str, sentence: str
) -> None:
    emulator.embeddings(most_tokens=10, too_long=sentence)
    embedded = embed(key, ["short", "short", "far too long " * 10, "short"])
    assert (embedded.is_whole, embedded.too_long) == (True, {2})
    assert has_vector(embedded) == [True, True, False, True]


def test_another_refusal_of_the_request_is_a_fault(emulator: Emulator) -> None:
    emulator.embeddings(most_tokens=1, too_long="Malformed input request: #: extraneous key [text] is not permitted.")
    embedded = embed(COHERE, ["a text of several tokens"])
    assert isinstance(embedded.fault, faults.Invalid)
    assert embedded.too_long == frozenset()


def test_a_throttled_call_is_made_again_and_the_others_wait_for_it(emulator: Emulator) -> None:
    emulator.embeddings(troubles=[{"fault": "ThrottlingException", "times": 3}])
    embedded = embed(TITAN, [f"Passage {number}" for number in range(12)])
    assert (all(has_vector(embedded)), embedded.calls, embedded.is_whole) == (True, 12, True)
    place = PLACES.one(Interruption(), until=0, deadline=0, is_urgent=True)
    with (
        place,
        pytest.raises(NoPlace, match="Throttling"),
        PLACES.one(Interruption(), until=0, deadline=0, is_urgent=True),
    ):
        raise AssertionError


@pytest.mark.parametrize(("most", "texts"), [(8, 12), (1, 2)])
def test_a_process_makes_eight_calls_at_once_and_one_after_a_throttle(
    emulator: Emulator, most: int, texts: int
) -> None:
    if most == 1:
        PLACES.throttled(faults.Throttled())
    emulator.embeddings(wait=0.2)
    batches = [[f"Passage {number} of {batch}" for number in range(texts)] for batch in "ab"]
    threads = [threading.Thread(target=embed, args=(TITAN, batch), daemon=True) for batch in batches]
    for thread in threads:
        thread.start()
    running = []
    while any(thread.is_alive() for thread in threads):
        running.append(sum(entry["outcome"] == "running" for entry in emulator.requests()))
    assert max(running) == most
    assert emulator.embedded()["calls"] == 2 * texts


def test_a_fault_keeps_what_was_answered_before(emulator: Emulator, settings: Any) -> None:
    settings.MODEL_RETRY_SECONDS = 0
    for code, kind in (("ThrottlingException", faults.Throttled), ("AccessDeniedException", faults.AccessDenied)):
        PLACES.forget()
        emulator.reset()
        emulator.embeddings(troubles=[{"fault": code, "text": "Passage 2", "wait": 0.6, "retry_after": 30}])
        embedded = embed(TITAN, [f"Passage {number}" for number in range(4)])
        assert has_vector(embedded) == [True, True, False, True]
        assert isinstance(embedded.fault, kind)
        assert (embedded.calls, embedded.input_tokens, embedded.estimated) == (4, 9, False)
        assert not embedded.interrupted
    PLACES.forget()
    emulator.embeddings(troubles=[{"fault": "ThrottlingException", "retry_after": 30}])
    assert isinstance(embed(COHERE, ["a"]).fault, faults.Throttled)
    last_faults.forget()
    refused = embed(COHERE, ["b"])  # Bedrock is not asked before
    assert (isinstance(refused.fault, faults.Throttled), refused.calls) == (True, 0)
    assert last_faults._waiting == {}


def test_an_interruption_ends_the_calls_at_once_and_keeps_what_was_paid(emulator: Emulator) -> None:
    emulator.embeddings(troubles=[{"silence": True, "text": "Passage 2"}])
    switch = Interruption()

    def interrupt() -> None:
        wait_for(lambda: emulator.embedded()["calls"] == 4)
        switch.request()

    threading.Thread(target=interrupt, daemon=True).start()
    embedded = embed(TITAN, [f"Passage {number}" for number in range(4)], seconds=60, switch=switch)
    assert has_vector(embedded) == [True, True, False, True]
    assert (embedded.interrupted, embedded.fault) == (True, None)
    assert (embedded.calls, embedded.input_tokens, embedded.estimated) == (4, 12, True)
    assert embed(TITAN, ["later"], switch=switch).calls == 0


def test_what_is_not_there_at_the_deadline_has_timed_out(emulator: Emulator) -> None:
    assert embed(COHERE, ["zero"]).is_whole  # the connection is open
    emulator.embeddings(troubles=[{"silence": True, "times": 2}])
    embedded = embed(COHERE, ["one"], seconds=1)
    assert isinstance(embedded.fault, faults.TimedOut)
    assert (embedded.calls, embedded.estimated, embedded.interrupted) == (1, True, False)
    assert isinstance(embed(TITAN, ["one"], seconds=-1).fault, faults.TimedOut)


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {"embedding": None},
        {"embedding": [1.0] * 1023},
        {"embedding": ["1"] * 1024},
        {"embedding": [0.0] * 1024},
        {"embedding": [1e308] * 1024},
        {"embedding": [True] * 1024},
    ],
)
def test_an_answer_without_a_vector_of_the_right_size_is_a_fault(emulator: Emulator, answer: Any) -> None:
    emulator.embeddings(troubles=[{"answer": answer}])
    embedded = embed(TITAN, ["one"])
    assert isinstance(embedded.fault, faults.Unreadable)
    assert (embedded.vectors, embedded.calls, embedded.estimated) == ((None,), 1, True)


def test_where_nobody_answers_nothing_was_called(emulator: Emulator, settings: Any) -> None:
    emulator.embeddings(troubles=[{"cut": True}])
    cut = embed(COHERE, ["one"])
    assert (type(cut.fault), cut.calls, cut.estimated) == (faults.ConnectionCut, 1, True)
    clients.reset()
    settings.BEDROCK_ENDPOINT_URL = "http://127.0.0.1:9"
    embedded = embed(TITAN, ["one", "two"])
    clients.reset()
    assert isinstance(embedded.fault, faults.Unreachable)
    assert (embedded.calls, embedded.input_tokens) == (0, 0)


def test_at_most_so_many_have_a_place_and_questions_go_first() -> None:
    places = Places(2, 30)
    far = time.monotonic() + 30
    order: list[str] = []

    def call(name: str, *, is_urgent: bool) -> threading.Thread:
        def run() -> None:
            with places.one(Interruption(), until=far, deadline=far, is_urgent=is_urgent):
                order.append(name)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    with places.one(Interruption(), until=far, deadline=far, is_urgent=False):
        with places.one(Interruption(), until=far, deadline=far, is_urgent=False):
            with (
                pytest.raises(NoPlace, match="TotalTimeout"),
                places.one(Interruption(), until=far, deadline=0, is_urgent=True),
            ):
                raise AssertionError
            document = call("document", is_urgent=False)
            question = call("question", is_urgent=True)
            wait_for(lambda: places._urgent == 1)
            switch = Interruption()
            threading.Timer(0.05, switch.request).start()
            with pytest.raises(Interrupted), places.one(switch, until=far, deadline=far, is_urgent=False):
                raise AssertionError
            places.throttled(faults.Throttled())
        assert order == []  # one place is open now, and it is taken
    question.join(5)
    document.join(5)
    assert order == ["question", "document"]


def test_every_embedding_model_has_limits_prices_and_sources() -> None:
    assert set(embedding_models.MODELS) == {TITAN, COHERE}
    for key, model in embedding_models.MODELS.items():
        assert embeddings.model(key).region == "us-east-1"
        assert model.price_sources
        assert model.list_price.input is not None
        assert model.dimensions == 1024
    per_million = [float(embedding_models.find(key).list_price.input or 0) * 1000 for key in (TITAN, COHERE)]
    assert per_million == [pytest.approx(0.02), pytest.approx(0.10)]
    with pytest.raises(embedding_models.UnknownEmbeddingModel):
        embeddings.model("titan_v1")
