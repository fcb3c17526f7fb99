"""What engines are asked for on the internet, and what they find there."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bots.tools import results

LONGEST_TITLE: Final = 500
LONGEST_URL: Final = 2048
_ADDRESS: Final = re.compile(r"https?://[^\s]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Search:
    """`locale` is a language and a country, such as `en-us`. `time_limit` is d, w, m, y or None; `most` are results."""

    query: str
    locale: str
    time_limit: str | None
    most: int

    @property
    def country(self) -> str:
        """In two small letters, empty if it is not known."""
        _, _, country = self.locale.partition("-")
        return country if re.fullmatch("[a-z]{2}", country) else ""


@dataclass(frozen=True, slots=True)
class Page:
    """`text` is what the engine says of it. `url` is an http or https address, or empty."""

    title: str
    url: str
    text: str


def page(title: object, url: object, text: object, *, longest: int, secrets: Sequence[str] = ()) -> Page | None:
    """A page out of what an engine has answered, whatever that is; None if it says nothing.

    `secrets` are what the engine was sent. They are taken out before anything is cut, or half of one would stay.
    """
    words = results.clean(title, secrets).strip()[:LONGEST_TITLE] if isinstance(title, str) else ""
    address = url.strip() if isinstance(url, str) and len(url) <= LONGEST_URL else ""
    body = results.clean(text, secrets).strip()[:longest] if isinstance(text, str) else ""
    if not (words or body):
        return None
    return Page(" ".join(words.split()), address if _ADDRESS.fullmatch(address) else "", body)
