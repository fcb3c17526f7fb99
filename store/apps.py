from django.apps import AppConfig


class StoreConfig(AppConfig):
    """The bot store: listing, ranking and search of shared bots."""

    name = "store"
    default_auto_field = "django.db.models.BigAutoField"
