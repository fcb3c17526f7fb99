from django.apps import AppConfig


class BotsConfig(AppConfig):
    """Custom bots: their versions, sharing, knowledge and tools."""

    name = "bots"
    default_auto_field = "django.db.models.BigAutoField"
