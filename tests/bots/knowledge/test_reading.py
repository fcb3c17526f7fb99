"""What is read of documents of every type, in English, German and Japanese."""

import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.knowledge.reading.building import without_text
from bots.knowledge.reading.cleaning import clean
from bots.knowledge.reading.kinds import KINDS, kind_of_name
from bots.knowledge.reading.pages import Heading, Page, Reading, Unreadable, dump, load
from bots.knowledge.reading.pdf_lines import joined_lines
from tests.bots.knowledge import documents
from tests.bots.knowledge.conftest import Read
from tests.bots.knowledge.old_excel import xls

EN = "Employees may take twenty days of leave."
DE = "Für größere Ausgaben genügt eine Übersicht der Geschäftsführung."
JA = "有給休暇は年間二十日です。申請は前日までに行ってください。"


def test_a_type_is_told_by_the_name() -> None:
    names = [
        "a.TXT",
        "b.md",
        "c.csv",
        "d.tsv",
        "e.json",
        "f.htm",
        "g.pdf",
        "h.docx",
        "i.xlsx",
        "j.xls",
        "k.ods",
        "l.pptx",
        "m.rtf",
    ]
    assert {kind_of_name(name) for name in names} == KINDS
    assert [kind_of_name(name) for name in ("a.exe", "pdf", "a.", "", "a.pdf.zip", "a.doc")] == [None] * 6


def test_pages_of_a_pdf_keep_their_numbers(read: Read) -> None:
    reading = read("a.pdf", documents.pdf([EN, None, DE, JA], title="Handbook"))
    assert [(page.number, page.text) for page in reading.pages] == [(1, EN), (3, DE), (4, JA)]
    assert (reading.title, reading.note, reading.empty_pages) == ("Handbook", "page 2 holds no text.", (2,))


def test_what_a_pdf_lacks_is_told(read: Read) -> None:
    reading = read("a.pdf", documents.pdf([EN, *[None] * 12, EN], picture=True))
    assert reading.note == "pages 2–13 hold no text."
    for body, sentence in (
        (documents.pdf([None] * 12, picture=True), "12 pages hold no text; choose a parsing model."),
        (documents.pdf([None]), "page 1 holds no text; choose a parsing model."),
        (documents.pdf([EN], password=True), "this file needs a password."),
        (documents.pdf([EN])[:300], "this file is damaged."),
    ):
        with pytest.raises(Unreadable) as raised:
            read("a.pdf", body)
        assert raised.value.sentence == sentence
    with pytest.raises(Unreadable) as raised:
        read("a.pdf", documents.pdf([None, "7", None], picture=True))
    assert raised.value.reading.empty_pages == (1, 2, 3), "a scan with a number on it holds no text"


def test_pages_without_text_are_named_in_ranges() -> None:
    assert without_text([3]) == "page 3 holds no text"
    assert without_text([1, 3, 4, 5, 9]) == "pages 1, 3–5 and 9 hold no text"
    assert without_text(range(1, 40, 2)) == "20 pages hold no text, the first of them 1"


def test_lines_of_a_pdf_become_paragraphs_and_lists_stay_lists() -> None:
    prose = (
        "Employees who have worked for a year may take\ntwenty days of leave, which they ask for on the\nday before."
    )
    assert joined_lines(prose) == (
        "Employees who have worked for a year may take twenty days of leave, which they ask for on the day before."
    )
    japanese = "有給休暇は年間二十日ですが、入社の翌月から使うことが\nでき、申請は前日までに行う。\n終わり。"
    assert (
        joined_lines(japanese).split("\n")[0]
        == "有給休暇は年間二十日ですが、入社の翌月から使うことができ、申請は前日までに行う。"
    )
    items = "The following things are needed by all of them:\n- a form of the office\n- a pen\nName Price\nBolt 3"
    assert joined_lines(items) == items


def test_word_keeps_headings_and_tables_in_their_place(read: Read, tmp_path: Path) -> None:
    blocks = [("Heading 1", "Leave"), ("Normal", EN), ("table", [["Years", "Days"], ["1", "20"]]),
              ("Heading 2", "Ausgaben"), ("Normal", DE), ("List Bullet", JA)]  # fmt: skip
    documents.docx(tmp_path / "a.docx", blocks, title="Handbook")
    reading = read("a.docx")
    [page] = reading.pages
    assert reading.title == "Handbook"
    assert page.text == f"Leave\n\n{EN}\n\nYears | Days\n1 | 20\n\nAusgaben\n\n{DE}\n\n- {JA}"
    assert [(heading.level, page.text[heading.offset :].split("\n")[0]) for heading in page.headings] == [
        (1, "Leave"),
        (2, "Ausgaben"),
    ]


def test_sheets_are_rows_that_say_of_which_column_they_are(read: Read, tmp_path: Path) -> None:
    documents.xlsx(tmp_path / "a.xlsx", {"Stock": [["Prices of May"], [], ["Name", "Price"], ["Bolt", 3], ["Nut", 4.5]],
                                         "空": [], "在庫": [["名前", "数"], ["ねじ", 1200]]})  # fmt: skip
    sheets = {page.name: page.text for page in read("a.xlsx").pages}
    assert sheets == {
        "Stock": "Prices of May\nName: Bolt; Price: 3\nName: Nut; Price: 4.5",
        "在庫": "名前: ねじ; 数: 1200",
    }
    documents.ods(tmp_path / "a.ods", {"Lager": [["Name", "Ort"], ["Schraube", "Köln"]]})
    assert [(page.name, page.text) for page in read("a.ods").pages] == [("Lager", "Name: Schraube; Ort: Köln")]
    old = read("a.xls", xls("Lager", [["Name", "在庫"], ["Größe 3", 1200.0]]))
    assert [(page.name, page.text) for page in old.pages] == [("Lager", "Name: Größe 3; 在庫: 1200")]
    assert read("a.csv", "name;price\nBolt;3\n").pages[0].text == "name: Bolt; price: 3"
    assert read("a.tsv", "name\tprice\nBolt, large\t3,5\n").pages[0].text == "name: Bolt, large; price: 3,5"
    assert (
        read("b.csv", 'name,note\nBolt,"two\nlines"\nNut,\n').pages[0].text == "name: Bolt; note: two lines\nname: Nut"
    )


def test_slides_are_pages_with_their_notes(read: Read, tmp_path: Path) -> None:
    documents.pptx(tmp_path / "a.pptx", [("Leave", EN, "Say this."), ("", "", ""), ("休暇", JA, "")])
    pages = read("a.pptx").pages
    assert [(page.number, page.text) for page in pages] == [
        (1, f"Leave\n\n{EN}\n\nNotes: Say this."),
        (3, f"休暇\n\n{JA}"),
    ]
    assert pages[1].headings == (Heading(0, 1, "休暇"),)


def test_text_markdown_json_and_rtf(read: Read) -> None:
    assert read("a.txt", f"{EN}\r\n\r\n\r\n\r\n{DE}  \n").pages[0].text == f"{EN}\n\n{DE}"
    reading = read("a.md", "# Leave *now*\n\ntext\n\n```\n# code\n```\n\nDays\n----\n\n| a |\n---\n")
    assert [(heading.level, heading.text) for heading in reading.pages[0].headings] == [(1, "Leave now"), (2, "Days")]
    assert reading.title == "Leave now"
    assert read("a.json", '{"days": 20}').pages[0].text == '{"days": 20}'
    rtf = r"{\rtf1\ansi\ansicpg1252 F\'fcr {\b alle}\par{\pict\pngblip 89504e}\u26377?\par}"
    assert read("a.rtf", rtf).pages[0].text == "Für alle\n有"


@pytest.mark.parametrize(
    ("text", "charset"),
    [
        (DE, "latin-1"),
        (JA, "shift_jis"),
        (JA, "euc_jp"),
        (JA, "iso2022_jp"),
        (DE, "utf-16"),
        (EN, "utf-16-le"),
        (JA, "utf-8-sig"),
    ],
)
def test_a_charset_that_nobody_declared_is_found(read: Read, text: str, charset: str) -> None:
    assert read("a.txt", text.encode(charset)).pages[0].text == text


def test_a_declared_charset_counts_if_it_fits(read: Read) -> None:
    polish = "Zażółć gęślą jaźń, proszę państwa."
    assert read("a.txt", polish.encode("iso8859-2"), charset="ISO-8859-2").pages[0].text == polish
    assert read("a.txt", JA, charset="ascii").pages[0].text == JA
    assert read("a.txt", DE, charset="hex").pages[0].text == DE
    for codec in ("punycode", "Unicode-Escape", "raw_unicode_escape", "UTF-7", "idna"):
        text = "a-z +AGE- C:\\new"
        assert read("a.txt", text, charset=codec).pages[0].text == text, "no codec of Python's own is a charset"
    page = f'<html><head><meta charset="euc-jp"></head><body><p>{JA}</p></body></html>'
    assert read("a.html", page.encode("euc_jp")).pages[0].text == JA


def test_what_nobody_sees_goes() -> None:
    assert clean("a\0b\u202ec\u200bd\ud800e\ufefff\u2066g\U000e0041h\x1bi\u00adj") == "abcdefghij"
    assert clean("می\u200cخواهم क्\u200dष a\u200db\u200c 👩\u200d💻 c\u3164") == "می\u200cخواهم क्\u200dष ab 👩\u200d💻 c"
    assert clean("a\r\nb\rc\u2028d\x0ce\u3000 \n\n\n\nf\xa0g") == "a\nb\nc\nd\ne\n\nf g"


PAGE = f"""<!DOCTYPE html><html><head><title>Leave – Handbook</title><base href="/docs/">
<meta name="ROBOTS" content="NoIndex, follow"><link rel="canonical" href="leave"></head><body>
<nav><a href="/menu">Menu of the site</a> <a href="/menu#top">Menu</a></nav><main><h1>Leave</h1><p>{EN * 4}</p>
<h2>Ausgaben</h2><p>{DE * 3}</p><table><tr><th>Years</th><th>Days</th></tr><tr><td>1</td><td>20</td></tr></table>
<a href="b?x=1&amp;a=2">b</a><a rel="nofollow" href="/c">c</a><a href="javascript:x()">d</a><a href="mailto:a@b.c">e</a>
<a href="http://[bad/">f</a><a href="https://other.example/a.pdf">g</a></main>
<footer>Footer of the site</footer></body></html>"""


def test_a_page_of_the_web_is_its_main_text_its_links_and_what_it_asks_of_robots(read: Read) -> None:
    reading = read("a.html", PAGE, url="https://x.example/start?q=1")
    [page] = reading.pages
    assert reading.title == "Leave – Handbook"
    assert EN in page.text
    assert "| 1 | 20 |" in page.text
    assert "of the site" not in page.text
    assert [(heading.level, heading.text) for heading in page.headings] == [(1, "Leave"), (2, "Ausgaben")]
    assert all(page.text[heading.offset :].startswith("#") for heading in page.headings)
    assert reading.links == (
        "https://x.example/menu",
        "https://x.example/docs/b?x=1&a=2",
        "https://other.example/a.pdf",
    )
    assert reading.canonical == "https://x.example/docs/leave"
    assert (reading.is_indexed, reading.is_followed) == (False, True)
    assert read("a.html", PAGE).links == ()


def test_a_page_with_little_text_is_not_its_menu(read: Read) -> None:
    page = (
        "<nav><ul><li><a href=/a>Products and more</a><li><a href=/b>About us</ul></nav>"
        "<form><div><h2>Hours</h2><p>9 to 5.<ul><li>Not on Sunday</ul></div></form>"
    )
    assert read("a.html", page).pages[0].text == "## Hours\n\n9 to 5.\n\n- Not on Sunday"


def test_a_page_made_by_javascript_says_so_and_keeps_its_links(read: Read) -> None:
    page = (
        '<html><head><title>App</title><script src="a.js"></script></head>'
        '<body><a href="/x"></a><div id="root"></div></body></html>'
    )
    with pytest.raises(Unreadable) as raised:
        read("a.html", page, url="https://x.example/")
    assert raised.value.sentence == "this page is made by JavaScript."
    assert raised.value.reading.links == ("https://x.example/x",)
    asks = "<body><script>x</script><noscript>Please enable JavaScript.</noscript><p>Loading</p></body>"
    for body, sentence in (
        (asks, "this page is made by JavaScript."),
        ("<body><nav>Menu</nav></body>", "this page holds no text."),
    ):
        with pytest.raises(Unreadable) as raised:
            read("a.html", body)
        assert raised.value.sentence == sentence


def test_a_file_is_what_its_name_says_or_is_not_read(read: Read, tmp_path: Path) -> None:
    documents.docx(tmp_path / "real.docx", [("Normal", EN)])
    word = (tmp_path / "real.docx").read_bytes()
    container = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
    for name, body, sentence in (
        ("a.pdf", "<!DOCTYPE html><html>Not found</html>", "this is HTML, though it says that it is a PDF."),
        ("a.html", documents.pdf([EN]), "this is a PDF, though it says that it is HTML."),
        ("a.xlsx", word, "this is a Word document, though it says that it is an Excel workbook."),
        ("a.csv", "<html><body>Sign in</body></html>", "this is HTML, though it says that it is CSV."),
        ("a.txt", b"\x89PNG\r\n\x1a\n" + bytes(50), "this is an image, though it says that it is plain text."),
        ("b.docx", word[: len(word) // 2], "this is a damaged zip archive, though it says that it is a Word document."),
        ("c.docx", container + "EncryptedPackage".encode("utf-16-le"), "this file needs a password."),
        ("d.docx", container, "this is a file of an old version of Office, though it says that it is a Word document."),
        ("e.docx", "Dear all", "this file is damaged, or is not a Word document."),
        ("f.xls", container, "this file is damaged."),
        ("g.txt", b"", "this file is empty."),
        ("h.txt", b" \n\t \x00\xe2\x80\x8b" + b"-" * 40, "this file holds no text."),
        ("i.txt", bytes(range(256)) * 20, "this file is not text, or its charset is not known."),
    ):  # fmt: skip
        with pytest.raises(Unreadable) as raised:
            read(name, body)
        assert (name, raised.value.sentence) == (name, sentence)


def test_a_limit_keeps_what_was_read_and_says_so(read: Read, tmp_path: Path) -> None:
    reading = read("a.txt", "word " * 1_000, most_characters=100)
    assert (len(reading.pages[0].text), reading.note) == (100, "only the first 100 characters were read.")
    reading = read("a.pdf", documents.pdf([EN, None, EN, EN]), most_pages=3)
    assert [page.number for page in reading.pages] == [1, 3]
    assert reading.note == "page 2 holds no text; only the first 3 of 4 pages were read."
    documents.xlsx(tmp_path / "a.xlsx", {str(number): [["a", "b"], ["1", "2"]] for number in range(5)})
    reading = read("a.xlsx", most_pages=2)
    assert [page.name for page in reading.pages] == ["0", "1"]
    assert reading.note == "only the first 2 pages were read."
    reading = read("a.md", "# One\n\ntext\n\n# Two\n\ntext", most_characters=10)
    assert [heading.text for heading in reading.pages[0].headings] == ["One"]


headings = st.builds(Heading, st.integers(0, 9), st.integers(1, 6), st.text("aé休", max_size=5))
pages = st.builds(
    Page, st.none() | st.integers(1, 9), st.text("aé休\n"), st.lists(headings, max_size=3).map(tuple), st.text("a")
)
readings = st.builds(
    Reading, st.lists(pages, max_size=4).map(tuple), st.text("aé"), st.text("b"),
    st.lists(st.integers(1, 9)).map(tuple), st.lists(st.text("c")).map(tuple), st.text("d"),
    st.booleans(), st.booleans(),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(readings)
def test_a_kept_reading_is_the_reading(reading: Reading) -> None:
    assert load(dump(reading)) == reading
    assert dump(load(dump(reading))) == dump(reading)


def test_bytes_that_are_no_reading_are_refused() -> None:
    kept = dump(Reading((Page(1, "x" * 10_000),)))
    for body in (b"", b"x", kept[:-5], zlib.compress(b"[]"), zlib.compress(b'{"pages": 3}'), zlib.compress(b"{")):
        with pytest.raises(ValueError, match="reading"):
            load(body)
    with pytest.raises(ValueError, match="too large"):
        load(kept, most_bytes=5_000)
