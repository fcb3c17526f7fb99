"""Fills the usage bench's sums and reads reports, in the environment of the server: one JSON line.

Reports read the ledger for the last minutes alone. So it has only those; of all other calls the quarter hours' sums are
written, and days and months are made of them by the job. Who calls is drawn evenly, so sums are as many as they can be:
no two calls of a quarter hour are of one person and one bot.
"""

import gc
import json
import random
import sys
import time
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

import django

django.setup()

from django.db import connection, transaction  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.utils import timezone  # noqa: E402

from bedrock_chat.console.periods import Choice  # noqa: E402
from bedrock_chat.database.connections import run_in_one_process  # noqa: E402
from bedrock_chat.identity.models import User  # noqa: E402
from bedrock_chat.ledger.models import ModelCall  # noqa: E402
from bedrock_chat.ledger.rollups import making, reading  # noqa: E402
from bedrock_chat.ledger.rollups.late import WAIT  # noqa: E402
from bedrock_chat.ledger.rollups.models import (  # noqa: E402
    DayUsage,
    Dimension,
    DimensionUsage,
    GroupMember,
    Latency,
    Progress,
    QuarterUsage,
    Timed,
)
from bedrock_chat.ledger.zones import Span, quarter_of  # noqa: E402
from bedrock_chat.serving.server import GC_THRESHOLDS  # noqa: E402
from tests.bench import load, series  # noqa: E402
from tests.bench.progress import say  # noqa: E402

TWO_YEARS = timedelta(days=730)
SPANS = {
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=31),
    "quarter": timedelta(days=91),
    "year": timedelta(days=365),
    "twoYears": TWO_YEARS,
}
HOUR = timedelta(hours=1)
BATCH = 500_000
FILLING_CACHE_KB = 1_000_000
"""Two years of days in a row would read their indexes from the disk again and again; the job makes one a day."""

COLUMNS = {
    "start": "{moment}",
    "payer_id": "'person-' || (i * 7919 % {people})",
    "user_id": "CASE WHEN i % 4 = 0 THEN '' ELSE 'person-' || (i * 7919 % {people}) END",
    "bot_id": "'bot-' || (i * 104729 % {bots})",
    "key_id": "CASE WHEN i % 4 = 0 THEN 'key-' || (i * 31 % {keys}) ELSE '' END",
    "model": "'model-' || (i * 13 % 8)",
    "purpose": "'turn'",
    "group_set": "CASE i % 3 WHEN 0 THEN 'set-0' WHEN 1 THEN 'set-1' ELSE '' END",
    "fault": "CASE WHEN i % 50 = 0 THEN 'ThrottlingException' ELSE '' END",
    "calls": "1",
    "input_tokens": "i % 3000",
    "output_tokens": "i % 700",
    "cache_read_tokens": "i % 11",
    "cache_write_tokens": "i % 7",
    "price": "i % 100000 * 1000",
    "unpriced": "0",
}


def fill(calls: int, until: datetime, **counts: int) -> None:
    """Writes the sums of quarter hours, as the job would make them of so many calls in two years."""
    table = QuarterUsage._meta.db_table
    with connection.schema_editor() as editor:
        for index in QuarterUsage._meta.indexes:
            editor.remove_index(QuarterUsage, index)
    values = ", ".join(COLUMNS.values()).format(
        **counts, moment=series.moment(until, TWO_YEARS, calls, of_quarter=True)
    )
    for low in range(0, calls, BATCH):
        high = min(calls, low + BATCH)
        numbered = series.numbers(low, high)
        into = f"INSERT INTO {table} ({', '.join(COLUMNS)}) SELECT {values} FROM numbers"
        statement = f"{numbered}{into}"
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
        say(f"{high:,} calls")
    with connection.schema_editor() as editor:
        for index in QuarterUsage._meta.indexes:
            editor.add_index(QuarterUsage, index)
    members = {"set-0": ["sales"], "set-1": ["legal", "sales"]}
    GroupMember.objects.bulk_create(
        GroupMember(group_set=group_set, name=name) for group_set, names in members.items() for name in names
    )
    Progress.objects.create(made_until=until, zone="UTC", seen_at=until)


def fill_latencies(calls: int, until: datetime) -> None:
    """Writes how many calls of each quarter hour took how long: of no two the model and the bucket are the same."""
    moment = series.moment(until, TWO_YEARS, calls, of_quarter=True)
    table = Latency._meta.db_table
    for low in range(0, calls, BATCH):
        numbered = series.numbers(low, min(calls, low + BATCH))
        into = f"INSERT INTO {table} (start, model, purpose, timed, bucket, calls)"
        for timed, base in ((Timed.FIRST_TOKEN.value, 40), (Timed.TOTAL.value, 80)):
            values = f"{moment}, 'model-' || (i * 13 % 8), 'turn', '{timed}', {base} + i % 150, 1"
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"{numbered}{into} SELECT {values} FROM numbers")


def call_lately(until: datetime, now: datetime, per_second: float) -> None:
    """Writes the newest calls, which have no sums yet."""
    count = int((now - until).total_seconds() * per_second)
    ModelCall.objects.bulk_create(
        ModelCall(
            created_at=until + (now - until) * number / count,
            purpose="turn",
            user_id=f"person-{number}",
            payer_id=f"person-{number}",
            conversation_external_id="c",
            model="model-1",
            latency_ms=1000,
            price=1,
            groups=["sales"],
        )
        for number in range(count)
    )


def spans(length: timedelta, now: datetime, rounds: int) -> list[Span]:
    """Whole hours, anywhere in the two years, every fourth up to now."""
    chance = random.Random(5)
    hour = now.replace(minute=0, second=0, microsecond=0) + HOUR
    slack = int((TWO_YEARS - length) / HOUR)
    ends = [hour - HOUR * (chance.randrange(slack) if slack and number % 4 else 0) for number in range(rounds)]
    return [Span(end - length, end) for end in ends]


def measured(by: Dimension, chosen: list[Span]) -> dict[str, Any]:
    """Milliseconds that pass, and those of this process's CPU alone, which other work on the machine does not change.

    On SQLite that is all of it. On PostgreSQL the server's are not in it.
    """
    latencies, cpu = [], []
    for span in chosen:
        began, cpu_began = time.perf_counter(), time.process_time()
        values = reading.usage(span, by=by)
        latencies.append((time.perf_counter() - began) * 1000)
        cpu.append((time.process_time() - cpu_began) * 1000)
    return {**load.shares(latencies, cpu), "values": len(values)}


def measured_home(rounds: int) -> dict[str, Any]:
    """How long the console's home takes for each of its periods, whole: its statements, its charts and its page."""
    names = {"login": "olga", "username": "olga", "is_staff": True, "is_superuser": True}
    operator, _ = User.objects.get_or_create(id="local:olga", defaults=names)
    client = Client(headers={"host": "localhost"})
    client.force_login(operator)
    figures: dict[str, Any] = {}
    for days in Choice.values:
        latencies, cpu = [], []
        for _ in range(rounds + 1):
            began, cpu_began = time.perf_counter(), time.process_time()
            response = client.get(f"/console/?days={days}")
            latencies.append((time.perf_counter() - began) * 1000)
            cpu.append((time.process_time() - cpu_began) * 1000)
            assert response.status_code == 200, response.content
        figures[f"days{days}"] = load.shares(latencies[1:], cpu[1:])  # the first one compiles the templates
    return figures


def plans(span: Span) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        reading.usage(span, by=Dimension.USER)
    explain = "EXPLAIN (COSTS OFF)" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    lines = []
    for query in captured.captured_queries:
        if query["sql"].startswith("SELECT"):
            with run_in_one_process(), connection.cursor() as cursor:
                cursor.execute(f"{explain} {query['sql']}")
                lines.append("; ".join(" ".join(str(row[-1]).split()) for row in cursor.fetchall())[:300])
    return lines


def roll_up(now: datetime) -> float:
    """Makes days and months. Returns how many seconds it took, without the pauses for other writers."""
    making.yield_sqlite_lock = nullcontext  # type: ignore[attr-defined]
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA cache_size = -{FILLING_CACHE_KB}")
    began = time.perf_counter()
    for number, _ in enumerate(making.steps(now)):
        if number % 100 == 0:
            say(f"{number:,} days")
    if connection.vendor == "sqlite":
        connection.close()  # reports are read with the cache that servers have
    return time.perf_counter() - began


def fill_all(now: datetime, calls: int, **counts: int) -> float:
    """Writes everything. Returns how many seconds days and months took."""
    until = quarter_of(now - WAIT)
    fill(calls, until, **counts)
    fill_latencies(calls, until)
    call_lately(until, now, calls / TWO_YEARS.total_seconds())
    seconds = roll_up(now)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return seconds


def collect_as_servers_do() -> None:
    """Servers spare the collector what they have loaded: to walk all of it takes 50 ms, now and then in a report."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def main() -> None:
    size = json.loads(sys.argv[1])
    rounds = size.pop("rounds")
    made_until = Progress.objects.values_list("made_until", flat=True).first()
    now = timezone.now() if made_until is None else made_until + WAIT
    seconds = fill_all(now, **size) if made_until is None else None
    collect_as_servers_do()
    rows = {model.__name__: model.objects.count() for model in (QuarterUsage, DayUsage, DimensionUsage)}
    figures = {
        by.value: {name: measured(by, spans(length, now, rounds)) for name, length in SPANS.items()} for by in Dimension
    }
    home = measured_home(rounds)
    [widest, *_] = spans(SPANS["year"], now, 1)
    print(
        json.dumps(
            {
                "daysAndMonthsSeconds": seconds and round(seconds, 1),
                "rows": rows,
                "spans": figures,
                "home": home,
                "plans": plans(widest),
            },
        )
    )


main()
