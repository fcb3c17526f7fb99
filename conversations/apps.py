from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    """Conversations with a model: messages as a tree, turns, titles and the cost ledger."""

    name = "conversations"
    default_auto_field = "django.db.models.BigAutoField"
