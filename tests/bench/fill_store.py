"""Fills the store bench's database, in the environment of the server: `fill_store BOTS`. Prints the callers' tokens.

Of 1,000 bots 600 are private, 390 shared with groups that no caller is in, 2 with one of the groups of those callers
who are in groups, and 8 with everybody. They are popular to any degree, whoever may see them.
"""

import json
import random
import sys
from datetime import timedelta

import django

django.setup()

from django.utils import timezone  # noqa: E402

from bedrock_chat.identity import local  # noqa: E402
from bedrock_chat.identity.models import User  # noqa: E402
from bots import popularity  # noqa: E402
from bots.configuration import DEFAULT_GENERATION_PARAMS  # noqa: E402
from bots.content import Content  # noqa: E402
from bots.models import Bot, BotAlias, BotGrant, Grantee, Scope  # noqa: E402
from store.models import Listing, lot_of  # noqa: E402
from tests.bench import search_index  # noqa: E402
from tests.bench.languages import languages  # noqa: E402
from tests.bench.progress import say  # noqa: E402
from tests.store import filling  # noqa: E402

BATCH = 1_000
OWNERS = 2_000
GROUPS = 200
"""Groups that the callers are in."""
OTHER_GROUPS = 500
LANGUAGES = languages()
PEOPLE = {"plain": (), "grouped": range(GROUPS), "admin": range(GROUPS), "prolific": range(GROUPS)}
"""Caller → the numbers of their groups. `admin` is in the group Admin besides; `prolific` owns every 100th bot."""


def main() -> None:
    count = int(sys.argv[1])
    chance = random.Random(13)
    callers = {name: local.local_user(name) for name in PEOPLE}
    owners = [User(id=f"local:owner-{number:05}", username=f"owner-{number:05}") for number in range(OWNERS)]
    User.objects.bulk_create(owners)
    definition = search_index.drop()
    for start in range(0, count, BATCH):
        numbers = range(start, min(start + BATCH, count))
        owner_of = {
            number: callers["prolific"].pk if number % 100 == 0 else chance.choice(owners).pk for number in numbers
        }
        _fill(numbers, owner_of, callers["grouped"], chance)
        say(f"{numbers.stop:,} bots")
    search_index.make(definition)
    groups = {name: [_group(number) for number in numbers] for name, numbers in PEOPLE.items()}
    groups["admin"].append("Admin")
    print(json.dumps({name: local.issue_token(name, groups[name]) for name in PEOPLE}))


def _fill(numbers: range, owner_of: dict[int, str], user: User, chance: random.Random) -> None:
    """Writes bots with their grants, listings and search documents, as sharing and indexing would."""
    now = timezone.now()
    configuration = {**Content().configuration, "generation_params": DEFAULT_GENERATION_PARAMS}
    bots, grants, listings, aliases = [], [], [], []
    for number in numbers:
        language, place = LANGUAGES[number % len(LANGUAGES)], number % 1_000
        scope = Scope.PRIVATE if place < 600 else Scope.PARTIAL if place < 992 else Scope.ALL
        bot = Bot(
            id=f"bench-{number:06}",
            owner_id=owner_of[number],
            title=language.text(chance.randint(1, 4), chance),
            description=language.text(chance.randint(5, 30), chance),
            instruction=language.text(chance.randint(20, 200), chance),
            configuration=configuration,
            scope=scope,
            created_at=now,
            updated_at=now,
        )
        bots.append(bot)
        if scope == Scope.PARTIAL:
            mine = place >= 990
            group = _group(number // 1_000 * 2 + place - 990) if mine else f"others-{chance.randrange(OTHER_GROUPS)}"
            grants.append(BotGrant(bot=bot, kind=Grantee.GROUP, grantee=group))
        listings.append(
            Listing(
                pk=number + 1,
                bot=bot,
                is_everybodys=scope == Scope.ALL,
                popularity=chance.lognormvariate(2, 1),
                last_used_at=now - timedelta(minutes=chance.randrange(10_000)),
                lot=lot_of(bot.pk),
            )
        )
        if place % 10 == 9:
            day = popularity.day_of(now) - chance.randrange(100)
            aliases.append(
                BotAlias(
                    user=user,
                    bot=bot,
                    bot_owner_id=bot.owner_id,
                    title=bot.title,
                    last_used_at=now,
                    uses=1,
                    popularity=popularity.of_day(day),
                    last_use_day=day,
                    created_at=now,
                )
            )
    Bot.objects.bulk_create(bots)
    BotGrant.objects.bulk_create(grants)
    BotAlias.objects.bulk_create(aliases)
    filling.write(listings)


def _group(number: int) -> str:
    return f"team-{number:03}"


main()
