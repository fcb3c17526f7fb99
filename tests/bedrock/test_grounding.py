"""A question with sources is marked for a guardrail, whole and in order; without any it stays as it is."""

from typing import Any

from bedrock_chat.bedrock import grounding
from bedrock_chat.bedrock.shapes import ConverseMessage

IMAGE: Any = {"image": {"format": "png", "source": {"bytes": b"x"}}}


def asked(*texts: str, image: bool = False) -> ConverseMessage:
    return {"role": "user", "content": [*([IMAGE] if image else []), *({"text": text} for text in texts)]}


ANSWER: ConverseMessage = {"role": "assistant", "content": [{"text": "Yes."}]}
RESULTS: ConverseMessage = {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": []}}]}


def marked(message: ConverseMessage) -> list[Any]:
    return [
        (block["guardContent"]["text"]["text"], block["guardContent"]["text"]["qualifiers"])
        if "guardContent" in block
        else block
        for block in message["content"]
    ]


def test_the_last_question_is_marked_and_neither_earlier_ones_nor_results() -> None:
    messages = [asked("first"), ANSWER, asked("a" * 600, "b" * 600, image=True), ANSWER, RESULTS]
    changed = grounding.with_sources(messages, ["1\nsource", "  ", "2\nother"])
    assert changed[:2] + changed[3:] == messages[:2] + messages[3:]
    assert marked(changed[2]) == [
        ("1\nsource", ["grounding_source"]),
        ("2\nother", ["grounding_source"]),
        IMAGE,
        ("a" * 600, ["query", "guard_content"]),
        ("b" * 400, ["query", "guard_content"]),
        ("b" * 200, ["guard_content"]),
    ]


def test_without_sources_or_a_question_nothing_changes() -> None:
    assert grounding.with_sources([asked("first")], ["", " "]) == [asked("first")]
    assert grounding.with_sources([RESULTS], ["source"]) == [RESULTS]
