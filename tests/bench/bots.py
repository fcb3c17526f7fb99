"""What a bot costs: a turn with one beside a turn without, and the list of bots beside the list of conversations."""

import statistics
from collections.abc import Callable
from typing import Any

from tests.bench import load
from tests.bench.progress import say
from tests.bench.subjects import Sample, Subject
from tests.bench.turns import median

BOTS = "/bot?kind=mixed&limit=30"
CONVERSATIONS = "/conversations?limit=30"


def measure(subject: Subject) -> dict[str, Any]:
    """Medians over rounds. What is compared takes turns, and the ratio is taken round by round."""
    say(f"writing {subject.size.conversations} bots")
    subject.run("-m", "tests.bench.fill_bots", "alice", str(subject.size.conversations))
    plain, with_bot, conversations, bots = [], [], [], []
    _list(subject, BOTS)(5)
    for number in range(subject.size.rounds):
        say(f"bots: round {number + 1} of {subject.size.rounds}")
        plain.append(subject.turn(number, 1, name="plain"))
        with_bot.append(subject.turn(number, 1, name="bot", bot="bench-0"))
        conversations.append(_list(subject, CONVERSATIONS)(subject.size.reads))
        bots.append(_list(subject, BOTS)(subject.size.reads))
    return {
        "turn": {"cpuMs": median(sample.cpu for sample in with_bot), "ratioToWithout": _ratio(with_bot, plain)},
        "list": {
            "bots": subject.size.conversations,
            "cpuMs": median(sample.cpu for sample in bots),
            "ratioToConversations": _ratio(bots, conversations),
        },
    }


def _list(subject: Subject, path: str) -> Callable[[int], Sample]:
    def send(connection: load.Connection, _: int) -> int:
        return connection.request("GET", path, token=subject.token)

    return lambda requests: subject.sample(1, requests, send)


def _ratio(samples: list[Sample], beside: list[Sample]) -> float:
    pairs = zip(samples, beside, strict=True)
    return round(statistics.median(sample.cpu / other.cpu for sample, other in pairs), 2)
