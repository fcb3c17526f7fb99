"""Fields of request bodies that DRF's do not bound early or cheaply enough."""

from typing import Any

from rest_framework import serializers
from rest_framework.validators import ProhibitSurrogateCharactersValidator

LONGEST_CHOICE = 256


class TextField(serializers.CharField):
    """A string as it came: numbers are refused rather than turned into text, white space is kept.

    DRF's look for surrogates, character by character, would take 30 ms of each MB, however short the text may be. It is
    left out, because the parser has refused them.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)
        self.validators = [
            validator
            for validator in self.validators
            if not isinstance(validator, ProhibitSurrogateCharactersValidator)
        ]

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return data


class ChoiceField(serializers.ChoiceField):
    """One of some strings. DRF's turns any value into text, to look it up and to quote it."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or len(data) > LONGEST_CHOICE:
            self.fail("invalid_choice", input=data[:LONGEST_CHOICE] if isinstance(data, str) else type(data).__name__)
        return super().to_internal_value(data)


class DigitsField(serializers.IntegerField):
    """A number in a query: ASCII digits alone. DRF's takes signs, `1_0` and the digits of other scripts, too."""

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, str) or not data.isascii() or not data.isdecimal():
            self.fail("invalid")
        return super().to_internal_value(data)


class BoundedListField(serializers.ListField):
    """A list whose length is checked before its items: DRF's looks at each item first, and keeps an error for each."""

    def __init__(self, *, max_length: int, **options: Any) -> None:
        super().__init__(max_length=max_length, **options)

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, list) and self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        items: list[Any] = super().to_internal_value(data)
        return items
