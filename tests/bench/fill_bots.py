"""Adds bots to the bench's database, in the server's environment: `fill_bots USERNAME BOTS`.

They are somebody else's, shared with everybody, and the person has used each of them.
"""

import sys
from datetime import timedelta

import django

django.setup()

from django.utils import timezone  # noqa: E402

from bedrock_chat.identity import local  # noqa: E402
from bots.configuration import DEFAULT_GENERATION_PARAMS  # noqa: E402
from bots.content import Content  # noqa: E402
from bots.models import Bot, BotAlias, Scope  # noqa: E402

BATCH = 500


def main() -> None:
    username, count = sys.argv[1], int(sys.argv[2])
    user, owner, now = local.local_user(username), local.local_user("owner"), timezone.now()
    configuration = {**Content().configuration, "generation_params": DEFAULT_GENERATION_PARAMS}
    columns = {"instruction": "You are a baker.", "configuration": configuration, "scope": Scope.ALL}
    texts = [{"title": f"Bot {number}", "description": "Bakes bread. " * 10} for number in range(count)]
    Bot.objects.bulk_create(
        [
            Bot(id=f"bench-{number}", owner=owner, created_at=now, updated_at=now, **columns, **texts[number])
            for number in range(count)
        ],
        batch_size=BATCH,
    )
    BotAlias.objects.bulk_create(
        [
            BotAlias(
                user=user,
                bot_id=f"bench-{number}",
                bot_owner_id=owner.pk,
                created_at=now,
                last_used_at=now - timedelta(minutes=number),
                **texts[number],
            )
            for number in range(count)
        ],
        batch_size=BATCH,
    )


main()
