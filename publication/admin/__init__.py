"""Console pages of published APIs. No page shows a key's value but the answers of two confirmed actions, once each."""

from publication.admin import gates, keys, on_bots, pages, questions

__all__ = ["gates", "keys", "on_bots", "pages", "questions"]
