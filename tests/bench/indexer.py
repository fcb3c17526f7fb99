"""What it costs to index turns, in the server's environment, as one JSON line: `indexer TURNS LONG`."""

import json
import random
import sys
import time

import django

from conversations import indexing

django.setup()


from bedrock_chat.database.connections import database_now  # noqa: E402
from bedrock_chat.identity.models import User  # noqa: E402
from conversations.models import Conversation, Message  # noqa: E402
from tests import build  # noqa: E402
from tests.bench.languages import languages  # noqa: E402


def cost(turns: int, long: int) -> dict[str, float]:
    """Milliseconds for a message of a hundred words: of new conversations, and at the end of a long one."""
    chance, language = random.Random(3), languages()[0]
    user = User.objects.get(username="bench-000000")
    said = lambda: language.text(100, chance)  # noqa: E731
    for number in range(turns):
        build.exchange(build.conversation(user, f"cost-{number}"), said())
    new = _index(2 * turns)
    written = build.long_conversation(user, long // 2, "cost-long")
    _index(long)
    appended = []
    for _ in range(turns):
        build.exchange(written, said())
        Conversation.objects.filter(pk=written.pk).update(updated_at=database_now())
        appended.append(_index(2))
    return {
        "newMs": new["wallMs"],
        "newCpuMs": new["cpuMs"],
        "appendedMs": round(sum(one["wallMs"] for one in appended) / turns, 3),
        "appendedCpuMs": round(sum(one["cpuMs"] for one in appended) / turns, 3),
        "messagesBefore": Message.objects.filter(conversation=written).count() - 2 * turns,
    }


def _index(messages: int) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    while indexing.index_what_is_new(100):
        pass
    return {
        "wallMs": round((time.perf_counter() - wall) / messages * 1000, 3),
        "cpuMs": round((time.process_time() - cpu) / messages * 1000, 3),
    }


print(json.dumps(cost(int(sys.argv[1]), int(sys.argv[2]))))
