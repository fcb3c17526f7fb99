"""Chunks: nothing is lost, offsets are true, sizes are kept, an edit stays local."""

import itertools
import math
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_chat.bedrock.text_tokens import text_tokens
from bots.knowledge.chunking import Chunk, Cut, cut, halves, sentences
from bots.knowledge.reading.cleaning import clean
from bots.knowledge.reading.pages import Heading, Page, Reading
from bots.knowledge.reading.plain import markdown_headings

COHERE = {"most_tokens": 512, "most_characters": 2_048}

words = st.text("abcdeé .!?", min_size=1, max_size=60) | st.text("有給休暇申請は。、\n", min_size=1, max_size=60)
lines = words | st.sampled_from(["# One", "## Two", "### Three", "", " ", "x" * 700, "休" * 700, "\u0301" * 40])
texts = st.lists(lines, max_size=60).map(lambda rows: clean("\n".join(rows)))


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    numbered = draw(st.booleans())
    pages = draw(st.lists(texts, max_size=4))
    return Reading(
        tuple(
            Page(
                number if numbered else None,
                text,
                tuple(markdown_headings(text)),
                "" if numbered else f"Sheet {number}",
            )
            for number, text in enumerate(pages, 1)
        )
    )


cuts = st.one_of(
    st.builds(Cut, max_tokens=st.integers(1, 400)),
    st.builds(
        Cut, st.just("fixed_size"), st.integers(1, 600), st.integers(1, 99),
        most_tokens=st.just(512), most_characters=st.just(2_048),
    ),
    st.builds(
        Cut, st.just("hierarchical"), st.integers(1, 200),
        max_parent_tokens=st.integers(1, 900), overlap_tokens=st.integers(1, 60),
    ),
    st.builds(
        Cut, st.just("semantic"), st.integers(1, 300),
        buffer_size=st.integers(0, 1), breakpoint_percentile=st.integers(50, 99),
    ),
    st.builds(Cut, st.just("none"), most_tokens=st.just(512), most_characters=st.just(2_048)),
)  # fmt: skip


def distances(texts: list[str]) -> list[float]:
    return [abs(math.sin(len(left) * 3 + len(right))) for left, right in itertools.pairwise(texts)]


def page_of(reading: Reading, chunk: Chunk) -> Page:
    """The page that a chunk is of: by its number, or by the sheet's name in its header."""
    if chunk.page is not None:
        return next(page for page in reading.pages if page.number == chunk.page)
    return next(page for page in reading.pages if page.name in chunk.header.split(" › ")[:2])


@settings(max_examples=40, deadline=None)
@given(readings(), cuts, st.sampled_from(["", "Handbook", "有給休暇の手引き" * 30]))
def test_nothing_is_lost_and_every_chunk_is_where_it_says(reading: Reading, setting: Cut, title: str) -> None:
    chunks = cut(reading, setting, title=title, distances=distances)

    assert [chunk.position for chunk in chunks] == list(range(len(chunks)))
    covered = {id(page): set() for page in reading.pages}
    for chunk in chunks:
        page = page_of(reading, chunk)
        assert page.text[chunk.start : chunk.end] == chunk.text
        assert chunk.text.strip() == chunk.text != ""
        if not chunk.is_parent:
            covered[id(page)].update(range(chunk.start, chunk.end))
            assert text_tokens(chunk.embedded) <= setting.most_tokens
            assert len(chunk.embedded) <= setting.most_characters
            assert setting.strategy == "none" or text_tokens(chunk.text) <= setting.max_tokens
    for page in reading.pages:
        left_out = (character for place, character in enumerate(page.text) if place not in covered[id(page)])
        assert "".join(left_out).strip() == ""
    assert cut(reading, setting, title=title, distances=distances) == chunks


@settings(max_examples=25, deadline=None)
@given(texts, st.integers(40, 400), st.integers(1, 60))
def test_chunks_overlap_by_no_more_than_was_asked_for(text: str, tokens: int, percentage: int) -> None:
    setting = Cut("fixed_size", tokens, percentage)
    overlap = tokens * percentage // 100
    for before, after in itertools.pairwise(cut(Reading((Page(None, text),)), setting, title="")):
        assert before.start < after.start < after.end
        assert before.end < after.end
        assert text_tokens(text[after.start : before.end]) <= overlap


def test_an_overlap_begins_with_a_sentence_where_one_fits_into_it_and_else_with_a_word() -> None:
    text = " ".join(f"This is the sentence with the number {number}." for number in range(200))
    chunks = cut(Reading((Page(None, text),)), Cut("fixed_size", 100, 30), title="")
    assert len(chunks) > 20
    assert all(chunk.text.startswith("This") and chunk.text.endswith(".") for chunk in chunks)
    assert all(before.end > after.start for before, after in itertools.pairwise(chunks))

    text = " ".join(f"word{number}" for number in range(2_000))
    chunks = cut(Reading((Page(None, text),)), Cut("fixed_size", 100, 30), title="")
    assert all(chunk.text.startswith("word") for chunk in chunks)
    overlaps = [text_tokens(text[after.start : before.end]) for before, after in itertools.pairwise(chunks)]
    assert min(overlaps) > 24
    assert max(overlaps) <= 30


@settings(max_examples=30, deadline=None)
@given(readings(), st.integers(1, 200), st.integers(1, 900), st.integers(1, 60))
def test_children_lie_within_their_parents(reading: Reading, child: int, parent: int, overlap: int) -> None:
    setting = Cut("hierarchical", child, max_parent_tokens=parent, overlap_tokens=overlap)
    chunks = cut(reading, setting, title="")
    for chunk in chunks:
        if chunk.is_parent:
            assert chunk.parent is None
            assert text_tokens(chunk.text) <= parent
            assert any(other.parent == chunk.position for other in chunks)
        else:
            assert chunk.parent is not None
            above = chunks[chunk.parent]
            assert above.is_parent
            assert above.page == chunk.page
            assert above.start <= chunk.start < chunk.end <= above.end


def test_pages_and_long_parts_under_headings_are_cut_by_themselves() -> None:
    long = "A sentence of the text here. " * 20
    text = clean(f"# One\n\n{long}\n\n## Two\n\nShort.\n\n## Three\n\n{long}\n\n### Deep\n\n{long}\n\n# Four\n\nEnd.")
    reading = Reading((Page(1, text, tuple(markdown_headings(text))), Page(2, "Another page.")))
    chunks = cut(reading, Cut(max_tokens=1_000), title="Handbook")
    assert [(chunk.page, chunk.text.split("\n")[0]) for chunk in chunks] == [
        (1, "# One"),
        (1, "## Two"),
        (2, "Another page."),
    ]
    assert [chunk.header for chunk in chunks] == ["Handbook", "Handbook › One", "Handbook"]
    assert chunks[1].text.endswith("End.")  # the last part is short, and goes with the one before
    deep = cut(reading, Cut(max_tokens=60), title="Handbook")[-3]
    assert deep.header == "Handbook › One › Three › Deep"


def test_an_edit_of_one_paragraph_renews_the_chunks_of_its_part_alone() -> None:
    choice = random.Random(7)

    def paragraph() -> str:
        return " ".join(f"{choice.choice('abcdefgh')}{number % 17} is the rule." for number in range(20))

    parts = [[paragraph() for _ in range(10)] for _ in range(30)]

    def chunks() -> set[str]:
        text = clean("\n\n".join(f"## Part {number}\n\n" + "\n\n".join(part) for number, part in enumerate(parts)))
        reading = Reading((Page(None, text, tuple(markdown_headings(text))),))
        return {chunk.digest for chunk in cut(reading, Cut(), title="Rules")}

    before = chunks()
    parts[3][5] = paragraph() + " And one more sentence."
    after = chunks()
    assert len(after) > 60
    assert 1 <= len(after - before) <= 5


def test_semantic_chunks_end_where_the_distance_exceeds_the_percentile() -> None:
    topics = [
        [f"Cats are animals of kind number {n}." for n in range(6)],
        [f"Taxes are due in the month {n}." for n in range(6)],
    ]
    reading = Reading((Page(None, " ".join(itertools.chain(*topics))),))
    setting = Cut("semantic", 300, buffer_size=0, breakpoint_percentile=95)
    batches: list[list[str]] = []

    def by_topic(texts: list[str]) -> list[float]:
        batches.append(texts)
        return [float(left[:4] != right[:4]) for left, right in itertools.pairwise(texts)]

    chunks = cut(reading, setting, title="", distances=by_topic)
    assert batches == [sentences(reading, setting)] == [[*topics[0], *topics[1]]]
    assert [chunk.text for chunk in chunks] == [" ".join(topic) for topic in topics]

    small = Cut("semantic", 30, buffer_size=1)
    assert sentences(reading, small)[1] == " ".join(topics[0][:3])
    assert all(text_tokens(chunk.text) <= 30 for chunk in cut(reading, small, title="", distances=distances))
    with pytest.raises(ValueError, match="distances"):
        cut(reading, setting, title="")
    with pytest.raises(ValueError, match="11 distances, not 3"):
        cut(reading, setting, title="", distances=lambda texts: [0.0] * 3)


def test_a_japanese_chunk_ends_with_its_sentence() -> None:
    text = "".join(f"第{number}条、有給休暇は前日までに申請しなければならない。" for number in range(300))
    chunks = cut(Reading((Page(None, text),)), Cut(), title="")
    assert len(chunks) > 15
    assert all(chunk.text.endswith("。") for chunk in chunks)


def test_without_chunking_a_document_is_windows_of_what_the_model_takes() -> None:
    text = "A sentence of the text here. " * 1_000
    chunks = cut(
        Reading((Page(None, text, (Heading(0, 1, "A"), Heading(9_000, 1, "B"))),)), Cut("none", **COHERE), title="T"
    )
    assert len(chunks) == 15
    assert all(chunk.parent is None and not chunk.is_parent for chunk in chunks)
    assert cut(Reading((Page(None, "Short."),)), Cut("none"), title="T")[0].embedded == "T\n\nShort."


def test_a_text_without_blanks_and_signs_takes_no_square_of_its_length() -> None:
    """Chinese characters at random: the splitter takes each for a word, and looks at all of them for each chunk."""
    chance = random.Random(1)
    reading = Reading((Page(None, "".join(chr(0x4E00 + chance.randrange(20_000)) for _ in range(40_000))),))
    begun = time.process_time()
    assert len(cut(reading, Cut(max_tokens=50), title="")) > 500
    assert time.process_time() - begun < 1.0


def test_a_title_and_a_path_are_cut_to_what_the_model_takes() -> None:
    headings = tuple(Heading(number, number, "heading " * 30) for number in range(1, 7))
    reading = Reading((Page(None, "#" * 10 + " text", headings),))
    [chunk] = cut(reading, Cut(**COHERE), title="t" * 5_000)
    assert len(chunk.header) <= 256
    last = cut(Reading((Page(None, "#" * 10 + " text" * 400, headings),)), Cut(max_tokens=20), title="Title")[-1]
    assert last.header.startswith("Title › heading")
    assert len(last.header) <= 300


def test_a_digest_changes_with_every_setting_and_with_the_title() -> None:
    settings_ = [
        Cut(),
        Cut(max_tokens=301),
        Cut("none"),
        Cut(most_tokens=512),
        Cut("semantic", buffer_size=1),
        Cut("semantic"),
    ]
    assert len({setting.digest for setting in settings_}) == len(settings_)
    assert Cut().digest == Cut().digest
    reading = Reading((Page(None, "Text."),))
    assert cut(reading, Cut(), title="A")[0].digest != cut(reading, Cut(), title="B")[0].digest


@settings(max_examples=30, deadline=None)
@given(texts.filter(lambda text: len(text) > 1))
def test_halves_are_the_text(text: str) -> None:
    first, second = halves(text)
    assert first + second == text
    assert first
    assert second


def test_halves_are_cut_between_sentences_or_words() -> None:
    assert halves("First it rains. Then it shines.") == ("First it rains. ", "Then it shines.")
    assert halves("one two three four") == ("one two ", "three four")
    with pytest.raises(ValueError, match="no halves"):
        halves("x")
