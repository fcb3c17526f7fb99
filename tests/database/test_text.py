"""Text that PostgreSQL refuses is distinguished from text that both databases keep, and can be made storable."""

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from bedrock_chat.database.text import is_storable, storable

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=[]))


@pytest.mark.both
@pytest.mark.django_db
@pytest.mark.parametrize("text", ["", "plain", "ünïcode 🦄", "\x01\x1f", "\ufffd"])
def test_what_is_storable_comes_back_as_it_was(text: str) -> None:
    assert is_storable(text)
    with connection.cursor() as cursor:
        cursor.execute("SELECT CAST(%s AS TEXT)", [text])
        assert cursor.fetchone()[0] == text


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "x\udfff", "é\0"])
def test_nul_and_half_a_surrogate_pair_are_not_storable(text: str) -> None:
    assert not is_storable(text)
    assert "\ufffd" in storable(text)


@given(ANY_TEXT)
def test_whatever_a_model_says_becomes_storable_and_keeps_the_rest(text: str) -> None:
    assert is_storable(storable(text))
    if is_storable(text):
        assert storable(text) == text


@given(
    st.recursive(ANY_TEXT | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner))
)
def test_values_are_made_storable_at_any_depth(value: object) -> None:
    def texts(value: object) -> list[str]:
        if isinstance(value, str):
            return [value]
        if isinstance(value, dict):
            return [text for pair in value.items() for part in pair for text in texts(part)]
        return [text for part in value for text in texts(part)] if isinstance(value, list) else []

    assert all(map(is_storable, texts(storable(value))))
