"""Fields of request bodies that DRF's do not bound early enough."""

from typing import Any

from rest_framework import serializers


class BoundedListField(serializers.ListField):
    """A list whose length is checked before its items: DRF's looks at each item first, and keeps an error for each."""

    def __init__(self, *, max_length: int, **options: Any) -> None:
        super().__init__(max_length=max_length, **options)

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, list) and self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        items: list[Any] = super().to_internal_value(data)
        return items
