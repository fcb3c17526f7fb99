"""Passages by their words: who finds what, what comes first, and what is left of what was removed."""

from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from bedrock_chat.search.fusion import Words
from bedrock_chat.search.models import SearchDocument, SearchWord
from bedrock_chat.search.passages import indexing, searching
from bedrock_chat.search.vectors.models import VectorIndex

pytestmark = [pytest.mark.django_db, pytest.mark.both]

ALICES, BOBS = 1, 2
"""Scopes: what Alice's bot knows, and Bob's."""
GROUP = 10


def write(scope: int, group: int, *texts: str, start: int = 1, live: bool = True) -> None:
    """Passages with keys from `start` on. Groups are live where a row of their number is; any table does for that."""
    for part in indexing.prepare(enumerate(texts, start=start)).parts():
        indexing.write(scope, group, part)
    if live:
        show(group)


def show(group: int) -> None:
    VectorIndex.objects.get_or_create(index_id=group, defaults={"version": 1, "dimensions": 64})


def hide(group: int) -> None:
    VectorIndex.objects.filter(index_id=group).delete()


def live() -> QuerySet[Any]:
    return VectorIndex.objects.all()


def find(query: str, scope: int = ALICES, *, total: int | None = None, limit: int = 200) -> Words:
    count = SearchDocument.objects.filter(kind=indexing.KIND).count() if total is None else total
    return searching.find(scope, query, live(), total=count, limit=limit)


def keys(query: str, scope: int = ALICES, **options: Any) -> list[int]:
    return [key for key, _ in find(query, scope, **options).hits]


def test_a_scope_finds_its_own_passages_alone() -> None:
    write(ALICES, 10, "the codename is xanadu", "holidays are in August")
    write(BOBS, 20, "the codename is bluebird", "holidays are in May", start=101)
    assert keys("codename") == [1]
    assert keys("codename", BOBS) == [101]
    assert keys("bluebird") == []
    assert keys("codename", 3) == []


def test_words_of_another_scope_correct_no_typo_and_weigh_nothing() -> None:
    write(BOBS, 20, *["kubernetes"] * 30)
    write(ALICES, 10, "a cluster", "a ship", start=101)
    assert keys("kubernets") == []
    before = find("cluster", total=2)
    write(BOBS, 21, *["cluster"] * 30, start=201)
    assert find("cluster", total=2) == before
    assert keys("kubernets", BOBS)


def test_two_words_of_ten_are_enough_and_rare_words_weigh_more() -> None:
    write(
        ALICES,
        10,
        "Refunds are paid within thirty days.",
        "The office opens at nine on all days.",
        "Parcels leave the office within two days.",
    )
    assert keys("How long until refunds are paid to my bank account, please?")[0] == 1
    assert keys("office parcels") == [3, 2]


def test_only_what_is_live_is_found() -> None:
    write(ALICES, 10, "the old rule of parking", start=1)
    write(ALICES, 11, "the new rule of parking", start=50, live=False)
    assert keys("parking rule") == [1]
    show(11)
    hide(10)
    assert keys("parking rule") == [50]
    assert searching.find(ALICES, "parking", live().none(), total=5) == Words()


def test_readings_out_of_sight_hide_no_live_passage() -> None:
    for group in range(11, 15):
        write(ALICES, group, *["the rule of parking"] * 8, start=group * 100, live=False)
    write(ALICES, 10, "the rule of parking", start=5000)
    assert keys("parking", limit=4, total=40) == [5000]


def test_a_typo_finds_what_was_meant_and_the_right_word_comes_first() -> None:
    write(ALICES, 10, "kubernetes runs the containers", "the weather is fine")
    assert keys("kubernets") == [1]
    write(ALICES, 11, "kubernets is how she writes it", start=11)
    assert keys("kubernets") == [11]


def test_frequent_words_draw_none_unless_there_are_no_others() -> None:
    write(ALICES, 10, *[f"the machine number{n}" for n in range(100)], "the walrus", start=1)
    assert keys("the machine walrus") == [101]
    assert len(keys("the machine")) == 101
    words = find("machine walrus number7")
    assert [key for key, _ in words.hits] == [8, 101]
    assert all(0 < score < words.attainable for _, score in words.hits)


def test_a_frequent_word_draws_no_more_than_the_limit_and_reads_no_more() -> None:
    write(ALICES, 10, *["the machine hums"] * 60)
    with CaptureQueriesContext(connection) as queries:
        assert len(keys("machine", limit=10, total=60)) == 10
    assert all("LIMIT" in query["sql"] for query in queries if "@@" in query["sql"] or "MATCH" in query["sql"])


def test_a_sample_tells_what_is_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are many passages, a frequent word is never counted in full."""
    monkeypatch.setattr(indexing, "SAMPLED", 4)
    monkeypatch.setattr(searching, "SAMPLED", 4)
    monkeypatch.setattr(searching, "FEWEST_SAMPLED", 10)
    write(ALICES, 10, *[f"the machine has part{n}" for n in range(200)])
    write(BOBS, 20, *["the walrus"] * 200, start=1001)
    with CaptureQueriesContext(connection) as queries:
        assert keys("the machine part17", total=200) == [18]
    counting = [query["sql"] for query in queries if "count(*)" in query["sql"]]
    assert [sql.count("count(*)") for sql in counting] == [3, 1]
    assert keys("the walrus", total=200)  # Bob's sample makes no word of Alice's frequent


def test_the_sample_is_spread_over_whatever_keys_there_are() -> None:
    for step in (1, 2, 4, 8, 64, 100):
        sampled = sum(indexing.is_sampled(key) for key in range(step, 64_000 * step, step))
        assert 900 <= sampled <= 1_100, step


def test_an_identifier_is_known_by_its_digits_its_length_and_its_rareness() -> None:
    write(
        ALICES,
        10,
        "Pump ZX-81-4 takes oil.",
        "Pump ZX-81-5 takes water; 4 of ZX and 81 are in stock.",
        "Invoice 104432 is paid.",
        *["Form 2024-1 is for all."] * 6,
    )
    assert find("Which oil takes the ZX-81-4?").identifiers == {1}
    assert find("zx 81 4 oil").identifiers == frozenset()  # three terms, each too short
    assert find("is 104432 paid").identifiers == {3}
    assert find("form 2024-1").identifiers == frozenset()  # in six passages
    assert find("pump and invoice").identifiers == frozenset()
    assert find("型番ZX-81-5の在庫は").identifiers == {2}


def test_an_identifier_is_among_the_hits_whatever_else_is_found() -> None:
    write(ALICES, 10, *[f"valve{n} of a pump" for n in range(30)], "model QR7-55 is a pump")
    words = find("pump qr7-55 " + " ".join(f"valve{n}" for n in range(30)), limit=5)
    assert 31 in words.identifiers & {key for key, _ in words.hits}


def test_languages_without_blanks_are_found_too() -> None:
    write(
        ALICES,
        10,
        "有給休暇は年に二十日です。",
        "駐車場は地下にあります。",
        "Größe und Gewicht der Pakete",
        "犬は入れません",
    )
    assert keys("休暇の日数")[0] == 1
    assert keys("駐車") == [2]
    assert keys("grösse") == [3]
    assert keys("犬") == [4]


@pytest.mark.parametrize("query", ["", "?!", "' OR 1=1 --", '"*" NEAR(', "a" * 5000, "& | ! :* <->"])
def test_no_query_is_an_error(query: str) -> None:
    write(ALICES, 10, "a note")
    assert 1 not in find(query).identifiers


def test_the_rest_of_a_very_long_query_does_not_count() -> None:
    write(ALICES, 10, "walrus")
    assert keys("x" * 1993 + " walrus") == [1]
    assert keys("x" * 1999 + " walrus") == []


def test_at_most_eight_are_written_at_once() -> None:
    prepared = indexing.prepare((n, f"text {n}") for n in range(20))
    assert [len(part.passages) for part in prepared.parts()] == [8, 8, 4]
    with pytest.raises(ValueError, match="20 passages at once: at most 8"):
        indexing.write(ALICES, 10, prepared)
    indexing.write(ALICES, 10, prepared.parts()[1])
    assert indexing.indexed(ALICES, 10) == list(range(8, 16))
    assert indexing.indexed(BOBS, 10) == []


def test_nothing_is_cut_within_the_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    (part,) = indexing.prepare([(1, "a walrus"), (2, "a seal")]).parts()
    monkeypatch.setattr("bedrock_chat.search.index.tokens", None)
    indexing.write(ALICES, 10, part)
    show(10)
    monkeypatch.undo()
    assert keys("walrus seal") == [1, 2]


def test_a_passage_without_words_takes_a_row_and_is_never_found() -> None:
    write(ALICES, 10, "?!", "word")
    assert indexing.indexed(ALICES, 10) == [1, 2]
    assert keys("word ?!") == [2]


def test_removal_ends_at_zero_eight_at_a_time() -> None:
    write(ALICES, 10, *[f"secretword number{n} 秘密" for n in range(130)])
    write(ALICES, 11, "secretword elsewhere", start=1001)
    write(BOBS, 20, "innocent", start=2001)
    assert not indexing.remove(BOBS, 10)
    steps = 1
    while indexing.remove(ALICES, 10):
        steps += 1
        assert SearchDocument.objects.filter(group_id=10).count() == 130 - 8 * (steps - 1)
    assert steps == 17
    assert keys("secretword") == [1001]
    assert SearchWord.objects.get(word="secretword").documents == 1
    indexing.remove(ALICES, 11)
    indexing.remove(BOBS, 20)
    assert SearchDocument.objects.count() == SearchWord.objects.count() == 0
    assert keys("secretword", total=10) == keys("秘密", total=10) == []


def test_a_search_takes_few_statements() -> None:
    write(ALICES, 10, *[f"holiday rule{n} of the office" for n in range(30)])
    with CaptureQueriesContext(connection) as queries:
        find("Which rule7 about a holiday and rule8 of the office, ZX-1234?")
    assert len(queries) <= 10
