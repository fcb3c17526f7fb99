from django.apps import AppConfig


class StoreConfig(AppConfig):
    """The bot store: search, popular bots, and the day's pick."""

    name = "store"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers the store's part of a person's erasure. An export has the bots already."""
        from bedrock_chat.identity import erasing as persons_erasing
        from store import erasing

        persons_erasing.register("store", prepare=erasing.prepare, finish=erasing.finish)
