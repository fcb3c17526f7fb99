"""`manage.py simulate_quota BOT --limit 1000 --period DAY --rate 5 --burst 10`: what these limits would refuse."""

from argparse import ArgumentTypeError
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from bedrock_chat.management.printing import PrintingCommand
from publication import operating, simulating
from publication.management.printing import day_and_time, iso
from publication.models import LimitsScope, Period
from publication.serializers.publications import LARGEST, LARGEST_BURST, LARGEST_RATE
from publication.simulating import Outcome, Simulation, Wanted

NONE = "none"


def _limit(text: str) -> int | None:
    return _whole(text, LARGEST)


def _burst(text: str) -> int | None:
    return _whole(text, LARGEST_BURST)


def _whole(text: str, largest: int) -> int | None:
    if text == NONE:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= largest:
        raise ArgumentTypeError(f"from 1 to {largest}, or none")
    return int(text)


def _rate(text: str) -> float | None:
    if text == NONE:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.001 <= rate <= LARGEST_RATE:
        raise ArgumentTypeError(f"from 0.001 to {LARGEST_RATE:.0f} requests a second, or none")
    return rate


class Command(PrintingCommand):
    help = (
        "Replays the questions of last month and of this one so far, and says what other limits would have refused, "
        "for each key. Nothing is written. What is not given is as it is now; none means no such limit. Known are the "
        "questions that were accepted: not what was refused at the time, nor polls."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("bot", help="the id of the bot")
        parser.add_argument("--limit", type=_limit, default=..., metavar="REQUESTS", help="the quota")
        parser.add_argument("--period", choices=Period.values, default=..., help="of the quota")
        parser.add_argument("--rate", type=_rate, default=..., metavar="REQUESTS", help="a second, of the throttle")
        parser.add_argument("--burst", type=_burst, default=..., metavar="REQUESTS", help="at once, of the throttle")
        parser.add_argument("--scope", choices=LimitsScope.values, default=..., help="what the limits count for")

    def handle(self, *args: Any, bot: str, json: bool, **options: Any) -> None:
        publication = operating.published(bot)
        chosen = {name: value for name, value in options.items() if value is not ...}
        quota = chosen.get("limit", publication.quota_limit)
        rate = chosen.get("rate", publication.rate_limit)
        wanted = Wanted(
            quota=quota,
            period=None if quota is None else chosen.get("period", publication.quota_period),
            rate=rate,
            burst=None if rate is None else chosen.get("burst", publication.burst_limit),
            scope=LimitsScope(chosen.get("scope", publication.limits_scope)),
        )
        if (wanted.quota is None) != (wanted.period is None):
            raise CommandError("A quota has both --limit and --period.")
        if (wanted.rate is None) != (wanted.burst is None):
            raise CommandError("A throttle has both --rate and --burst.")
        simulation = simulating.simulate(publication, wanted)
        self.print(_document(simulation, wanted), _sentences(simulation), as_json=json)


def _document(simulation: Simulation, wanted: Wanted) -> dict[str, Any]:
    return {
        "since": iso(simulation.since),
        "limits": {
            "quota": {"limit": wanted.quota, "period": wanted.period},
            "throttle": {"rateLimit": wanted.rate, "burstLimit": wanted.burst},
            "limitsScope": wanted.scope,
        },
        "keys": [
            {
                "key": key_id,
                "description": key.description if (key := simulation.keys.get(key_id)) else None,
                "requests": outcome.requests,
                "admitted": outcome.admitted,
                "refusedByThrottle": outcome.throttled,
                "refusedByQuota": outcome.over_quota,
                "firstRefusalAt": iso(_moment(outcome)),
                "mostInAPeriod": outcome.busiest,
            }
            for key_id, outcome in sorted(simulation.outcomes.items())
        ],
    }


def _sentences(simulation: Simulation) -> list[str]:
    sentences = [f"Questions since {day_and_time(simulation.since)}:"]
    for key_id, outcome in sorted(simulation.outcomes.items()):
        key = simulation.keys.get(key_id)
        name = f"{key_id} {key.description!r}" if key else f"{key_id} (gone)"
        first = "" if outcome.first_refusal_at is None else f", first {day_and_time(_moment(outcome))}"
        sentences.append(
            f"{name}: {outcome.requests} asked, {outcome.admitted} admitted, refused {outcome.throttled} by the "
            f"throttle and {outcome.over_quota} by the quota{first}; at most {outcome.busiest} in a period"
        )
    return sentences if simulation.outcomes else [*sentences, "none"]


def _moment(outcome: Outcome) -> datetime | None:
    at = outcome.first_refusal_at
    return None if at is None else datetime.fromtimestamp(at, UTC)
