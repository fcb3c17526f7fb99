"""Pruning: whatever is older than the policies allow goes, part by part, in many short transactions.

Each app registers its part in `apps.ready`. A run that was cut anywhere is repeated by the next one.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.database.connections import truncate_log
from bedrock_chat.identity.caller import Actor, Program
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.retention import policies
from bedrock_chat.retention.policies import Plan

logger = logging.getLogger(__name__)

ORDER: Final = ("conversations", "questions", "calls", "calls of tools", "sums")
"""The parts, in the order in which they are pruned. What follows may need what was before to be gone."""
PRUNE: Final = verbs.register("prune", target="retention", values={"days": verbs.number, "bot": verbs.ids})

Counts = Mapping[str, int]
"""What goes, or went, by kind: `conversations`, `files` …"""


@dataclass(slots=True)
class Run:
    """A plan that is carried out. The first transaction of each part leaves an entry of the audit, for each policy."""

    plan: Plan
    actor: Actor
    recorded: set[tuple[str, int | None, str | None]] = field(default_factory=set)

    def record(self, part: str, days: int | None, *, bot_id: str | None = None) -> None:
        """Call it in every transaction that prunes something of a part. `bot_id` is whose policy it is."""
        if (part, days, bot_id) not in self.recorded:
            bot = {} if bot_id is None else {"bot": [bot_id]}
            record(PRUNE, part, actor=self.actor, values={"days": days, **bot})
            self.recorded.add((part, days, bot_id))

    def record_with_bots(self, part: str, bot_ids: Iterable[str | None], plan: Plan) -> None:
        """The same for what belongs to conversations with these bots, each by its own policy if it has one."""
        for bot_id in sorted(set(bot_ids), key=str):
            own = bot_id if bot_id in plan.bot_days or bot_id == plan.only_bot else None
            self.record(part, plan.days_of(bot_id), bot_id=own)


@dataclass(frozen=True, slots=True)
class Part:
    """`count` says what `prune` would do by the same plan. `prune` stops after each transaction."""

    count: Callable[[Plan], Counts]
    prune: Callable[[Run], Iterator[Counts]]


_parts: dict[str, Part] = {}


def register(name: str, *, count: Callable[[Plan], Counts], prune: Callable[[Run], Iterator[Counts]]) -> None:
    """Adds a part, of those that ORDER names."""
    _parts[name] = Part(count, prune)


def count(plan: Plan) -> Counter[str]:
    """What would go now, by kind. Writes nothing."""
    counts: Counter[str] = Counter()
    for name in ORDER:
        counts.update(_parts[name].count(plan))
    return counts


def prune(plan: Plan, *, actor: Actor) -> Iterator[Counts]:
    """Prunes; stops after every transaction with what has gone in it.

    Files follow with the next removal of blobs, when their grace is over. On SQLite the log is emptied at the end, so
    that no file holds what was deleted.
    """
    run, deleted = Run(plan, actor), False
    for name in ORDER:
        for counts in _parts[name].prune(run):
            deleted = deleted or any(counts.values())
            yield counts
    if deleted:
        truncate_log()


def run_policies(job: Claimed) -> None:
    """The periodic job. Raises LeaseLost if another worker has taken it over."""
    total: Counter[str] = Counter()
    for counts in prune(policies.standing(), actor=Program.job(job.kind)):
        total.update(counts)
        job.check()
    if total.total():
        logger.info("pruned: %s", ", ".join(f"{number} {kind}" for kind, number in total.items() if number))
