"""Fills the search bench's database, in the server's environment: `fill_search USERS MESSAGES SAMPLED`.

Prints one JSON line: the language and a token of each sampled user. The more a user has written, the more likely they
are drawn.
"""

import json
import random
import sys
import time
from collections.abc import Iterator

import django

django.setup()

from django.core.management.color import no_style  # noqa: E402
from django.db import connection  # noqa: E402
from django.db.models import F, Model  # noqa: E402
from django.utils import timezone  # noqa: E402

from bedrock_chat.identity import local  # noqa: E402
from bedrock_chat.identity.models import User  # noqa: E402
from bedrock_chat.search import index, vocabulary  # noqa: E402
from bedrock_chat.search.models import SearchDocument  # noqa: E402
from conversations.models import Conversation, Message  # noqa: E402
from conversations.search import indexing  # noqa: E402
from tests import build  # noqa: E402
from tests.bench import search_index  # noqa: E402
from tests.bench.languages import Language, languages  # noqa: E402

MESSAGES_EACH = 20
"""Messages in each conversation."""
BATCH = 250
"""Conversations written at once."""
GATHERED_WORDS = 2_000_000
"""Word counts that are gathered before they are written."""


def main() -> None:
    users, messages, sampled = (int(argument) for argument in sys.argv[1:])
    chance = random.Random(1)
    spoken = languages()
    people = [User(id=f"local:bench-{number:06}", username=f"bench-{number:06}") for number in range(users)]
    User.objects.bulk_create(people)
    prolific = [chance.lognormvariate(0, 1) for _ in people]
    definition = search_index.drop()
    written, started = 0, time.monotonic()
    for batch in _batches(people, prolific, spoken, messages // MESSAGES_EACH, chance):
        written += len(batch)
        print(f"{written * MESSAGES_EACH:,} messages, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    search_index.make(definition)
    Conversation.objects.update(indexed_at=F("updated_at"))
    sample = chance.choices(range(users), weights=prolific, k=sampled)
    print(
        json.dumps(
            [
                {"language": number % len(spoken), "token": local.issue_token(people[number].username)}
                for number in dict.fromkeys(sample)
            ]
        )
    )


def _batches(
    people: list[User], prolific: list[float], spoken: list[Language], conversations: int, chance: random.Random
) -> Iterator[list[Conversation]]:
    """Writes conversations with their messages and search documents, and yields them batch by batch.

    1. Draw an author for each conversation, so that each user's rows are spread over the tables as in production.
    2. Write the conversation, its messages, and the documents that indexing would make of them.
    3. Write the word counts once enough are gathered, and at the end.
    """
    now, key = timezone.now(), 1
    authors = chance.choices(range(len(people)), weights=prolific, k=conversations)
    change = vocabulary.Change()
    for start in range(0, conversations, BATCH):
        batch: list[Conversation] = []
        messages: list[Message] = []
        documents: list[SearchDocument] = []
        for number in range(start, min(start + BATCH, conversations)):
            person, language = people[authors[number]], spoken[authors[number] % len(spoken)]
            conversation = Conversation(
                pk=number + 1,
                external_id=f"bench-{number:08}",
                title=language.text(4, chance),
                user=person,
                model=build.MODEL,
                created_at=now,
                updated_at=now,
            )
            linear = build.linear(conversation, MESSAGES_EACH, key)
            key += MESSAGES_EACH
            for position, row in enumerate(linear):
                words = max(2, int(chance.lognormvariate(4.7 if position % 2 else 2.8, 0.8)))
                row.content = build.text(language.text(words, chance))
            scope = indexing.scope_of(person.pk)
            group = index.Group(indexing.KIND, conversation.pk, scopes=(scope,), vocabulary=scope)
            texts = [index.Document(index.HEADING, conversation.title)]
            texts += [index.Document(row.pk, row.content[0]["body"]) for row in linear]
            indexed_documents = index._rows(group, texts)
            for row in indexed_documents:
                vocabulary.count(change, row.vocabulary, row.words, 1)
            batch.append(conversation)
            messages += linear
            documents += indexed_documents
        Conversation.objects.bulk_create(batch)
        Message.objects.bulk_create(messages, batch_size=2000)
        SearchDocument.objects.bulk_create(documents, batch_size=2000)
        if len(change) > GATHERED_WORDS or start + BATCH >= conversations:
            vocabulary.apply(change)
            change.clear()
        yield batch
    _reset_sequences(Conversation, Message)


def _reset_sequences(*models: type[Model]) -> None:
    """Moves the sequences past the keys that the rows brought."""
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), models):
            cursor.execute(statement)


main()
