"""Which replies of a model make a title, which do not, and where a long title is cut."""

import unicodedata

import pytest

from conversations.titles.cleaning import beginning, cut, proposed, tidy
from conversations.titles.proposing import INSTRUCTION


def title(reply: str) -> str:
    return proposed(reply, INSTRUCTION)


@pytest.mark.parametrize(
    "reply",
    [
        "Brot backen",
        "Brot backen.",
        " \n\n  Brot   backen \n",
        '"Brot backen."',
        "“Brot backen”",
        "„Brot backen“",
        "«Brot backen»",
        "'Brot backen'",
        "『Brot backen』",
        "**Brot backen**",
        "***Brot backen***",
        "_Brot backen_",
        "`Brot backen`",
        "# Brot backen",
        "### **Brot backen**",
        "- Brot backen",
        "1. Brot backen\n2. Sauerteig",
        "> Brot backen",
        "Title: Brot backen",
        "title：Brot backen",
        "**Title:** Brot backen",
        "**Title: Brot backen**",
        '# Title: "Brot backen."',
        "Titel: Brot backen",
        "Titre : « Brot backen »",
        "Título: Brot backen",
        "Название: «Brot backen»",
        "タイトル：「Brot backen」",
        "会話のタイトル: Brot backen",
        "标题：Brot backen",
        "标题建议：《Brot backen》",
        "제목: Brot backen",
        "Suggested title: Brot backen",
        "Here is a title: Brot backen",
        "Sure! Here's a short title for the conversation: Brot backen",
        "Sure, here's a title:\n\nBrot backen",
        "Here is my proposal:\n**Brot backen**\nIt names the subject.",
        "Title:\nBrot backen",
        "```\nBrot backen\n```",
        "```text\nBrot backen\n```",
        "<title>Brot backen</title>",
        "<title>Brot backen",
        "<thinking>They bake. A title: bread.</thinking>\n\nBrot backen",
        "<think>\nBread.\n</think>\nBrot backen",
        "---\nBrot backen\n---",
        '"Brot backen',
        "Brot\tbacken\r\n",
        "Brot\x00 back\x1ben",
        "\ufeffBrot\u200b back\u00aden",
        "\u202eBrot backen\u202c",
        "\u2067Brot backen\u2069",
    ],
)
def test_what_models_put_around_a_title_is_taken_away(reply: str) -> None:
    assert title(reply).replace("back en", "backen") == "Brot backen"


@pytest.mark.parametrize(
    "kept",
    [
        "C# lernen: wo anfangen?",
        "Lernen mit C#",
        '"Hamlet" und "Macbeth" im Vergleich',
        "__init__ und __new__ in Python",
        "Python: asyncio oder Threads",
        "[Gelöst] Fehler beim Start",
        "<canvas> im Browser zeichnen",
        "{{ Variablen }} in Vorlagen",
        "Rock 'n' Roll",
        "Don't Look Up",
        "Was kostet das?",
        "Wait... What?",
        "Sorry",
        "Lo siento",
        "対不起の使い方",
        "I can't sleep",
        "Title IX and sports",
        "パンの焼き方",
        "面包怎么烤",
        "빵 굽는 법",
        "طريقة خبز الخبز",
        "איך אופים לחם",
        "ขนมปังทำอย่างไร",
        "ब्रेड कैसे बनाएं",
        "نان\u200cپزی در خانه",
        "👩‍👩‍👧 Familie 🇩🇪",
        "42",
    ],
)
def test_a_title_stays_as_it_is(kept: str) -> None:
    assert title(kept) == unicodedata.normalize("NFC", kept)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        " \n\t ",
        "…",
        "...",
        "?!",
        "---",
        "“”",
        '""',
        "```\n```",
        "Title:",
        "タイトル：",
        "🙂",
        "\u200b\u200e\u3164\u2800",
        "<thinking>I am still thinking about",
        '{"title": "Brot backen"}',
        '```json\n{"title": "Brot backen"}\n```',
        '{"title": "Brot ba',
        '["Brot backen"]',
        "[1, 2]",
        "{}",
        '<function_calls>\n<invoke name="title">',
        "<tool_call>title</tool_call>",
        INSTRUCTION,
        f"Echo: {INSTRUCTION[:60]}",
        f"You said: {INSTRUCTION.upper()}",
        "I'm sorry, but I can't help with that.",
        "I’m sorry, I cannot propose a title for this conversation.",
        "I cannot assist with that request.",
        "I don't see a conversation above this message.",
        "I didn't find a subject in this conversation.",
        "I apologize, but there is no conversation to name.",
        "Sorry, I can't do that for you.",
        "Unfortunately, I am not able to propose one.",
        "As an AI language model, I cannot have opinions.",
        "There is no conversation above.",
        "Es tut mir leid, dabei kann ich nicht helfen.",
        "Leider kann ich dazu keinen Titel vorschlagen.",
        "Je suis désolé, je ne peux pas vous aider.",
        "Lo siento, no puedo ayudar con eso.",
        "Desculpe, não posso ajudar com isso.",
        "Mi dispiace, non posso aiutarti.",
        "Извините, я не могу помочь с этим.",
        "申し訳ありませんが、お手伝いできません。",
        "抱歉，我无法为此对话提供标题。",
        "죄송합니다. 도와드릴 수 없습니다.",
        "عذراً، لا أستطيع المساعدة في ذلك.",
        "To bake bread you need flour, water, salt and yeast, and " + "patience, " * 20,
    ],
)
def test_nonsense_is_no_title(reply: str) -> None:
    assert title(reply) == ""


# ---- Cutting --------------------------------------------------------------------------------------------------------


def columns(text: str) -> int:
    """Columns that a text takes on a screen: two for a wide character, none for a combining one."""
    for whole in ("👩‍👩‍👧", "🇩🇪", "🇫🇷", "👍🏽"):
        text = text.replace(whole, "あ")
    return sum(
        2 if unicodedata.east_asian_width(character) in "WF" else not unicodedata.combining(character)
        for character in text
    )


@pytest.mark.parametrize(
    "line",
    [
        "word " * 40,
        "x" * 101,
        "x" * 10_000,
        "パンの焼き方" * 20,
        "빵을 굽는 방법 " * 20,
        "طريقة خبز الخبز في البيت " * 10,
        "e\u0301" * 120,
        "👩‍👩‍👧" * 40,
        "🇩🇪🇫🇷" * 40,
        "👍🏽" * 60,
        "Z\u0335\u0336" * 80,
        "a" + "\u0301" * 500,
        "नमस्ते " * 40,
    ],
)
def test_no_title_is_longer_than_a_hundred_characters_or_columns(line: str) -> None:
    shortened = cut(tidy(line))
    assert 1 < len(shortened) <= 100
    assert columns(shortened) <= 100
    assert shortened.endswith("…")


def test_what_fits_is_not_cut() -> None:
    for fitting in ("x" * 100, "あ" * 50, "e" * 99 + "é", "", "short"):
        assert cut(fitting) == fitting


def test_a_cut_falls_between_words_where_one_ends_nearby() -> None:
    assert cut("word " * 40) == "word " * 18 + "word" + " word…"
    assert cut("short, " + "x" * 200) == "short, " + "x" * 92 + "…"
    assert cut("a" * 80 + ", " + "b" * 80) == "a" * 80 + "…"


def test_chinese_and_its_neighbours_take_two_columns() -> None:
    assert cut("あ" * 51) == "あ" * 49 + "…"


def test_right_to_left_loses_its_end_in_reading_order() -> None:
    words = "طريقة خبز الخبز في البيت " * 10
    assert words.startswith(cut(words.strip())[:-1])


@pytest.mark.parametrize("whole", ["e\u0304\u0301", "👩‍👩‍👧", "🇩🇪", "👍🏽", "नि"])
def test_nothing_that_is_seen_as_one_is_cut_in_two(whole: str) -> None:
    for before in range(90, 100):
        shortened = cut("x" * before + whole * 20)
        kept = shortened.removesuffix("…")[before:]
        assert kept == whole * (len(kept) // len(whole))


# ---- Beginnings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Wie backe ich\n\n  Brot?", "Wie backe ich Brot?"),
        ("???", "???"),
        ("🙂", "🙂"),
        ("\u202edrow\u202c", "drow"),
        ("", ""),
        (" \n", ""),
        ("\u200b\u200e\u3164\u2800\x00", ""),
    ],
)
def test_the_beginning_of_a_text_is_one_line_of_what_can_be_seen(text: str, expected: str) -> None:
    assert beginning(text) == expected


def test_a_beginning_is_cut_like_a_title() -> None:
    assert len(beginning("word " * 100_000)) <= 100
