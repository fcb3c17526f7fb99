"""Makes a title of a text: one line, without what models put around it, cut where readers would cut. All is pure."""

import json
import re
import unicodedata
from collections.abc import Iterator

LONGEST_TITLE = 100
"""Characters, and columns of a fixed-width font, in which Chinese, Japanese and Korean characters take two."""

LONGEST_APOLOGY = 20
"""Columns. A longer line that begins like an apology is not a title. A shorter one may be: `Sorry` is a song's."""

ELLIPSIS = "…"


def proposed(answer: str, instruction: str) -> str:
    """The title in a model's answer; empty if there is none.

    These are no titles: a text that repeats the instruction, data and tool calls, an apology or refusal, punctuation
    alone, and prose of more than twice a title's length.
    """
    text = _THOUGHTS.sub("", answer)
    if instruction[:40].casefold() in " ".join(text.split()).casefold() or _is_data(text):
        return ""
    title = next(_lines(text), "")
    return "" if _is_refusal(title) or _width(title) > 2 * LONGEST_TITLE else cut(title)


def beginning(text: str) -> str:
    """The beginning of a text as one line; empty if nothing of it is visible."""
    line = tidy(text[: 20 * LONGEST_TITLE])
    return cut(line) if _is_visible(line) else ""


def is_blank(title: str) -> bool:
    """Whether a reader would see nothing of it: blanks, and characters that are invisible."""
    return not _is_visible(tidy(title))


def tidy(text: str) -> str:
    """The text on one line, without control and formatting characters."""
    return " ".join("".join(map(_plain, unicodedata.normalize("NFC", text))).split())


# ---- What models put around a title ---------------------------------------------------------------------------------

_THOUGHTS = re.compile(r"<(think|thinking|reasoning|scratchpad)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_CALLS = re.compile(r"\s*<(?:antml:)?(?:function_calls?|invoke|tool_\w+|tool)\b", re.IGNORECASE)
_FENCE = re.compile(r"\A\s*```\w*\s*|\s*```\s*\Z")
_TAGS = re.compile(r"\A<(title|answer|output|response)>(.*?)(?:</\1>)?\Z", re.IGNORECASE)
_MARKUP = re.compile(r"\A(?:#{1,6}\s+|[-*+•·]\s+|\d{1,2}[.)]\s+|>\s+)")
_FULL_STOP = re.compile(r"(?<![.。．])[.。．]\Z")
_WORDS_FOR_TITLE = (
    "title|titel|titre|título|titulo|titolo|tytuł|titlu|název|otsikko|tittel|başlık|judul|tajuk|заголовок|название|тема"
    "|τίτλος|العنوان|عنوان|כותרת|शीर्षक|หัวข้อ|tiêu đề"
)
_LABEL = re.compile(
    r"\A[*_]{0,3}(?:(?:sure|certainly|of course|absolutely|okay|ok)\b[\s,.!–—-]*)?(?:here(?:['’]s|\s+is)\s+)?"
    r"(?:(?:an?|the|my|your|one|suggested|proposed|possible|suitable|short|concise|conversation|chat)\s+){0,4}"
    rf"(?:{_WORDS_FOR_TITLE})(?:\s+(?:for|of)\s[^:：]{{0,60}})?\s*[:：][*_]{{0,3}}"
    r"|\A.{0,8}?(?:タイトル|題名|件名|标题|標題|题目|題目|제목)(?:案|候補|建议|建議|은|는)?\s*[:：][*_]{0,3}",
    re.IGNORECASE,
)
_PAIRS = (
    *(("*" * stars, "*" * stars) for stars in (3, 2, 1)),
    ("__", "__"),
    ("_", "_"),
    ("`", "`"),
    ('"', '"'),
    ("“", "”"),
    ("„", "“"),
    ("„", "”"),
    ("”", "”"),
    ("«", "»"),
    ("»", "«"),
    ("‹", "›"),
    ("「", "」"),
    ("『", "』"),
    ("《", "》"),
    ("〈", "〉"),
    ("〝", "〟"),
    ("‘", "’"),
    ("‚", "‘"),
    ("'", "'"),
)


def _lines(text: str) -> Iterator[str]:
    """Yields the lines that may be a title, stripped by `_bare`.

    Lines that only announce the next line are left out, and so are lines of mere punctuation.
    """
    lines = [line for line in map(tidy, text.splitlines()) if not line.startswith("```")]
    for index, line in enumerate(lines):
        title = _bare(line)
        announces = title.endswith((":", "：")) and index + 1 < len(lines)
        if _says_something(title) and not announces:
            yield title


def _bare(line: str) -> str:
    """The line without markup, labels, quotation marks and full stop, which may stand inside one another."""
    before = ""
    while line != before:
        before = line
        line = _FULL_STOP.sub("", _MARKUP.sub("", line))
        if tagged := _TAGS.match(line):
            line = tagged[2]
        unwrapped = _unwrapped(line.strip()).strip()
        line = unwrapped if unwrapped != line else _LABEL.sub("", line).strip()
    return line


def _unwrapped(line: str) -> str:
    """The line without quotation marks or emphasis around all of it. `"Hamlet" and "Macbeth"` keeps its marks."""
    for opening, closing in _PAIRS:
        inner = line[len(opening) : -len(closing)]
        if not (inner and line.startswith(opening) and line.endswith(closing)):
            continue
        without_apostrophes = re.sub(r"(?<=\w)['’](?=\w)", "", inner)  # which are no quotation marks
        if opening not in without_apostrophes and closing not in without_apostrophes:
            return inner
    if line.startswith(('"', "“", "「", "『")) and not any(mark in line[1:] for mark in '"”」』'):
        return line[1:]  # the closing mark was cut off
    return line


# ---- Texts that are no title ----------------------------------------------------------------------------------------

_REFUSALS = re.compile(
    r"\A(?:"
    r"(?:i['’]?m|i am) (?:very |really |so |deeply )?(?:sorry|afraid|unable|not able|an? (?:ai|language model))"
    r"|i (?:can|could|wo|do|did) ?n['’]?o?t\b|i can['’]t\b|i (?:need|apologi[sz]e|see no)\b"
    r"|(?:sorry|apologies|my apologies|unfortunately)[,.!:;—–-]* (?:but |for |i\b|this|there|the conversation)"
    r"|as an? (?:ai|language model|assistant)"
    r"|there (?:is|was) no (?:conversation|subject|topic|title)"
    r"|(?:es )?tut mir leid|entschuldigung[,.]|leider (?:kann|ist|habe|gibt)|ich kann (?:leider )?(?:keine|nicht)"
    r"|(?:je suis )?désolée?[,.]|je ne peux pas|malheureusement"
    r"|lo siento|lamento|no puedo|lamentablemente|desculpe|sinto muito|não posso|infelizmente"
    r"|mi dispiace|non posso|purtroppo|przykro mi|przepraszam|het spijt me|helaas kan"
    r"|извините|простите|к сожалению|я не могу|üzgünüm|maalesef|maaf"
    r"|عذر[اً]|آسف|للأسف|מצטער|मुझे खेद|माफ़ कीजिए|ขออภัย|xin lỗi|rất tiếc"
    r"|申し訳|すみません|ごめんなさい|恐れ入りますが|残念ながら|抱歉|很抱歉|非常抱歉|对不起|對不起|我无法|我無法|作为一个"
    r"|죄송|미안|유감"
    r")",
    re.IGNORECASE,
)


def _is_refusal(title: str) -> bool:
    return _width(title) > LONGEST_APOLOGY and _REFUSALS.match(title) is not None


def _is_data(text: str) -> bool:
    """Whether the text is JSON, whole or cut off, or a tool call written out."""
    bare = _FENCE.sub("", text).strip()
    if _CALLS.match(bare) or re.match(r"\{\s*(?:[\"'}]|\Z)|\[\s*[\[{\"]", bare):
        return True
    if not bare.startswith(("[", "{")):
        return False
    try:
        json.loads(bare)
    except (ValueError, RecursionError):
        return False
    return True


def _says_something(title: str) -> bool:
    return any(character.isalnum() for character in title)


def _is_visible(line: str) -> bool:
    return any(unicodedata.category(character)[0] in "LNPS" for character in line)


# ---- Characters -----------------------------------------------------------------------------------------------------

_JOINERS = frozenset("\u200c\u200d")  # Persian and the scripts of India spell with them, emoji are made of them
_MARKS_OF_DIRECTION = frozenset("\u200e\u200f\u061c")
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # letters and symbols by category, but invisible


def _plain(character: str) -> str:
    """The character; a space for blanks and controls; nothing for characters that turn, hide or embed text."""
    if character.isascii() and character.isprintable():
        return character
    match unicodedata.category(character):
        case "Cc" | "Zl" | "Zp" | "Zs":
            return " "
        case "Cf":
            return character if character in _JOINERS | _MARKS_OF_DIRECTION else ""
        case "Cs":
            return "\ufffd"
    return " " if character in _BLANKS else character


def cut(line: str) -> str:
    """At most LONGEST_TITLE characters and columns, whole as readers see them, up to the end of a word where one is
    near. Characters are counted in reading order, so a line that runs from right to left loses its end too.
    """
    if len(line) <= LONGEST_TITLE and _width(line) <= LONGEST_TITLE:
        return line
    kept, columns = "", 0
    for cluster in _clusters(line):
        columns += _width(cluster)
        if columns >= LONGEST_TITLE or len(kept) + len(cluster) >= LONGEST_TITLE:
            break
        kept += cluster
    kept = kept or line[: LONGEST_TITLE - 1]  # a single letter with very many accents
    word_end = kept.rfind(" ")
    if word_end > len(kept) * 2 // 3 and not line[len(kept) : len(kept) + 1].isspace():
        kept = kept[:word_end]
    return kept.rstrip(" ,;:、，；：·–—-") + ELLIPSIS


def _clusters(line: str) -> Iterator[str]:
    """Yields what readers see as one character: a letter with its accents, a flag, an emoji with its tone, a family."""
    cluster = ""
    for character in line:
        if cluster and not _continues(cluster, character):
            yield cluster
            cluster = ""
        cluster += character
    if cluster:
        yield cluster


def _continues(cluster: str, character: str) -> bool:
    if character == "\u200d" or "\U0001f3fb" <= character <= "\U0001f3ff" or unicodedata.category(character)[0] == "M":
        return True
    if cluster[-1] == "\u200d":
        return not character.isspace()
    return len(cluster) == 1 and _is_flag_half(cluster) and _is_flag_half(character)


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _width(text: str) -> int:
    """The columns of a text. A cluster takes those of its widest character."""
    if text.isascii():
        return len(text)
    return sum(max(map(_columns, cluster)) for cluster in _clusters(text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
