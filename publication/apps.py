from django.apps import AppConfig


class PublicationConfig(AppConfig):
    """Bots published as rate-limited APIs with keys."""

    name = "publication"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers the columns of keys, and what a bot's deletion ends here."""
        from bedrock_chat.encryption import rotating
        from bots import editing
        from publication import lifecycle
        from publication.models import ApiKey

        rotating.register(ApiKey, "encrypted_value")
        editing.before_removal(lifecycle.end_of_bot)
