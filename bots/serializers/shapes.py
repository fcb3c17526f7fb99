"""Fields of several shapes."""

from typing import Any

from rest_framework import serializers

Shapes = dict[str, type[serializers.Serializer[Any]]]


class ShapeField(serializers.Field[Any, Any, Any, Any]):
    """An object of one of several shapes, of which a word in it names one."""

    word: str
    usual: str
    shapes: Shapes

    def shape_of(self, data: Any) -> type[serializers.Serializer[Any]] | None:
        kind = data.get(self.word, self.usual) if isinstance(data, dict) else None
        return self.shapes.get(kind) if isinstance(kind, str) else None

    def to_internal_value(self, data: Any) -> Any:
        shape = self.shape_of(data)
        if shape is None:
            self.fail("invalid", known=", ".join(self.shapes))
        return shape().run_validation(data)

    def to_representation(self, value: Any) -> Any:
        return value
