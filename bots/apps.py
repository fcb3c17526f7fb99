from django.apps import AppConfig


class BotsConfig(AppConfig):
    """Custom bots: their versions, sharing, knowledge and tools."""

    name = "bots"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers the columns of secrets, which a rotation of keys puts under another key, a person's data, what
        operators are told of, how syncs are, and until when the addresses of documents hold.
        """
        from bedrock_chat.alerts import conditions
        from bedrock_chat.blobs import links
        from bedrock_chat.encryption import rotating
        from bedrock_chat.identity import erasing as persons_erasing
        from bedrock_chat.identity import exporting as persons_exporting
        from bedrock_chat.metrics import figures
        from bots import alerting, erasing, exporting, holds
        from bots.knowledge import linking, measuring
        from bots.models import Bot, BotVersion

        rotating.register(Bot, "encrypted_secrets")
        rotating.register(BotVersion, "encrypted_secrets")
        persons_exporting.register("bots", exporting.export)
        persons_erasing.register("bots", prepare=erasing.prepare, finish=erasing.finish)
        conditions.register(alerting.CONDITION, alerting.problems, permission="bots.view_bot")
        persons_erasing.register_refusal(holds.refuse_erasing)
        figures.register("knowledge", measuring.figures)
        links.register(linking.HOLDER, linking.has_file)
