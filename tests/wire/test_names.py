"""camelCase outside, snake_case inside, and data left alone."""

import pytest

from bedrock_chat.wire import names
from bedrock_chat.wire.names import camel, snake, to_snake


@pytest.mark.parametrize(
    ("outside", "inside"),
    [
        ("botId", "bot_id"),
        ("conversationId", "conversation_id"),
        ("title", "title"),
        ("awsS3Bucket", "aws_s3_bucket"),
        ("bedrockKnowledgeBase", "bedrock_knowledge_base"),
        ("llama3370bInstruct", "llama3370b_instruct"),
        ("claudeV45Sonnet", "claude_v45_sonnet"),
        ("toolUseID", "tool_use_iD"),
    ],
)
def test_a_name_of_the_wire_survives_the_way_in_and_out(outside: str, inside: str) -> None:
    assert snake(outside) == inside
    assert camel(inside) == outside


@pytest.mark.parametrize("name", ["__x", "_private", "X", "URL", "Id", "9lives", "", "a__b", "trailing_", "-", "ключ"])
def test_unusual_keys_stay_as_they_are(name: str) -> None:
    assert (snake(name), camel(name)) == (name, name)


def test_a_digit_after_an_underscore_joins_the_name() -> None:
    assert camel("claude_v4_5_sonnet") == "claudeV45Sonnet"


def test_requests_may_use_either_spelling_at_any_depth() -> None:
    camel_case = {"conversationId": "c", "message": {"parentMessageId": None, "content": [{"contentType": "text"}]}}
    snake_case = {"conversation_id": "c", "message": {"parent_message_id": None, "content": [{"content_type": "text"}]}}
    assert to_snake(camel_case) == snake_case
    assert to_snake(snake_case) == snake_case


@pytest.mark.parametrize("body", [{"botId": "camel", "bot_id": "snake"}, {"bot_id": "snake", "botId": "camel"}])
def test_camel_case_wins_where_both_spellings_are_given(body: dict[str, str]) -> None:
    assert to_snake(body) == {"bot_id": "camel"}


def test_message_ids_stay_while_their_messages_are_renamed() -> None:
    spelled = {"messageMap": {"myId": {"usedChunks": 1}, "my_id": {"usedChunks": 2}}}
    renamed = {"message_map": {"myId": {"used_chunks": 1}, "my_id": {"used_chunks": 2}}}
    assert to_snake(spelled) == to_snake(renamed) == renamed


@pytest.mark.parametrize("data", [{"fooBar": {"baz_qux": 1}}, [{"fooBar": 1, "foo_bar": 2}], "fooBar", None])
@pytest.mark.parametrize("key", sorted(names.OPAQUE))
def test_nothing_in_a_tools_input_or_result_is_renamed(key: str, data: object) -> None:
    block = {"body": {"toolUseId": "t", key: data}}
    assert to_snake(block) == {"body": {"tool_use_id": "t", key: data}}


def test_names_too_long_to_be_ours_are_neither_renamed_nor_remembered() -> None:
    before = names._snake.cache_info().currsize
    endless = "aB" * 50_000
    assert to_snake({endless: 1}) == {endless: 1}
    assert names._snake.cache_info().currsize == before


@pytest.mark.parametrize("data", [None, 1, "textWithHump", [1, "twoWords", None], []])
def test_values_are_not_names(data: object) -> None:
    assert to_snake(data) == data
