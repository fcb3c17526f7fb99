"""The index of each database: who finds what, and that nothing is left of what was removed."""

from collections.abc import Callable, Iterator

import pytest
from django.db import connection, transaction

from bedrock_chat.search import finding, index, lookup
from bedrock_chat.search.index import Document, Group
from bedrock_chat.search.models import SearchDocument, SearchWord
from bedrock_chat.search.ranking import Candidate
from tests.emptying import empty
from tests.traces import anything_of

pytestmark = [pytest.mark.django_db, pytest.mark.both]


def group(number: int, *scopes: str, kind: str = "note", vocabulary: str = "alice") -> Group:
    return Group(kind, number, scopes or ("alice",), vocabulary)


def find(query: str, *scopes: str, kind: str = "note", vocabulary: str = "alice") -> list[int]:
    return [hit.group for hit in finding.find(kind, scopes or ("alice",), vocabulary, query).hits]


def test_a_scope_finds_its_own_alone() -> None:
    index.write(group(1, "alice"), [Document(1, "a note of Alice's")])
    index.write(group(2, "bob"), [Document(2, "a note of Bob's")])
    index.write(group(3, "alice", "team"), [Document(3, "a note of the team's")])
    assert sorted(find("note", "alice")) == [1, 3]
    assert find("note", "bob") == [2]
    assert find("note", "team") == [3]
    assert sorted(find("note", "bob", "team")) == [2, 3]
    assert find("note", "carol") == []


def test_kinds_never_mix() -> None:
    index.write(group(1), [Document(1, "a note")])
    index.write(group(1, kind="bot"), [Document(1, "another note")])
    assert find("another note") == [1]  # one of the words is enough, since nothing holds both
    assert finding.find("bot", ["alice"], "alice", "another note").hits[0].keys == (1,)
    index.forget("bot", [1])
    assert find("note", kind="bot") == []
    assert find("note") == [1]


def test_no_name_of_a_scope_reaches_into_another() -> None:
    for number, scope in enumerate(["a", "a b", 'a" OR "b', "a' | 'b", ":heading", "*", ""], start=1):
        index.write(group(number, scope), [Document(1, "note")])
        assert find("note", scope) == [number]


def test_words_of_other_scopes_are_never_suggested() -> None:
    index.write(group(1, "bob", vocabulary="bob"), [Document(1, "the codename is xanadu")])
    index.write(group(2, "alice"), [Document(1, "the weather is fine")])
    assert find("xanada", "bob", vocabulary="bob") == [1]
    terms = finding.find("note", ["alice"], "alice", "xanada").terms
    assert "xanadu" not in str(terms)
    assert find("xana", "alice") == []


def test_a_correction_is_for_who_sees_the_vocabulary() -> None:
    index.write(group(1, "team", vocabulary="team"), [Document(1, "kubernetes")])
    assert find("kubernets", "team", vocabulary="team") == [1]
    assert find("kubernets", "team", vocabulary="alice") == []


def test_documents_are_added_to_a_group() -> None:
    index.write(group(1), [Document(1, "first")])
    index.write(group(1), [Document(2, "second"), Document(3, "?!")])
    assert find("first") == find("second") == [1]
    assert index.known(group(1)) == index.Known(3, {})  # 3 counts too, though it holds no word


def test_a_document_that_changed_is_found_as_it_is_now() -> None:
    index.write(group(1), [Document(0, "old heading"), Document(1, "text")])
    index.write(group(1), [Document(0, "fresh title")], replaced=[0])
    assert find("fresh") == find("text") == [1]
    assert find("heading") == find("headin") == []
    index.write(group(1), [Document(0, "")], replaced=[0])
    assert find("fresh") == []
    assert list(SearchWord.objects.values_list("word", flat=True)) == ["text"]


def test_what_is_not_settled_is_told() -> None:
    index.write(group(1), [Document(0, "title"), Document(1, "done"), Document(2, "going on", settled=False)])
    assert index.known(group(1)) == index.Known(2, {0: "title", 2: "going on"})
    index.settle(group(1), [2])
    assert index.known(group(1)) == index.Known(2, {0: "title"})
    assert index.known(group(2)) is index.NOTHING


def test_a_change_of_a_row_changes_the_index_with_it() -> None:
    index.write(group(1), [Document(1, "before")])
    SearchDocument.objects.update(words="after")
    assert find("after") == [1]
    assert find("before") == []


def test_what_is_rolled_back_is_not_indexed() -> None:
    with transaction.atomic():
        index.write(group(1), [Document(1, "never said")])
        assert find("never said") == [1]
        transaction.set_rollback(True)
    assert find("never said") == []


def test_a_forgotten_group_leaves_nothing() -> None:
    index.write(group(1), [Document(0, "secretheading"), Document(1, "secretword 秘密")])
    index.write(group(2), [Document(1, "innocent")])
    index.forget("note", [1])
    assert find("secretword") == find("secretwor") == find("秘密") == []
    assert find("innocent") == [2]
    assert list(SearchWord.objects.values_list("word", flat=True)) == ["innocent"]
    assert [place for place in anything_of("secret") if not place.startswith(lookup.INDEX)] == []


@pytest.mark.django_db(transaction=True)
def test_the_file_forgets_it_too_once_it_is_compacted() -> None:
    index.write(group(1), [Document(number, f"innocent number {number}") for number in range(1, 50)])
    index.write(group(2), [Document(1, "secretword")])
    index.forget("note", [2])
    index.compact()
    assert anything_of("secretword") == []
    assert find("innocent number 49") == [1]
    index.compact()  # and again, where there is nothing to do
    assert find("innocent number 49") == [1]


@pytest.mark.django_db(transaction=True)
def test_deleted_documents_are_found_no_more() -> None:
    index.write(group(1), [Document(1, "leftover")])
    empty()
    assert not SearchDocument.objects.exists()
    index.write(group(2), [Document(1, "leftover")])
    assert find("leftover") == [2]


def test_ranking_sees_the_newest_of_many_and_headings_besides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "NEWEST", 3)
    index.write(group(1), [Document(0, "frequent heading")])
    for number in range(2, 9):
        index.write(group(number), [Document(1, "frequent")])
    assert sorted(find("frequent")) == [1, 6, 7, 8]
    assert find("frequent")[0] == 1


def test_a_frequent_word_hides_no_rare_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "NEWEST", 2)
    monkeypatch.setattr(lookup, "FEWEST_PER_TERM", 1)
    index.write(group(1), [Document(1, "rare")])
    for number in range(2, 9):
        index.write(group(number), [Document(1, "frequent")])
    assert 1 in find("frequent rare")


@pytest.mark.parametrize(
    "text",
    [
        "word " * 100_000,
        " ".join(f"w{number}x" for number in range(60_000)),
        "東京" * 100_000,
        " ".join(chr(0x20000 + number) * 2 for number in range(40_000)),
        " ".join("é" * 60 + str(number) for number in range(30_000)),
        "x" * 1_000_000,
        "\u0e33" + "\u0e47" * 100_000,
        "beginning " + " ".join(f"\ufdfa{number}" for number in range(30_000)),
    ],
    ids=["one word", "many words", "no blanks", "rare characters", "long words", "no word", "marks", "ligatures"],
)
def test_a_text_of_any_length_can_be_indexed(text: str) -> None:
    index.write(group(1), [Document(1, text)])
    (beginning, *_) = text[:64].split()
    assert find(beginning[:2] if beginning.startswith("東") else beginning) == [1]
    index.forget("note", [1])
    assert not SearchDocument.objects.exists()


@pytest.mark.parametrize(
    "query",
    [
        "word " * 2000,
        "東" * 10_000,
        "a.b-" * 2500,
        " ".join(f"w{number}" for number in range(3000)),
        "\"'\\&|!<->():*^{}[]NEAR(a b)",
        "\ud800 \udfff",
        "👍" * 100,
        "ﷺ" * 1000,
        "e" + "\u0301" * 5000,
        "%s %(x)s %%",
    ],
)
def test_no_query_is_too_much(query: str) -> None:
    index.write(group(1), [Document(1, "words of a text, 東京")])
    finding.find("note", ["alice"], "alice", query)


@pytest.fixture
def counted() -> Iterator[Callable[[], int]]:
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        yield lambda: len(captured.captured_queries)


def test_a_word_that_is_found_costs_one_query(counted: Callable[[], int]) -> None:
    index.write(group(1), [Document(1, "found")])
    before = counted()
    find("found")
    assert counted() - before == 1
    find("unheard of")
    # The query as it stands; known words, completions, words of similar length; any of its words.
    assert counted() - before == 6


def test_words_without_a_vocabulary_are_found_and_serve_nobody() -> None:
    nobodys = Group("note", 1, ("alice",), None)
    index.write(nobodys, [Document(1, "the codename is xanadu")])
    assert find("xanadu") == [1]
    assert find("xanada") == []
    assert not SearchWord.objects.exists()
    index.write_anew(nobodys, [Document(1, "the codename is shangri")])
    index.forget("note", [1])
    assert not SearchWord.objects.exists()


def test_further_documents_match_in_whatever_scope_they_are_and_only_by_their_words() -> None:
    index.write(group(1, "bob"), [Document(1, "a note of Bob's")])
    index.write(group(2, "alice"), [Document(1, "a note of Alice's")])
    rows = SearchDocument.objects.values_list("pk", "group_id", "key", "words")
    also = [Candidate(*row) for row in rows]
    for query, expected in (("note", [1, 2]), ("bob", [1]), ("cat", [])):
        [reading, *_] = finding.readings(query, "alice")
        hits = finding.search("note", ["alice"], reading, also=also)
        assert sorted(hit.group for hit in hits) == expected
        assert all(hit.keys == (1,) for hit in hits)


def test_documents_weigh_what_their_keys_weigh() -> None:
    index.write(group(1), [Document(1, "a note")])
    index.write(group(2), [Document(2, "a note")])
    [reading, *_] = finding.readings("note", "alice")
    for weights, first in (({1: 2.0}, 1), ({2: 2.0}, 2)):
        assert finding.search("note", ["alice"], reading, weights=weights)[0].group == first
