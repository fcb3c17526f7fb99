from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    """Conversations with a model: messages as a tree, turns and titles."""

    name = "conversations"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers what routes, exports and erasures of persons, the heartbeat and the end of the process use here."""
        from django.conf import settings
        from django.urls import register_converter

        from bedrock_chat.identity import erasing as persons_erasing
        from bedrock_chat.identity import exporting as persons_exporting
        from bedrock_chat.metrics import figures
        from bedrock_chat.process import heartbeat, shutdown, thread_pool
        from bedrock_chat.retention import pruning
        from conversations import naming, retention
        from conversations.persons import erasing, exporting
        from conversations.streaming import driver, sse
        from conversations.streaming.websocket import session
        from conversations.turn import admission, checkpoints, leases, measuring, registry, stopping

        register_converter(naming.ShortestPath, "shortest")
        persons_exporting.register("conversations", exporting.export)
        persons_erasing.register("conversations", prepare=erasing.prepare, finish=erasing.finish)

        persons_erasing.register_refusal(retention.refuse_erasing)
        pruning.register(retention.PART, count=retention.count, prune=retention.prune)

        figures.register("turns", measuring.figures)
        heartbeat.register("turn leases", settings.TURN_LEASE_SECONDS / 3, leases.renew)
        heartbeat.register("checkpoints", settings.CHECKPOINT_SECONDS, checkpoints.write)
        heartbeat.register("stop requests", stopping.POLL_SECONDS, stopping.apply_stop_requests)

        def interrupt() -> None:
            # All answers are stored in a few transactions, in case there is no time for each turn to close in its own.
            thread_pool.shared().submit(checkpoints.write)
            registry.interrupt_all()

        shutdown.register(busy=admission.count, interrupt=interrupt, abandon=driver.abandon)
        shutdown.register(busy=sse.streams_open, interrupt=_nothing, abandon=_nothing)
        shutdown.register(busy=session.busy, interrupt=session.interrupt, abandon=session.abandon)


def _nothing() -> None:
    """Event streams need no call: they end with their turns or, for other processes' turns, once the drain begins."""
