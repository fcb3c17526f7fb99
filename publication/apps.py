from django.apps import AppConfig


class PublicationConfig(AppConfig):
    """Bots published as rate-limited APIs with keys."""

    name = "publication"
    verbose_name = "Published APIs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers the columns of secrets, what a bot's deletion ends here and its edits keep, what is waited for, a
        person's data, heartbeats, what operators are told of, and the turns that are run here.
        """
        from django.conf import settings

        from bedrock_chat.alerts import conditions
        from bedrock_chat.encryption import rotating
        from bedrock_chat.identity import erasing as persons_erasing
        from bedrock_chat.identity import exporting as persons_exporting
        from bedrock_chat.metrics import figures
        from bedrock_chat.process import heartbeat, watching
        from bedrock_chat.retention import pruning
        from bots import editing, ownership, versions
        from conversations import retention as conversations_retention
        from publication import alerting, erasing, exporting, lifecycle, measuring, retention, waiting
        from publication.idempotency import leases
        from publication.models import ApiKey, IdempotencyKey
        from publication.openai import answering
        from publication.streaming import hosting

        figures.register("published turns", measuring.figures)
        rotating.register(ApiKey, "encrypted_value")
        rotating.register(IdempotencyKey, "encrypted_answer")
        heartbeat.register("idempotency leases", settings.TURN_LEASE_SECONDS / 3, leases.renew)
        editing.before_removal(lifecycle.end_of_bot)
        ownership.with_bot(lifecycle.move_with_bot)
        versions.keep(lifecycle.pinned_versions)
        watching.register(waiting.TURN_ENDED, waiting.ended_turns)
        watching.register(waiting.KEY_ENDED, waiting.ended_keys)
        persons_exporting.register("publication", exporting.export)
        heartbeat.register("withdrawn APIs", answering.LOOK_SECONDS, answering.end_withdrawn)
        persons_erasing.register("publication", prepare=erasing.prepare, finish=erasing.finish)
        persons_erasing.register_refusal(retention.refuse_erasing)
        published = conversations_retention.Published(owners=retention.owners, waiting=retention.waiting)
        conversations_retention.register(published)
        pruning.register(retention.PART, count=retention.count, prune=retention.prune)
        heartbeat.register("hosted jobs", settings.JOB_LEASE_SECONDS / 3, hosting.CLAIMS.renew)
        heartbeat.register("hosted turns", hosting.POLL_SECONDS, hosting.begin_due)
        conditions.register(alerting.CONDITION, alerting.problems, permission="publication.view_apikey")
