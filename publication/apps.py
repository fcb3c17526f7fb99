from django.apps import AppConfig


class PublicationConfig(AppConfig):
    """Bots published as rate-limited APIs with keys."""

    name = "publication"
    verbose_name = "Published APIs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers the columns of secrets, what a bot's deletion ends here, a person's data, and a heartbeat."""
        from django.conf import settings

        from bedrock_chat.encryption import rotating
        from bedrock_chat.identity import erasing as persons_erasing
        from bedrock_chat.identity import exporting as persons_exporting
        from bedrock_chat.metrics import figures
        from bedrock_chat.process import heartbeat
        from bots import editing
        from publication import erasing, exporting, lifecycle, measuring
        from publication.idempotency import leases
        from publication.models import ApiKey, IdempotencyKey

        figures.register("published turns", measuring.figures)
        rotating.register(ApiKey, "encrypted_value")
        rotating.register(IdempotencyKey, "encrypted_answer")
        heartbeat.register("idempotency leases", settings.TURN_LEASE_SECONDS / 3, leases.renew)
        editing.before_removal(lifecycle.end_of_bot)
        persons_exporting.register("publication", exporting.export)
        persons_erasing.register("publication", prepare=erasing.prepare, finish=erasing.finish)
