from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    """Conversations with a model: messages as a tree, turns and titles."""

    name = "conversations"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from bedrock_chat.process import shutdown, thread_pool
        from conversations.streaming import driver, sse
        from conversations.streaming.websocket import session
        from conversations.turn import admission, checkpoints, registry

        def interrupt() -> None:
            # Together in a few transactions, in case there is no time for each turn to close in its own.
            thread_pool.shared().submit(checkpoints.write)
            registry.interrupt_all()

        shutdown.register(busy=admission.count, interrupt=interrupt, abandon=driver.abandon)
        shutdown.register(busy=sse.streams_open, interrupt=_nothing, abandon=_nothing)
        shutdown.register(busy=session.busy, interrupt=session.interrupt, abandon=session.abandon)


def _nothing() -> None:
    """Event streams end with their turns, and those of other processes' turns when this one begins to leave."""
