"""The body of a message that comes over the WebSocket, in parts."""

from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from bedrock_chat.wire.errors import BadRequest
from conversations.streaming.websocket.upload import LARGEST_PART, Body


def cut(text: str, units: int) -> list[str]:
    """Cuts as JavaScript's `slice` does: by UTF-16 units, also through the middle of a character."""
    data = text.encode("utf-16-le")
    return [data[at : at + 2 * units].decode("utf-16-le", "surrogatepass") for at in range(0, len(data), 2 * units)]


@given(st.text(min_size=1, max_size=60), st.integers(1, 7), st.randoms())
def test_parts_in_any_order_make_the_text_again(text: str, units: int, random: Any) -> None:
    parts = list(enumerate(cut(text, units)))
    random.shuffle(parts)
    body = Body()
    for index, part in parts:
        body.add(index, part)
    assert body.joined().decode() == text
    body.close()


def test_a_part_sent_again_takes_the_place_of_the_first() -> None:
    body = Body()
    for index, part in ((1, "b"), (0, "x"), (0, "a")):
        body.add(index, part)
    assert body.joined() == b"ab"


def test_a_large_body_waits_in_a_file() -> None:
    body = Body()
    for index in range(200):
        body.add(index, chr(97 + index % 26) * LARGEST_PART)
    assert body._spool._rolled  # type: ignore[attr-defined]
    assert body.joined()[LARGEST_PART - 1 : LARGEST_PART + 1] == b"ab"


@pytest.mark.parametrize(
    ("index", "part"),
    [(-1, "x"), ("0", "x"), (True, "x"), (1.0, "x"), (None, "x"), (10**6, "x"), (0, None), (0, 1), (0, "x" * 32_769)],
)
def test_what_is_no_part_is_refused(index: Any, part: Any) -> None:
    with pytest.raises(BadRequest):
        Body().add(index, part)


@override_settings(MAX_BODY_MB=1)
def test_the_sum_of_the_parts_is_bounded_however_often_one_is_sent() -> None:
    body = Body()
    for _ in range(32):
        body.add(0, "x" * LARGEST_PART)
    with pytest.raises(BadRequest, match="larger than 1 MB"):
        body.add(0, "x")


@override_settings(MAX_BODY_MB=1)
def test_the_bound_is_of_bytes_as_for_any_body() -> None:
    body = Body()
    for index in range(16):
        body.add(index, "語" * LARGEST_PART)  # three bytes each
    with pytest.raises(BadRequest, match="larger than 1 MB"):
        body.joined()


@pytest.mark.parametrize("parts", [{}, {1: "x"}, {0: "x", 2: "y"}, {0: "\ud83d"}, {0: "\ude00", 1: "\ud83d"}])
def test_a_body_with_a_hole_or_half_a_character_is_none(parts: dict[int, str]) -> None:
    body = Body()
    for index, part in parts.items():
        body.add(index, part)
    with pytest.raises(BadRequest):
        body.joined()
