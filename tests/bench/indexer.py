"""Prints what it costs to index turns, as one JSON line. Runs in the server's environment: `indexer TURNS LONG`."""

import json
import random
import sys
import time

import django

django.setup()


from bedrock_chat.database.connections import database_now  # noqa: E402
from bedrock_chat.identity.models import User  # noqa: E402
from conversations.models import Conversation, Message  # noqa: E402
from conversations.search import indexing  # noqa: E402
from tests import build  # noqa: E402
from tests.bench.languages import languages  # noqa: E402


def cost(turns: int, long: int) -> dict[str, float]:
    """Milliseconds to index a message of a hundred words: in new conversations, and at the end of a long one."""
    chance, language = random.Random(3), languages()[0]
    user = User.objects.get(username="bench-000000")
    make_text = lambda: language.text(100, chance)  # noqa: E731
    for number in range(turns):
        build.exchange(build.conversation(user, f"cost-{number}"), make_text())
    new = _index(2 * turns)
    conversation = build.long_conversation(user, long // 2, "cost-long")
    _index(long)
    appended = []
    for _ in range(turns):
        build.exchange(conversation, make_text())
        Conversation.objects.filter(pk=conversation.pk).update(updated_at=database_now())
        appended.append(_index(2))
    return {
        "newMs": new["wallMs"],
        "newCpuMs": new["cpuMs"],
        "appendedMs": round(sum(sample["wallMs"] for sample in appended) / turns, 3),
        "appendedCpuMs": round(sum(sample["cpuMs"] for sample in appended) / turns, 3),
        "messagesBefore": Message.objects.filter(conversation=conversation).count() - 2 * turns,
    }


def _index(messages: int) -> dict[str, float]:
    """Indexes everything that is due. Returns milliseconds for each of so many messages."""
    wall, cpu = time.perf_counter(), time.process_time()
    while indexing.index_what_is_new(100):
        pass
    return {
        "wallMs": round((time.perf_counter() - wall) / messages * 1000, 3),
        "cpuMs": round((time.process_time() - cpu) / messages * 1000, 3),
    }


print(json.dumps(cost(int(sys.argv[1]), int(sys.argv[2]))))
