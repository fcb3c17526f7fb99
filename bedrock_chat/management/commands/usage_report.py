"""`manage.py usage_report --from 2026-11-01 --to 2026-11-30 --by user`: what was used, and what it cost."""

import csv
import json
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from datetime import date
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from bedrock_chat.ledger import zones
from bedrock_chat.ledger.rollups import reading
from bedrock_chat.ledger.rollups.figures import Figures, dearest_first
from bedrock_chat.ledger.rollups.models import Dimension
from bedrock_chat.wire.errors import BadRequest

FIRST_YEAR, LAST_YEAR = 2000, 2200
COLUMNS = (
    *("calls", "inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens"),
    *("price", "unpricedCalls", "throttles", "faults"),
)
"""Of `Figures.document`. In tables and CSV `faults` is their number."""


def day(text: str) -> date:
    """A day. Raises ArgumentTypeError."""
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError("a day is written YYYY-MM-DD") from None
    if not FIRST_YEAR <= parsed.year <= LAST_YEAR:
        raise ArgumentTypeError(f"a day is from {FIRST_YEAR} to {LAST_YEAR}")
    return parsed


class Command(BaseCommand):
    help = (
        "Prints what was used from one day to another, both included, in the zone of REPORT_TIME_ZONE: the dearest "
        "first. A user is who pays; a call counts for each group of theirs. Unpriced calls are not in the price."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="first", type=day, required=True, metavar="DAY")
        parser.add_argument("--to", dest="last", type=day, required=True, metavar="DAY")
        parser.add_argument("--by", choices=Dimension.values, required=True)
        parser.add_argument("--format", dest="shape", choices=["table", "csv", "json"], default="table")

    def handle(self, *args: Any, first: date, last: date, by: str, shape: str, **options: Any) -> None:
        if last < first:
            raise CommandError("--from must not be after --to.", returncode=2)
        span = zones.days(first, last)
        try:
            ranked = dearest_first(reading.usage(span, by=Dimension(by)))
        except BadRequest as error:
            raise CommandError(str(error.detail)) from None
        if shape == "json":
            document = {
                "from": first.isoformat(),
                "to": last.isoformat(),
                "zone": settings.REPORT_TIME_ZONE,
                "by": by,
                "rows": [{by: value, **figures.document()} for value, figures in ranked],
                "refusals": reading.refusals(span),
            }
            self.stdout.write(json.dumps(document, ensure_ascii=False, indent=1))
            return
        rows = [(by, *COLUMNS), *((value, *_cells(figures)) for value, figures in ranked)]
        if shape == "csv":
            csv.writer(self.stdout, lineterminator="\n").writerows(rows)
        else:
            self._print_table(rows)

    def _print_table(self, rows: Sequence[Sequence[Any]]) -> None:
        """Ids and names of others are quoted where a terminal would obey what stands in them."""
        texts = [[text if (text := str(cell)).isprintable() else repr(text) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        for name, *numbers in texts:
            cells = [
                name.ljust(widths[0]),
                *(text.rjust(width) for text, width in zip(numbers, widths[1:], strict=True)),
            ]
            self.stdout.write("  ".join(cells).rstrip())


def _cells(figures: Figures) -> list[Any]:
    document = figures.document()
    document["faults"] = sum(figures.faults.values())
    return [document[name] for name in COLUMNS]
