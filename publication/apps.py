from django.apps import AppConfig


class PublicationConfig(AppConfig):
    """Bots published as rate-limited APIs with keys."""

    name = "publication"
    verbose_name = "Published APIs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers the columns of keys, what a bot's deletion ends here, and a person's data."""
        from bedrock_chat.encryption import rotating
        from bedrock_chat.identity import erasing as persons_erasing
        from bedrock_chat.identity import exporting as persons_exporting
        from bedrock_chat.metrics import figures
        from bots import editing
        from publication import erasing, exporting, lifecycle, measuring
        from publication.models import ApiKey

        figures.register("published turns", measuring.figures)
        rotating.register(ApiKey, "encrypted_value")
        editing.before_removal(lifecycle.end_of_bot)
        persons_exporting.register("publication", exporting.export)
        persons_erasing.register("publication", prepare=erasing.prepare, finish=erasing.finish)
