"""The recorded run of the API, replayed: stateful, in order, with the exceptions that are written down."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bedrock_chat.database.connections import release_connection
from bots.models import Bot
from tests.bots import bot as bots
from tests.bots import upload
from tests.contract.exceptions import DECIDED, NOT_BUILT
from tests.contract.knowledge import PASSAGES, REAL_IDS
from tests.contract.replay import SAMPLES, Differs, Replay
from tests.conversations.chat import read, say, text_of
from tests.encryption.vault import new_key
from tests.pool import UserPool, moto, searched
from tests.publication.api import publish, work

DECISIONS = {name: why for why, names in DECIDED.items() for name in names}
UNBUILT = {name: part for part, names in NOT_BUILT.items() for name in names}
NAMES = [sample["name"] for sample in SAMPLES if not sample.get("setup")]


# ---- What the recording leaves out ----------------------------------------------------------------------------------


def make_answer_to_continue(replay: Replay) -> None:
    client, conversation = replay.api_client("alice"), "01JZZZZZZZZZZZZZZZZZZZZC26"
    say(client, conversation, "write long [[max_tokens]]")
    stored = read(client, conversation)
    answer = stored["lastMessageId"]
    replay.bindings["01M81EVMB9SMYNAJ6XPEJ29F2Q"] = answer
    replay.bindings["01M81EVM7YYH3PR021BY7TP332"] = stored["messageMap"][answer]["parent"]


def make_parallel_turns(replay: Replay) -> None:
    client, conversation = replay.api_client("alice"), "01JZZZZZZZZZZZZZZZZZZZZC28"
    say(client, conversation, "seed")
    parent = read(client, conversation)["lastMessageId"]

    def ask(index: int) -> int:
        try:
            return say(replay.api_client("alice"), conversation, f"parallel {index}", parent=parent).status_code
        finally:
            release_connection(final=True)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(6))) == [200] * 6


def read_large_conversation(replay: Replay) -> None:
    replay.bindings["01M81EW1M476DVP9RH154RM27M"] = read(replay.api_client("alice"), "01JZZZZZZZZZZZZZZZZZZZBIG1")[
        "lastMessageId"
    ]


def lengthen_ids(replay: Replay) -> None:
    """The recorded bots use an agent and a knowledge base that exist."""
    _rename(REAL_IDS)


def shorten_ids(replay: Replay) -> None:
    _rename({real: recorded for recorded, real in REAL_IDS.items()})


def _rename(ids: dict[str, str]) -> None:
    for bot in Bot.objects.filter(pk__in=["bot-full", "bot-kb"]):
        text = json.dumps(bot.configuration)
        for old, new in ids.items():
            text = text.replace(json.dumps(old), json.dumps(new))
        Bot.objects.filter(pk=bot.pk).update(configuration=json.loads(text))


def patch_without_agent(replay: Replay) -> None:
    replay.api_client("alice").patch("/bot/bot-a", {"title": "Patched without agent"}, format="json")


def upload_a_file(replay: Replay) -> None:
    upload.upload(replay.api_client("alice"), "bot-file", "f.txt", b"hello")


def share_bot_full(replay: Replay) -> None:
    bots.share(replay.api_client("dave"), "bot-full", "all")


def make_bot_bypass(replay: Replay) -> None:
    bots.make(replay.api_client("dave"), "bot-bypass")
    bots.share(replay.api_client("dave"), "bot-bypass", "all")


def prepare_published(replay: Replay, name: str) -> None:
    """Publishes a bot before the first sample, and answers what was asked before an answer is read."""
    if replay.published is None:
        dave = replay.api_client("dave")
        bots.make(dave, "bot-api")
        bots.share(dave, "bot-api", "all")
        replay.published = publish(dave, "bot-api")
    if name.startswith(("published-get-message", "published-get-image")):
        work()


UNRECORDED: dict[str, Callable[[Replay], None]] = {
    "conv-continue-generate-with-reasoning": make_answer_to_continue,
    "conv-parallel-turns-lost-update": make_parallel_turns,
    "conv-large-feedback": read_large_conversation,
    "conv-kb-bot-tool": lengthen_ids,
    "feedback-on-kb-answer": shorten_ids,
    "bot-patch-without-agent-effect": patch_without_agent,
    "bot-create-with-uploaded-file": upload_a_file,
    "pub-create": share_bot_full,
    "pub-bypass-negative-throttle-bad-origin-accepted": make_bot_bypass,
}
"""Sample → what the recorded client did before it, outside the recording."""

INSTEAD: dict[str, Callable[[dict[str, Any]], bool]] = {
    "conv-continue-generate-with-reasoning": lambda body: (
        text_of(body["message"]) == "This answer stops ...and the rest."
    ),
    "conv-large-get-after-feedback": lambda body: (
        body["messageMap"][body["lastMessageId"]]["feedback"] == {"thumbsUp": True, "category": "c", "comment": ""}
    ),
    "feedback-up-without-category": lambda body: body == {"thumbsUp": True, "category": "", "comment": ""},
    "conv-parallel-turns-lost-update": lambda body: (
        {f"Echo: parallel {index}" for index in range(6)}
        <= {text_of(message) for message in body["messageMap"].values()}
    ),
}
"""Sample whose recorded body is a bug → what must be true of our body instead."""


@pytest.fixture
def groups_of_the_pool(settings: Any) -> Iterator[None]:
    """The recorded pool's groups. Its people are known by their tokens."""
    with moto() as url:
        pool = UserPool.made_at(url)
        pool.add_group("sales-team", "sales-team group")
        pool.add_group("sales-emea")
        with searched(url, pool.id, settings):
            yield


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("groups_of_the_pool")
def test_recorded_requests_are_answered_as_recorded(emulator: Any, settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]
    settings.KNOWLEDGE_S3 = (("b", ""),)
    emulator.agents(passages=PASSAGES, text="Agent answer text")
    replay = Replay()
    differing: dict[str, str] = {}
    needless: list[str] = []
    unnamed: list[str] = []
    for sample in SAMPLES:
        name = sample["name"]
        if sample["target"] == "published":
            prepare_published(replay, name)
        if name in UNRECORDED:
            UNRECORDED[name](replay)
        response = replay.send(sample)
        if sample.get("setup"):
            continue
        try:
            exact = replay.compare(sample, response)
            if name in INSTEAD and not INSTEAD[name](response.json()):
                raise Differs(f"{sample['expect']['why']}: {response.content[:500]!r}")
        except Differs as difference:
            if name not in UNBUILT:
                differing[name] = str(difference)
        else:
            # A success shows that the part is built. A 404 does not: the route may just not be there.
            if name in UNBUILT and response.status_code < 400:
                needless.append(name)
            if name not in UNBUILT and exact == (name in DECISIONS):
                (needless if exact else unnamed).append(name)
    assert differing == {}
    assert unnamed == [], "these are answered otherwise than recorded, as was decided: name them"
    assert needless == [], "these are as recorded now: strike them from the exceptions"


def test_names_of_samples_are_unique() -> None:
    assert len(NAMES) == len(set(NAMES))


def test_every_exception_names_a_sample_once() -> None:
    listed = [name for names in (*DECIDED.values(), *NOT_BUILT.values()) for name in names]
    assert set(listed) <= set(NAMES)
    assert len(listed) == len(set(listed))
