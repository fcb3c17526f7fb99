"""Console pages of conversations. They show metadata alone; what people write is behind a permission of its own."""

from conversations.admin import exports, feedback, home, pages

__all__ = ["exports", "feedback", "home", "pages"]
