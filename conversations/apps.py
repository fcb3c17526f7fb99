from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    """Conversations with a model: messages as a tree, turns, titles and the cost ledger."""

    name = "conversations"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from bedrock_chat import draining
        from conversations import admission, running
        from conversations.streaming import sse, turns, websocket

        draining.register(busy=admission.running, interrupt=running.interrupt_all, abandon=turns.abandon)
        draining.register(busy=sse.streams_open, interrupt=_nothing, abandon=_nothing)
        draining.register(busy=websocket.busy, interrupt=websocket.interrupt, abandon=websocket.abandon)


def _nothing() -> None:
    """Event streams end with their turns."""
