from django.apps import AppConfig


class PublicationConfig(AppConfig):
    """Bots published as rate-limited APIs with keys."""

    name = "publication"
    verbose_name = "Published APIs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers the columns of keys, what a bot's deletion ends here, a person's data, and the turns run here."""
        from django.conf import settings

        from bedrock_chat.encryption import rotating
        from bedrock_chat.identity import erasing as persons_erasing
        from bedrock_chat.identity import exporting as persons_exporting
        from bedrock_chat.process import heartbeat
        from bots import editing
        from publication import erasing, exporting, lifecycle
        from publication.models import ApiKey
        from publication.streaming import hosting

        rotating.register(ApiKey, "encrypted_value")
        editing.before_removal(lifecycle.end_of_bot)
        persons_exporting.register("publication", exporting.export)
        persons_erasing.register("publication", prepare=erasing.prepare, finish=erasing.finish)
        heartbeat.register("hosted jobs", settings.JOB_LEASE_SECONDS / 3, hosting.CLAIMS.renew)
        heartbeat.register("hosted turns", hosting.POLL_SECONDS, hosting.begin_due)
