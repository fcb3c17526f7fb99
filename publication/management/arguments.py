"""What the commands about keys take: lengths of time, moments, and descriptions."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime, timedelta

from bedrock_chat.database.text import is_storable
from publication.models import LONGEST_DESCRIPTION

_LENGTH = re.compile(r"(\d{1,4})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def length_of_time(text: str) -> timedelta:
    """`30m`, `24h`, `90d` or `2w`; `0h` is none. Raises ArgumentTypeError."""
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise ArgumentTypeError("a number with m, h, d or w behind it, such as 24h or 90d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def overlap(text: str) -> timedelta:
    """How long an old key goes on: a year at most. Raises ArgumentTypeError."""
    length = length_of_time(text)
    if length > timedelta(days=365):
        raise ArgumentTypeError("365d at most")
    return length


def add_overlap(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--overlap",
        type=overlap,
        default=timedelta(hours=24),
        metavar="TIME",
        help="how long an old key goes on working: 30m, 24h, 7d (default: 24h; 0h: not at all)",
    )


def later(text: str) -> datetime:
    """A day or a time to come, of UTC unless it says otherwise. Raises ArgumentTypeError."""
    try:
        parsed = datetime.fromisoformat(text)
        moment = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ArgumentTypeError("a day or a time such as 2027-01-31 or 2027-01-31T18:00+01:00") from None
    if moment <= datetime.now(UTC):
        raise ArgumentTypeError("a time to come")
    return moment


def description(text: str) -> str:
    """What names a key. Raises ArgumentTypeError."""
    if not text or len(text) > LONGEST_DESCRIPTION or not is_storable(text):
        raise ArgumentTypeError(f"1 to {LONGEST_DESCRIPTION} characters")
    return text
