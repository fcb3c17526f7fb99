"""Where a document is, what was fetched from there, and why nothing was."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from bedrock_chat.outbound.faults import NotAllowed, OutboundFault
from bedrock_chat.process.interruption import Interruption
from bots.knowledge.states import Blame

LocationKind = Literal["file", "web", "s3"]
Role = Literal["page", "listed", "linked"]
LONGEST_LOCATION: Final = 2_000
"""Characters of a URL that is crawled; an S3 address is shorter, a file's name far shorter."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where one document is. `location` is unique among a bot's documents, and is the document's identity.

    `location` is a normalised URL, `s3://bucket/key`, or `file:` and a file's name. `link` is the URL for the web,
    else empty: links to files and objects are made when they are read. `owner` is the seed whose scope covers a page;
    empty: whoever led to it, or listed it.
    """

    kind: LocationKind
    location: str
    name: str
    link: str = ""
    owner: str = ""
    digest: str = ""
    """SHA-256 of a file of the bot's; empty for the others, whose bytes are not known yet."""
    etag: str = ""
    """Of an S3 object, from the bucket's list."""
    size: int | None = None
    """Bytes of a file or an S3 object."""
    changed: str = ""
    """`lastmod` of a sitemap: a hint to fetch soon, never a reason not to."""
    role: Role = "listed"
    """`page`: its links are followed. `listed`: a source named it, and its links are not followed. `linked`: a page of
    another place names it, from where files are read and pages are not."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a document's row has of the last time it was fetched. All empty: it was not."""

    etag: str = ""
    last_modified: str = ""
    digest: str = ""


NOTHING_KNOWN: Final = Known()


@dataclass(frozen=True, slots=True)
class FetchContext:
    """What every fetch of a slice has: where temporary files go, what ends it, and where the bot's files are stored."""

    folder: Path
    interruption: Interruption
    stored: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of a file → its name in storage (`storing.locate`), looked up by the slice's own thread."""
    turn: Callable[[str, int, bool], float] = field(default=lambda *_: 0.0)
    """Takes turns of the host that a redirect leads to (`Hosts.hop`, on the slice's own thread): the address, how many
    requests, and whether this fetch comes to that host for the first time."""

    def await_turn(self, url: str, requests: int, deadline: float, *, is_first: bool) -> None:
        """Before a redirect is followed. Raises Interrupted, also where the host's turn is too far away."""
        wait = self.turn(url, requests, is_first)
        self.interruption.wait(min(wait, max(0.0, deadline - time.monotonic())))
        self.interruption.check()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document's bytes in a temporary file. `path` is None where the document is unchanged.

    `digest` is the SHA-256 of the bytes. `kind` is one of the readers' kinds. `final_url` is the URL after redirects,
    empty for files and S3. `is_indexed` and `is_followed` are what `X-Robots-Tag` says.
    """

    location: Location
    path: Path | None
    size: int = 0
    digest: str = ""
    etag: str = ""
    last_modified: str = ""
    kind: str = ""
    media_type: str = ""
    charset: str = ""
    final_url: str = ""
    is_unchanged: bool = False
    is_indexed: bool = True
    is_followed: bool = True


@dataclass(frozen=True, slots=True)
class Listed:
    """One part of a sitemap or of a folder in S3.

    `rest` is plain JSON, which the next call takes to go on where this one ended; None: the list has ended.
    `next_url` is what the next call fetches, empty for S3. `note` is a sentence about what of several sitemaps could
    not be read; the others go on. `retry_after`: the host asked for a pause of so many seconds.
    """

    locations: tuple[Location, ...]
    skipped: int = 0
    rest: dict[str, Any] | None = None
    next_url: str = ""
    note: str = ""
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Discovered:
    """What a page is and leads to. `location` names the document; it differs from what was fetched after a redirect,
    or where the page names another address of itself. `is_kept` is False for a page that is read for its links only.
    """

    location: Location
    is_kept: bool
    locations: tuple[Location, ...] = ()
    skipped: int = 0


class SourceFault(Exception):
    """Why a source or a document yields nothing: one sentence, ours, without the address.

    `is_gone`: the server says that there is no such document any more. `is_skipped`: it is of a kind that is not read,
    which is no failure. `retry_after` is in seconds, for the whole host.
    """

    def __init__(
        self,
        sentence: str,
        *,
        blame: Blame = Blame.SOURCE,
        is_gone: bool = False,
        is_skipped: bool = False,
        retry_after: float | None = None,
    ) -> None:
        self.sentence, self.blame = sentence, blame
        self.is_gone, self.is_skipped, self.retry_after = is_gone, is_skipped, retry_after
        super().__init__(sentence)


def not_fetched(fault: OutboundFault) -> SourceFault:
    """Why the web gave nothing. An address that this server does not call is the fault of who has named it."""
    return SourceFault(fault.reason, blame=Blame.OWNER if isinstance(fault, NotAllowed) else Blame.SOURCE)
