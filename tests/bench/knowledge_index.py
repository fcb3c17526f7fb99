"""Fills and searches an index of knowledge, in the server's environment. Prints one JSON line.

`fill CHUNKS WORDED SMALL`: a bot of CHUNKS, the first WORDED of them with words, and one of SMALL. `search PLAN`: what
searches take once the bot was searched. `first PLAN`: what the first search of a process takes, and the memory kept.
"""

import itertools
import json
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import django

django.setup()

from django.db import connection, transaction  # noqa: E402

from bedrock_chat.search import fusion, index, vocabulary  # noqa: E402
from bedrock_chat.search.models import SearchDocument  # noqa: E402
from bedrock_chat.search.passages import indexing  # noqa: E402
from bedrock_chat.search.passages import searching as words  # noqa: E402
from bedrock_chat.search.vectors import cache, purging, quantising, writing  # noqa: E402
from bedrock_chat.search.vectors import searching as vectors  # noqa: E402
from bots.knowledge.models import Edition, KnowledgeIndex  # noqa: E402
from tests.bench import knowledge_rows, search_index  # noqa: E402
from tests.bench.knowledge_vectors import Nearest, blocks, clusters_of, queries  # noqa: E402
from tests.bench.languages import Language, languages  # noqa: E402

GROUP = 100
"""Chunks of a document."""
WORDS = 200
"""Words of a chunk."""
QUERIES = 60


def main() -> None:
    command, *arguments = sys.argv[1:]
    figures = {"fill": fill, "search": search, "first": first}[command](*arguments)
    print(json.dumps(figures))


# ---- Filling --------------------------------------------------------------------------------------------------------


def fill(chunks: str, worded: str, small: str) -> dict[str, Any]:
    """Two bots. What searching needs to know of them is the plan, which the other commands take."""
    nearest = Nearest(queries(QUERIES, int(chunks)))
    started = time.monotonic()
    large, groups = knowledge_rows.empty(-(-int(chunks) // GROUP))
    rate = _vectors(large.index, groups, int(chunks), seed=7, first_key=1, nearest=nearest)
    seconds = time.monotonic() - started
    little, little_groups = knowledge_rows.empty(-(-int(small) // GROUP))
    _vectors(little.index, little_groups, int(small), seed=8, first_key=int(chunks) + 1, nearest=None)
    _words(large.scope, groups, int(worded))
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    plan = {
        "large": [large.scope, large.index, int(chunks), int(worded)],
        "small": [little.scope, little.index, int(small)],
        "nearest": nearest.keys(),
    }
    return {"plan": plan, "vectorsPerSecond": rate, "vectorsS": round(seconds, 1)}


def _vectors(
    index_id: int, groups: list[int], count: int, *, seed: int, first_key: int, nearest: Nearest | None
) -> int:
    """Writes vectors as a sync does, a document in a transaction. Returns how many a second, packing included."""
    key, place, spent = first_key, 0, 0.0
    for block in blocks(count, seed, clusters_of(count)):
        keys = list(range(key, key + len(block)))
        if nearest is not None:
            nearest.show(block, keys)
        started = time.monotonic()
        packed = quantising.quantise(block)
        for start in range(0, len(block), GROUP):
            end = start + GROUP
            writing.write(index_id, groups[place], list(zip(keys[start:end], packed[start:end], strict=True)))
            place += 1
        spent += time.monotonic() - started
        key += len(block)
    for start in range(0, len(groups), 500):
        writing.publish(index_id, show=groups[start : start + 500])
    return round(count / max(spent, 1e-9))


def _words(scope: int, groups: list[int], count: int) -> None:
    """Writes the words of the first chunks at once: cut as a sync cuts them, in fewer statements."""
    spoken, chance = languages(), random.Random(3)
    change, number = vocabulary.Change(), vocabulary.number(indexing.vocabulary_of(scope))
    definition = search_index.drop()
    for start in range(0, count, 2_000):
        rows = []
        for key in range(start + 1, min(start + 2_000, count) + 1):
            group = groups[(key - 1) // GROUP]
            passage = index.prepare(key, _language(spoken, key).text(WORDS, chance))
            marks = indexing._sample_marks(scope, passage) if indexing.is_sampled(key) else ""
            change.update((number, word) for word in passage.counted)
            terms = [indexing.scope_mark(scope), marks, passage.firsts]
            rows.append(
                SearchDocument(
                    kind=indexing.KIND,
                    group_id=group,
                    key=key,
                    vocabulary=number,
                    terms=" ".join(filter(None, terms)),
                    words=passage.words,
                )
            )
        SearchDocument.objects.bulk_create(rows, batch_size=2_000)
        print(f"words of {start + len(rows):,} chunks", file=sys.stderr, flush=True)
    vocabulary.apply(change)
    search_index.make(definition)


def _language(spoken: list[Language], key: int) -> Language:
    """Three of four chunks are in a language with blanks, one in one like Japanese."""
    return spoken[2] if key % 4 == 0 else spoken[0]


# ---- Searching ------------------------------------------------------------------------------------------------------


def search(plan_file: str) -> dict[str, Any]:
    """Each way of searching, warm: what it took and how near it is to exact numbers."""
    plan = json.loads(Path(plan_file).read_text())
    scope, index_id, _, worded = plan["large"]
    vectors_of_queries = queries(QUERIES, plan["large"][2]).tolist()
    live = Edition.objects.live(index_id)
    texts = _questions()

    def by_meaning(number: int) -> list[tuple[int, float]]:
        return vectors.nearest(index_id, vectors_of_queries[number])

    def by_words(number: int) -> fusion.Words:
        return words.find(scope, texts[number], live, total=worded)

    def by_both(number: int) -> list[fusion.Fused]:
        similar = dict(by_meaning(number))
        hits = by_words(number)
        alone = [key for key, _ in hits.hits if key not in similar]
        return fusion.fuse(similar | vectors.similarities(index_id, vectors_of_queries[number], alone), hits)

    ten_nearest = [{key for key, _ in by_meaning(number)[:10]} for number in range(QUERIES)]
    recall = statistics.mean(
        len(keys & set(exact)) / 10 for keys, exact in zip(ten_nearest, plan["nearest"], strict=True)
    )
    ways: dict[str, Callable[[int], object]] = {"meaning": by_meaning}
    if worded:
        ways |= {"words": by_words, "hybrid": by_both}
    figures = {name: _timed(way) for name, way in ways.items()}
    return {"recallAt10": round(recall, 4), **figures, "small": _small(plan), "transactions": _transactions(plan)}


def _small(plan: dict[str, Any]) -> dict[str, float]:
    """Searches of the small bot with nothing of it in memory."""
    vectors_of_queries = queries(QUERIES, plan["large"][2]).tolist()
    _, small, _ = plan["small"]

    def from_nothing(number: int) -> object:
        cache.shared().clear()
        return vectors.nearest(small, vectors_of_queries[number])

    return _timed(from_nothing)


def _transactions(plan: dict[str, Any]) -> dict[str, dict[str, float]]:
    """What single transactions of a sync and of a purge take: 8 passages' words, 96 vectors, 1,000 vectors removed."""
    scope, small, count = plan["small"]
    spoken, chance, first = languages(), random.Random(5), 10_000_000
    group = Edition.objects.filter(index_id=small).values_list("pk", flat=True)[0]
    parts = [
        part
        for language in (spoken[0], spoken[2])
        for part in indexing.prepare(
            (first + n, language.text(WORDS, chance))
            for n in range(8 * QUERIES * spoken.index(language), 8 * QUERIES * (spoken.index(language) + 1))
        ).parts()
    ]
    packed = quantising.quantise(queries(96, plan["large"][2]))
    keys = itertools.count(first)
    removals = min(count // 1_000, QUERIES)
    return {
        "words": _each(parts[:QUERIES], lambda part: indexing.write(scope, group, part)),
        "japaneseWords": _each(parts[QUERIES:], lambda part: indexing.write(scope, group, part)),
        "wordsRemoved": _each(parts, lambda part: indexing.remove(scope, group)),
        "vectors": _each(
            range(QUERIES), lambda _: writing.write(small, group, [(next(keys), vector) for vector in packed])
        ),
        "vectorsRemoved": _each(range(removals), lambda _: purging.purge_index(small)),
    }


def _each(parts: Iterable[Any], write: Callable[[Any], object]) -> dict[str, float]:
    """The times of a transaction for each part."""
    times = []
    for part in parts:
        started = time.perf_counter()
        with transaction.atomic():
            write(part)
        times.append((time.perf_counter() - started) * 1e3)
    times.sort()
    return (
        {"p50Ms": round(times[len(times) // 2], 1), "p95Ms": round(times[int(len(times) * 0.95)], 1)} if times else {}
    )


def _timed(call: Callable[[int], object]) -> dict[str, float]:
    for number in range(3):
        call(number)
    times, cpu = [], time.thread_time()
    for number in range(QUERIES):
        started = time.perf_counter()
        call(number)
        times.append((time.perf_counter() - started) * 1e3)
    times.sort()
    used = (time.thread_time() - cpu) / QUERIES * 1e3
    return {
        "p50Ms": round(times[len(times) // 2], 1),
        "p95Ms": round(times[int(len(times) * 0.95)], 1),
        "cpuMs": round(used, 1),
    }


def _questions() -> list[str]:
    """Questions of three to ten words, as frequent as in the chunks, some with a typo or an identifier."""
    spoken, chance = languages(), random.Random(4)
    texts = []
    for number in range(QUERIES):
        text = _language(spoken, number).text(chance.randint(3, 10), chance)
        if number % 10 == 7:
            text += " qxkuv"
        if number % 10 == 3:
            text += " ZX-81-4"
        texts.append(text)
    return texts


def first(plan_file: str) -> dict[str, Any]:
    """The first search of the large bot in a process that has searched the small one, and the memory that it keeps."""
    plan = json.loads(Path(plan_file).read_text())
    vectors_of_queries = queries(2, plan["large"][2]).tolist()
    vectors.nearest(plan["small"][1], vectors_of_queries[0])
    cache.shared().clear()
    before = _resident()
    started = time.perf_counter()
    vectors.nearest(plan["large"][1], vectors_of_queries[1])
    seconds = time.perf_counter() - started
    return {
        "s": round(seconds, 2),
        "keptMB": round((_resident() - before) / 1e6, 1),
        "bitsMB": round(cache.shared().size / 1e6, 1),
        "peakMB": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 1e6, 1),
        "indexes": KnowledgeIndex.objects.count(),
    }


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


main()
