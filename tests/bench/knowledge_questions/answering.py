"""How often the passage that answers a question is among the first, in the server's environment, as one JSON line.

Three ways: by words and meaning together, as bots do it, by words alone and by meaning alone. The vectors are those of
the emulator, which knows 150 groups of words that mean the same.
"""

import json
from collections.abc import Callable

import django

django.setup()

from bedrock_chat.bedrock.emulator.embeddings import PLACES, vector_of  # noqa: E402
from bedrock_chat.search import fusion  # noqa: E402
from bedrock_chat.search.passages import searching as words  # noqa: E402
from bedrock_chat.search.vectors import searching as vectors  # noqa: E402
from tests.bench import knowledge_rows  # noqa: E402
from tests.bench.knowledge_questions.passages import Question, corpus  # noqa: E402

FIRST = (1, 5, 20)
Search = Callable[[str], list[int]]


def main() -> None:
    collected = corpus()
    bot = knowledge_rows.bot(list(collected.passages.items()), lambda text: vector_of(text, PLACES))
    total = len(collected.passages)

    def by_words(query: str) -> list[int]:
        return [key for key, _ in words.find(bot.scope, query, bot.live, total=total).hits]

    def by_meaning(query: str) -> list[int]:
        return [key for key, _ in vectors.nearest(bot.index, vector_of(query, PLACES))]

    def by_both(query: str) -> list[int]:
        vector = vector_of(query, PLACES)
        similar = dict(vectors.nearest(bot.index, vector))
        hits = words.find(bot.scope, query, bot.live, total=total)
        alone = [key for key, _ in hits.hits if key not in similar]
        similar |= vectors.similarities(bot.index, vector, alone)
        return [row.key for row in fusion.fuse(similar, hits)]

    ways: dict[str, Search] = {"hybrid": by_both, "words": by_words, "meaning": by_meaning}
    places = {
        way: [_place(search(question.text), question) for question in collected.questions]
        for way, search in ways.items()
    }
    parts = {
        "all": lambda question: True,
        "tuning": lambda question: not question.is_held_out,
        "heldOut": lambda question: question.is_held_out,
        "identifiers": lambda question: question.is_identifier,
    }
    figures = {
        part: {
            "questions": sum(map(belongs, collected.questions)),
            **{
                way: {
                    f"first{first}": sum(
                        place <= first
                        for place, question in zip(places[way], collected.questions, strict=True)
                        if belongs(question)
                    )
                    for first in FIRST
                }
                for way in ways
            },
        }
        for part, belongs in parts.items()
    }
    missed = [
        {"question": question.text, **{way: places[way][number] for way in ways}}
        for number, question in enumerate(collected.questions)
        if places["hybrid"][number] > FIRST[1] and not question.is_held_out
    ]
    print(json.dumps({"passages": total, **figures, "missedInTuning": missed}, ensure_ascii=False))


def _place(keys: list[int], question: Question) -> int:
    """The place of the answer, from 1; beyond all places where it is missing."""
    return keys.index(question.answer) + 1 if question.answer in keys else 10_000


main()
