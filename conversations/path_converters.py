"""What `urls` needs beyond Django's path converters. They are registered once, when this module is imported."""

from django.urls import register_converter
from django.urls.converters import PathConverter


class ShortestPath(PathConverter):
    """As little of the path as will do: a source's id may hold `/related-documents/`, a conversation's may not."""

    regex = ".+?"


register_converter(ShortestPath, "shortest")
