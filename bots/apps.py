from django.apps import AppConfig


class BotsConfig(AppConfig):
    """Custom bots: their versions, sharing, knowledge and tools."""

    name = "bots"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers the columns of secrets, which a rotation of keys puts under another key."""
        from bedrock_chat.encryption import rotating
        from bots.models import Bot, BotVersion

        rotating.register(Bot, "encrypted_secrets")
        rotating.register(BotVersion, "encrypted_secrets")
