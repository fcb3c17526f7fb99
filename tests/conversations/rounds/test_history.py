"""Whatever is stored of rounds, what goes to a model is what Bedrock takes."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_chat.bedrock import catalog
from conversations.content import rounds
from conversations.content.rounds import NOT_KNOWN
from conversations.turn import round_history
from conversations.turn.round_history import Exchange, Reader

CLAUDE = catalog.find("claude-v3.7-sonnet")
LLAMA = catalog.find("llama3-3-70b-instruct")
IDS: st.SearchStrategy[Any] = st.sampled_from(["t1", "t2", "t3", "tooluse_4", "", "with space", "x" * 65, []])
TEXTS = st.sampled_from(["", " \n", "text", "Error", "ü" * 20])
JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.sampled_from([-3, 0, 3, 10**40]) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=4,
)
PART = st.one_of(
    st.builds(lambda text: {"text": text}, TEXTS),
    st.just({"json": {"a": 1}}),
    st.just({"json": {"a": 10**40}}),
    st.just({"kind": "image", "format": "png", "blob": "there"}),
    st.just({"kind": "document", "format": "pdf", "name": "n", "blob": "there"}),
    st.just({"kind": "text", "blob": "there", "length": 20_000}),
    st.just({"kind": "json", "blob": "lost", "length": 20_000}),
    JUNK,
)
BLOCK = st.one_of(
    st.builds(lambda text: {"contentType": "text", "body": text}, TEXTS),
    st.builds(
        lambda id_, name: {"contentType": "toolUse", "body": {"toolUseId": id_, "name": name, "input": {}}},
        IDS,
        st.sampled_from(["search", "not legal", ""]),
    ),
    st.just({"contentType": "reasoning", "text": "Hm.", "signature": "c2ln", "redactedContent": ""}),
    st.just({"contentType": "reasoning", "text": "", "signature": "", "redactedContent": "not base64!"}),
    JUNK,
)
CALL = st.one_of(
    st.builds(
        lambda id_, status, content: {"toolUseId": id_, "status": status, "content": content},
        IDS,
        st.sampled_from(["running", "success", "error", "odd"]),
        st.lists(PART, max_size=3) | JUNK,
    ),
    JUNK,
)
ROUND = st.one_of(
    st.builds(
        lambda model, blocks, calls: {"model": model, "thinks": True, "blocks": blocks, "calls": calls},
        st.sampled_from([CLAUDE.key, LLAMA.key]),
        st.lists(BLOCK, max_size=5) | JUNK,
        st.lists(CALL, max_size=4) | JUNK,
    ),
    JUNK,
)
LOG = st.lists(
    st.one_of(
        st.builds(
            lambda role, content: {"role": role, "content": content},
            st.sampled_from(["user", "assistant", "system"]),
            st.lists(BLOCK | st.builds(lambda body: {"contentType": "toolResult", "body": body}, CALL), max_size=4),
        ),
        JUNK,
    ),
    max_size=6,
)


def read(sha256: str) -> bytes | None:
    return b"a text" if sha256 == "there" else None


def check(messages: list[Any], model: catalog.Model) -> None:
    """Bedrock's rules for tool traffic."""
    roles = [message["role"] for message in messages]
    assert roles == ["assistant", "user"] * (len(roles) // 2)
    seen: list[str] = []
    for answer, results in zip(messages[::2], messages[1::2], strict=True):
        uses = [block["toolUse"]["toolUseId"] for block in answer["content"] if "toolUse" in block]
        assert uses, "a round without a tool use"
        assert all(block["text"].strip() for block in answer["content"] if "text" in block)
        assert all(set(block) == {"toolResult"} for block in results["content"])
        assert [block["toolResult"]["toolUseId"] for block in results["content"]] == uses
        seen += uses
        for block in results["content"]:
            result = block["toolResult"]
            assert result["content"]
            assert all(part["text"].strip() for part in result["content"] if "text" in part)
            assert ("status" in result) == (model is CLAUDE)
        assert all(round_history.is_legal_id(use) for use in uses)
    assert len(seen) == len(set(seen)), "an id twice"


@pytest.mark.parametrize("model", [CLAUDE, LLAMA], ids=lambda model: str(model.key))
@given(stored=st.lists(ROUND, max_size=4) | JUNK, log=LOG | JUNK, most=st.none() | st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_no_use_goes_without_its_result(stored: Any, log: Any, most: int | None, model: catalog.Model) -> None:
    reader = Reader(model, read)
    earlier = round_history.newest([round_history.of_log(log, has_reasoning=True)], 200)
    exchanges = [*earlier[0], *round_history.of_rounds(stored, model)]
    check(round_history.messages(exchanges, reader, most), model)
    # What is shown of the same rows has a shape that can be walked.
    json.dumps(rounds.log_of(rounds.readable(stored), model.key))
    list(rounds.shas_of(rounds.readable_log(log)))


def exchange(*results: str) -> Exchange:
    blocks = [
        {"contentType": "toolUse", "body": {"toolUseId": f"t{n}", "name": "search", "input": {}}}
        for n in range(len(results))
    ]
    calls = {f"t{n}": {"status": "success", "content": [{"text": text}]} for n, text in enumerate(results)}
    return Exchange(blocks, calls, has_reasoning=True)


def test_a_call_that_still_runs_is_one_of_which_nothing_is_known() -> None:
    stored = {"t0": {"status": "running", "content": []}}
    one = Exchange(exchange("x").blocks, stored, has_reasoning=True)
    [_, results] = round_history.messages([one], Reader(CLAUDE, read))
    assert results["content"] == [
        {"toolResult": {"toolUseId": "t0", "content": [{"text": NOT_KNOWN}], "status": "error"}}
    ]


def test_an_error_is_marked_in_its_text_for_models_that_read_no_status() -> None:
    one = Exchange(exchange("x").blocks, {"t0": {"status": "error", "content": [{"text": "No."}]}}, has_reasoning=True)
    [_, results] = round_history.messages([one], Reader(LLAMA, read))
    assert results["content"] == [{"toolResult": {"toolUseId": "t0", "content": [{"text": "Error: No."}]}}]


def test_what_a_model_cannot_see_is_named() -> None:
    blind = next(model for model in catalog.MODELS.values() if model.images is False and model.tools)
    part = {"kind": "image", "format": "png", "blob": "there"}
    one = Exchange(exchange("x").blocks, {"t0": {"status": "success", "content": [part]}}, has_reasoning=True)
    [_, results] = round_history.messages([one], Reader(blind, read))
    text = results["content"][0]["toolResult"]["content"][0]["text"]
    assert text == "(1 image/png that this model cannot see)"


@pytest.mark.parametrize(
    ("part", "size", "sentence"),
    [
        ({"kind": "document", "format": "pdf"}, 6_000_000, "(1 document that is too large for this model)"),
        ({"kind": "image", "format": "png"}, 4_000_000, "(1 image that is too large for this model)"),
        ({"kind": "document", "format": "exe"}, 10, "(1 document of the format exe that this model cannot read)"),
    ],
)
def test_a_file_that_would_fail_the_whole_request_is_named(part: dict[str, str], size: int, sentence: str) -> None:
    stored = {"t0": {"status": "success", "content": [{**part, "blob": "there"}]}}
    one = Exchange(exchange("x").blocks, stored, has_reasoning=True)
    [_, results] = round_history.messages([one], Reader(CLAUDE, lambda sha256: b"x" * size))
    assert results["content"][0]["toolResult"]["content"] == [{"text": sentence}]


def test_redacted_reasoning_goes_back_as_it_came() -> None:
    block = {
        "contentType": "reasoning",
        "text": "",
        "signature": "",
        "redactedContent": base64.b64encode(b"secret").decode(),
    }
    one = Exchange([block, *exchange("x").blocks], exchange("x").results, has_reasoning=True)
    [answer, _] = round_history.messages([one], Reader(CLAUDE, read))
    assert answer["content"][0] == {"reasoningContent": {"redactedContent": b"secret"}}


def test_the_oldest_results_give_way_when_they_are_too_long_together() -> None:
    rounds_of_turn = [
        Exchange(
            [{"contentType": "toolUse", "body": {"toolUseId": f"t{n}", "name": "search", "input": {}}}],
            {f"t{n}": {"status": "success", "content": [{"text": str(n) * 100}]}},
            has_reasoning=True,
        )
        for n in range(3)
    ]
    messages = round_history.messages(rounds_of_turn, Reader(CLAUDE, read), 250)
    texts = [message["content"][0]["toolResult"]["content"][0]["text"] for message in messages[1::2]]
    assert texts == ["(100 characters left out)", "1" * 100, "2" * 100]


def test_earlier_rounds_are_cut_to_three_quarters_and_then_stay_for_a_while() -> None:
    long = [[exchange("x" * 1_000)] for _ in range(40)]
    size = round_history.length_of(long[0][0])
    begins = [
        next(index for index, kept in enumerate(round_history.newest(long[:count], 10 * size)) if kept)
        for count in range(1, 40)
    ]
    assert begins[9] == 0
    assert begins[10] == 4
    assert len(set(begins)) < 15, "the beginning changes now and then"
    kept = round_history.newest(long, 10 * size)
    assert sum(map(len, kept)) <= 10
