from django.apps import AppConfig


class PublicationConfig(AppConfig):
    """Bots published as rate-limited APIs with keys."""

    name = "publication"
    default_auto_field = "django.db.models.BigAutoField"
