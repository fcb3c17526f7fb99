"""Indexes bots for search: what is indexed, under whose marks, and when.

A write of a bot only marks its row (`Bot.is_indexed`), in its own transaction. A job follows within seconds. The index
is about words, and its marks only keep a search among the bots that were the caller's when they were indexed: whether a
bot is the caller's to see, `search` asks its row each time. So whoever loses access loses it at once.
"""

import logging
import time
from collections.abc import Iterator
from typing import Final

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from bedrock_chat.database.connections import yield_sqlite_lock
from bedrock_chat.identity.caller import Caller
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.search import index
from bedrock_chat.search.index import Document, Group
from bedrock_chat.search.models import SearchDocument
from bedrock_chat.search.ranking import HEADING, Candidate
from bots.models import Bot, BotGrant, Scope
from store.models import Listing, lot_of

logger = logging.getLogger(__name__)

KIND: Final = "bot"
"""What everybody may read who may use the bot: title and description."""
INSTRUCTION_KIND: Final = "bot instruction"
"""What its owner and Admin may read besides."""
VOCABULARY: Final = "store"
"""The words of titles and descriptions that everybody may read anyway: typos are corrected to them."""
DESCRIPTION: Final = 1
INSTRUCTION: Final = 2
"""Keys of a bot's documents; the title is its heading. Each has the texts of those before it, too, so that one document
holds all words of a query, wherever they stand."""

EVERYBODY: Final = "everybody"
SHARED: Final = "shared"
"""Scopes: what everybody may see, and what is shared with anybody, which Admin sees."""

MOST_IN_A_RUN: Final = 500
"""The most bots of one run of the periodic job."""
SET_BACK_SECONDS: Final = 600.0
"""How long a bot that could not be indexed waits for the next try."""
AT_ONCE: Final = 500
"""The most in one transaction: on SQLite every other writer waits for it."""

_set_back: dict[str, float] = {}
"""Bots that this process could not index → when it tries again, by `time.monotonic`."""


def scopes_of(actor: Caller, *, granted: bool) -> list[str]:
    """The scopes of the bots that a person may find. Without `granted`, of those that are their own or everybody's."""
    if actor.is_admin:
        return instruction_scopes_of(actor)
    scopes = [EVERYBODY, _user(actor.user_id)]
    return [*scopes, *map(_group, sorted(actor.groups))] if granted else scopes


def instruction_scopes_of(actor: Caller) -> list[str]:
    """The scopes of the instructions that a person may read."""
    return [_user(actor.user_id), *([SHARED] if actor.is_admin else [])]


def granted_documents(actor: Caller, most: int) -> list[Candidate]:
    """The documents of the bots that grants share with a person, at most so many, whatever words they hold."""
    granted = Listing.objects.granted_to(actor).values("pk")
    documents = SearchDocument.objects.filter(kind=KIND, group_id__in=granted)
    return [Candidate(*row) for row in documents.values_list("pk", "group_id", "key", "words")[:most]]


def index_new(_: Claimed) -> None:
    """The periodic job. If there is very much to index, the rest waits for the next run: a worker may have to end."""
    index_what_is_new(MOST_IN_A_RUN)


def index_what_is_new(limit: int = 100) -> int:
    """Indexes up to `limit` bots that are new or have changed, each in a transaction of its own. Returns how many.

    0 means that nothing is left. Several processes may do this at once. If one bot cannot be indexed, that is logged
    and tried again after a while, and delays no other.
    """
    indexed = 0
    for bot_id in list(_due().order_by("updated_at").values_list("pk", flat=True)[:limit]):
        try:
            indexed += _index(bot_id)
        except Exception:
            logger.exception("The bot %s could not be indexed; it is tried again.", bot_id)
            _set_back[bot_id] = time.monotonic() + SET_BACK_SECONDS
    return indexed


def index_everything_anew() -> None:
    """Marks all bots to be indexed. `index_what_is_new` does the work; until then, searches use the old index."""
    last = ""
    while keys := list(Bot.objects.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:AT_ONCE]):
        Bot.objects.filter(pk__in=keys).update(is_indexed=False)
        last = keys[-1]


def forget_one(job: Claimed) -> None:
    """The job that follows the deletion of a bot."""
    with transaction.atomic():
        _forget(Listing.objects.filter(bot=job.payload["bot"]).exclude(_has_bot()))
        job.finish()


def forget_gone() -> int:
    """Removes what the store still has of bots that are gone, without waiting for their jobs. Returns of how many."""
    forgotten = 0
    while True:
        with yield_sqlite_lock():
            batch = forget_some()
        forgotten += batch
        if batch < AT_ONCE:
            return forgotten


def forget_some() -> int:
    """As `forget_gone`, of AT_ONCE bots at most, in one transaction."""
    with transaction.atomic():
        return _forget(Listing.objects.exclude(_has_bot()))


def _forget(listings: QuerySet[Listing]) -> int:
    keys = list(listings.select_for_update().values_list("pk", flat=True)[:AT_ONCE])
    if keys:
        Listing.objects.filter(pk__in=keys).delete()
        index.forget(INSTRUCTION_KIND, keys)
        index.forget(KIND, keys)
    return len(keys)


def _has_bot() -> Exists:
    return Exists(Bot.objects.filter(pk=OuterRef("bot_id")))


def _due() -> QuerySet[Bot]:
    """Bots to be indexed, without those that wait for their next try."""
    for bot_id, until in list(_set_back.items()):
        if until <= time.monotonic():
            _set_back.pop(bot_id, None)
    due = Bot.objects.filter(is_indexed=False)
    return due.exclude(pk__in=list(_set_back)) if _set_back else due


def _index(bot_id: str) -> bool:
    """Indexes a bot. Returns False if it is not due, or if another transaction holds its row.

    The row stays locked, so that what is marked as indexed is what was read.
    """
    with yield_sqlite_lock(), transaction.atomic():
        rows = Bot.objects.filter(pk=bot_id, is_indexed=False).select_for_update(skip_locked=True)
        bot = rows.only("pk", "title", "description", "instruction", "owner_id", "scope").first()
        if bot is None:
            return False
        listing, _ = Listing.objects.update_or_create(
            bot_id=bot.pk,
            defaults={"is_everybodys": bot.scope == Scope.ALL},
            create_defaults={"is_everybodys": bot.scope == Scope.ALL, "lot": lot_of(bot.pk)},
        )
        Bot.objects.filter(pk=bot_id).update(is_indexed=True)
        for group, documents in groups_of(listing.pk, bot):
            index.write_anew(group, documents)
        return True


def groups_of(number: int, bot: Bot) -> list[tuple[Group, list[Document]]]:
    """The bot as groups of the index, with their documents. `number` is the key of its listing."""
    described = f"{bot.title}\n{bot.description}"
    readers = (_user(bot.owner_id),) if bot.scope == Scope.PRIVATE else (_user(bot.owner_id), SHARED)
    vocabulary = VOCABULARY if bot.scope == Scope.ALL else None
    return [
        (
            Group(KIND, number, scopes=tuple(_scopes(bot)), vocabulary=vocabulary),
            [Document(HEADING, bot.title), Document(DESCRIPTION, described)],
        ),
        (
            Group(INSTRUCTION_KIND, number, scopes=readers, vocabulary=None),
            [Document(INSTRUCTION, f"{described}\n{bot.instruction}")],
        ),
    ]


def _scopes(bot: Bot) -> Iterator[str]:
    yield _user(bot.owner_id)
    if bot.scope != Scope.PRIVATE:
        yield SHARED
    if bot.scope == Scope.ALL:
        yield EVERYBODY
    elif bot.scope == Scope.PARTIAL:
        for grantee_kind, grantee in BotGrant.objects.filter(bot=bot).values_list("kind", "grantee"):
            yield f"{grantee_kind}:{grantee}"


def _user(user_id: str | None) -> str:
    return f"user:{user_id}"


def _group(name: str) -> str:
    return f"group:{name}"
