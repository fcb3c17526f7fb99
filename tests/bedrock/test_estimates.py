"""Low estimates: never more tokens than a text can have, and far fewer than it is likely to have."""

import pytest

from bedrock_chat.bedrock import estimates

PROSE = {
    "English": "The baker kneads the dough, and leaves it to rest until the morning.",
    "German": "Donaudampfschifffahrtsgesellschaftskapitäne kneten ihren Sauerteig selbst.",
    "Russian": "Пекарь месит тесто и оставляет его отдыхать до самого утра.",
    "Arabic": "يعجن الخباز العجين ويتركه يرتاح حتى الصباح.",
    "Hindi": "बेकर आटा गूंथता है और उसे सुबह तक आराम करने देता है।",
    "Thai": "คนทำขนมปังนวดแป้งแล้วปล่อยให้พักจนถึงเช้า",
    "Chinese": "面包师揉好面团，让它静置到早晨。",
    "Japanese": "パン職人は生地をこね、朝まで休ませる。",
    "Korean": "제빵사는 반죽을 치대고 아침까지 쉬게 둔다.",
    "code": "def knead(dough: Dough, *, minutes: int = 10) -> Dough:\n    return dough.rest(until=MORNING)\n",
    "emoji": "🍞🥖🥐🥯🥨" * 4,
}


@pytest.mark.parametrize("text", PROSE.values(), ids=PROSE)
def test_a_low_estimate_is_about_half_of_a_likely_one_or_less(text: str) -> None:
    long = text * 1000
    assert 0 < estimates.low_tokens(long) <= 0.55 * estimates.text_tokens(long)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("x" * 7, 0),
        ("x" * 80, 10),
        ("x " * 80, 10),
        (" \n\t" * 1_000_000, 0),
        ("あ" * 40, 10),
        ("あ" * 40 + "x" * 80, 20),
        ("あ x" * 8, 3),
    ],
)
def test_what_counts_is_what_can_be_seen(text: str, tokens: int) -> None:
    assert estimates.low_tokens(text) == tokens


@pytest.mark.parametrize(
    ("form", "body", "tokens"),
    [
        ("txt", b"x" * 80, 10),
        ("md", b"x \r\n" * 80, 10),
        ("csv", "1;2;".encode("utf-16-le") * 20, 10),
        ("html", b"<p>" * 1_000_000, 0),
        ("pdf", b"%PDF" * 1_000_000, 0),
        ("docx", b"PK" * 1_000_000, 0),
    ],
)
def test_of_documents_only_plain_ones_count(form: str, body: bytes, tokens: int) -> None:
    assert estimates.low_document_tokens(form, body) == tokens
