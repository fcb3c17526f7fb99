"""Tokens are counted, and the reads and writes of the prompt cache add up."""

from typing import Any

from bedrock_chat.bedrock.emulator.model_ids import model_of
from bedrock_chat.bedrock.emulator.usage import PromptCache, Usage
from tests.bedrock.boto import SONNET, assistant, converse, stream, user
from tests.emulator import Emulator

POINT = {"cachePoint": {"type": "default"}}
AN_HOUR = {"cachePoint": {"type": "default", "ttl": "1h"}}
LONG = "x" * 8_000  # 2,000 tokens; this model caches from 1,024


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def account(cache: PromptCache, *messages: Any, model: str = SONNET, **fields: Any) -> Usage:
    return cache.account(model_of(model), {"messages": messages, **fields}, 1)


def test_a_token_is_four_characters_and_both_operations_count_alike(emulator: Emulator) -> None:
    usage = converse(emulator, "x" * 40)["usage"]
    assert (usage["inputTokens"], usage["outputTokens"], usage["totalTokens"]) == (10, 12, 22)
    assert stream(emulator, "x" * 40)[-1]["metadata"]["usage"] == usage


def test_system_and_tools_are_read_too(emulator: Emulator) -> None:
    alone = converse(emulator, "hello")["usage"]["inputTokens"]
    assert converse(emulator, "hello", system=[{"text": "x" * 400}])["usage"]["inputTokens"] == alone + 100


def test_a_prefix_is_written_then_read() -> None:
    cache = PromptCache()
    first = account(cache, user(LONG, POINT, "question"))
    again = account(cache, user(LONG, POINT, "another one"))
    assert (first.input, first.cache_read, first.cache_write) == (2, 0, 2_000)
    assert (again.input, again.cache_read, again.cache_write) == (3, 2_000, 0)


def test_the_next_turn_reads_the_last_one_and_writes_what_is_new() -> None:
    cache = PromptCache()
    account(cache, user(LONG, POINT))
    usage = account(cache, user(LONG, POINT), assistant("ok"), user("y" * 400, POINT))
    assert (usage.input, usage.cache_read, usage.cache_write) == (0, 2_000, 101)


def test_what_is_read_written_and_new_adds_up_to_the_total() -> None:
    wire = Usage(3, 5, cache_read=100, cache_write=20).wire()
    assert wire["totalTokens"] == 128
    assert wire["cacheDetails"] == [{"inputTokens": 20, "ttl": "5m"}]


def test_a_prefix_below_the_minimum_is_not_cached() -> None:
    cache = PromptCache()
    for _ in range(2):
        usage = account(cache, user("short", POINT))
        assert (usage.cache_read, usage.cache_write) == (0, 0)


def test_a_changed_prefix_is_another_one() -> None:
    cache = PromptCache()
    account(cache, user(LONG, POINT))
    assert account(cache, user(f"{LONG}!", POINT)).cache_read == 0
    assert account(cache, user(LONG, POINT), system=[{"text": "Be kind."}]).cache_read == 0


def test_models_do_not_share_a_cache() -> None:
    cache = PromptCache()
    account(cache, user(LONG, POINT))
    assert account(cache, user(LONG, POINT), model="anthropic.claude-opus-4-20250514-v1:0").cache_read == 0


def test_a_prefix_lives_five_minutes_and_a_hit_prolongs_it() -> None:
    clock = Clock()
    cache = PromptCache(clock)
    account(cache, user(LONG, POINT))
    for _ in range(2):
        clock.now += 200
        assert account(cache, user(LONG, POINT)).cache_read == 2_000
    clock.now += 301
    assert account(cache, user(LONG, POINT)).cache_read == 0


def test_an_hour_is_an_hour() -> None:
    clock = Clock()
    cache = PromptCache(clock)
    assert account(cache, user(LONG, AN_HOUR)).wire()["cacheDetails"] == [{"inputTokens": 2_000, "ttl": "1h"}]
    clock.now += 3_000
    assert account(cache, user(LONG, AN_HOUR)).cache_read == 2_000


def test_a_checkpoint_finds_a_prefix_twenty_blocks_back_and_no_further() -> None:
    cache = PromptCache()
    account(cache, user(LONG, POINT))
    assert account(cache, user(LONG, *["a"] * 20, POINT)).cache_read == 2_000
    cache.clear()
    account(cache, user(LONG, POINT))
    assert account(cache, user(LONG, *["a"] * 21, POINT)).cache_read == 0


def test_the_cache_is_bounded() -> None:
    cache = PromptCache(size=2)
    for name in "abc":
        account(cache, user(name + LONG, POINT))
    assert account(cache, user(f"c{LONG}", POINT)).cache_read > 0
    assert account(cache, user(f"a{LONG}", POINT)).cache_read == 0


def test_boto3_reads_the_books_over_http(emulator: Emulator) -> None:
    def usage() -> dict[str, Any]:
        return converse(emulator, user(LONG, POINT, "question"))["usage"]

    assert usage()["cacheWriteInputTokens"] == 2_000
    assert usage()["cacheReadInputTokens"] == 2_000
    emulator.reset()
    assert usage()["cacheReadInputTokens"] == 0
