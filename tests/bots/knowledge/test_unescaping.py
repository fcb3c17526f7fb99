r"""What a page says is found and shown as it says it: `my_name` and not `my\_name`."""

from html import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.knowledge.reading.plain import markdown_headings
from bots.knowledge.reading.unescaping import unescaped
from tests.bots.knowledge.conftest import Read

REST = "<p>" + "This page goes on for a while, as pages do, so that it is taken for an article. " * 4 + "</p>"
CODE = "def my_func(a_b):\n    path = 'C:\\\\temp\\\\*.txt'\n    # \\_ is kept \\* \\[x\\]\n    return a_b * 2"
FENCED = f"```\n{CODE}\n```"


def page_of(*blocks: str) -> str:
    return f"<html><head><title>T</title></head><body><article>{''.join(blocks)}{REST}</article></body></html>"


def test_of_a_page_its_words_its_code_and_its_marks_are_as_they_were(read: Read) -> None:
    blocks = (
        "<h1>The snake_case guide *</h1>",
        "<p>__init__.py, my_var_name, 2 * 3, [x], ~y~, `z`, &lt;tag&gt;, C:\\Users\\bob, C:\\_new, a+b.</p>",
        "<p>1. January</p><p># Not a heading</p><p>- dash</p><p>&gt; quoted</p><p>2) two</p>",
        "<p>Use <code>re.sub('\\_', x_y)</code> and <b>bold_text</b> here.</p>",
        f"<h2>[Section] _two_ a\\b</h2><pre><code>{escape(CODE)}</code></pre>",
        "<ul><li>item_one</li><li>3. item</li></ul><ol><li>first_x</li><li># second</li></ol>",
        "<table><tr><th>Key_name</th><th>Val|ue</th></tr><tr><td>a_b*c</td><td>C:\\d_e</td></tr></table>",
    )
    [page] = read("a.html", page_of(*blocks)).pages
    for part in (
        "__init__.py, my_var_name, 2 * 3, [x], ~y~, `z`, <tag>, C:\\Users\\bob, C:\\_new, a+b.",
        *("\n1. January\n", "\n# Not a heading\n", "\n- dash\n", "\n> quoted\n", "\n2) two\n"),
        "Use `re.sub('\\_', x_y)` and **bold_text** here.",
        FENCED,
        "- item_one\n- 3. item\n",
        "1. first_x\n2. # second\n",
        "| Key_name | Val\\|ue |\n|---|---|\n| a_b*c | C:\\d_e |",  # else the row would have three cells
    ):
        assert part in page.text
    headings = [(heading.level, heading.text) for heading in page.headings]
    assert headings == [(1, "The snake_case guide *"), (2, "[Section] _two_ a\\b")]
    assert [page.text[heading.offset :].partition("\n")[0] for heading in page.headings] == [
        "# The snake_case guide *",
        "## [Section] _two_ a\\b",
    ]


def test_pages_that_are_read_by_rules_have_no_escapes_and_lose_no_backslash(read: Read) -> None:
    [page] = read("a.html", "<html><body><p>A pattern: \\d+\\.\\_\\* of my_name</p></body></html>").pages
    assert page.text == "A pattern: \\d+\\.\\_\\* of my_name"


@pytest.mark.parametrize(
    ("escaped", "plain"),
    [
        (r"a\_b \\\_c \\ d\e \. \\", r"a_b \_c \\ d\e \. \\"),
        (r"`a\_b` ``c\_`d`` e\_f", r"`a\_b` ``c\_`d`` e_f"),
        ("````\n```\n\\_\n````\n\\_", "````\n```\n\\_\n````\n_"),
        (r"1\. a", "1. a"),
        (r"1\.5 a", r"1\.5 a"),
        (r"- \+ a", "- + a"),
        (r"\#hash", r"\#hash"),
        ("", ""),
    ],
)
def test_only_an_escape_is_taken_out(escaped: str, plain: str) -> None:
    assert unescaped(escaped, []) == (plain, [])


def test_headings_stay_at_their_lines() -> None:
    text = "# a\\_b\n\nc\\_d \\* e\n\n## f\\_g\n\nh\\_i\n\nj\\_k\n---"
    plain, headings = unescaped(text, markdown_headings(text))
    assert [(heading.level, heading.text) for heading in headings] == [(1, "a_b"), (2, "f_g"), (2, "j_k")]
    assert [plain[heading.offset :].partition("\n")[0] for heading in headings] == ["# a_b", "## f_g", "j_k"]


SIGNS = st.text(alphabet="ab1 *_`~[]<>#+-.|\\", min_size=1, max_size=30)


@settings(max_examples=60)
@given(SIGNS, SIGNS)
def test_whatever_signs_a_sentence_has_are_read_as_they_stand(signs: str, others: str) -> None:
    from lxml import html

    from bots.knowledge.reading.html import _main_text

    sentence = " ".join(f"Words {signs} and {others} words.".split())
    cut = "def x():\n" + "\n".join(f"    {part.strip()}x" for part in (signs, others))
    page = page_of(f"<p>{escape(sentence)}</p>", f"<pre><code>{escape(cut)}</code></pre>")
    text, _ = _main_text(html.document_fromstring(page), "")
    assert sentence in text
    assert cut in text


def test_a_long_run_of_backslashes_takes_little() -> None:
    long = "\\" * 1_000_001
    assert unescaped(f"{long}x {long}_", [])[0] == f"{long}x {long[:500_000]}_"
