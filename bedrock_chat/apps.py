import tempfile
from functools import partial
from importlib import import_module
from pathlib import Path

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.utils.module_loading import autodiscover_modules

from bedrock_chat.start import optional


class BedrockChatConfig(AppConfig):
    """The kernel: identity, the wire, Bedrock, the cost ledger and the blobs, which the other apps build on."""

    name = "bedrock_chat"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Bedrock Chat"

    def ready(self) -> None:
        from django.conf import settings

        from bedrock_chat import checks  # noqa: F401  registers the system checks, which need loaded apps
        from bedrock_chat.audit import persons as audited_persons
        from bedrock_chat.bedrock import clients, retrying
        from bedrock_chat.blobs import s3_storage, storing
        from bedrock_chat.database import connections, migrated, waiting
        from bedrock_chat.encryption import keys
        from bedrock_chat.identity import erasing, exporting, jwks, spending
        from bedrock_chat.identity.directory import cognito
        from bedrock_chat.jobs import backlog, broker
        from bedrock_chat.ledger import persons
        from bedrock_chat.ledger.rollups import ranking, refusals
        from bedrock_chat.ledger.rollups.models import Dimension
        from bedrock_chat.metrics import figures
        from bedrock_chat.process import heartbeat, readiness, shutdown, startup
        from bedrock_chat.serving.waits import waits

        def ask_database() -> backlog.Backlog:
            try:
                with waiting.at_most(waiting.PROBE_SECONDS):
                    migrated.require_migrations()
                    keys.require_for_stored_secrets_once()
                    return backlog.look()
            finally:
                connections.release_connection(final=True)  # the check runs on a thread of its own

        readiness.register(
            "database", dependency=waiting.database, check=ask_database, folder=connections.database_folder
        )
        if settings.REDIS_URL:
            from bedrock_chat.process import redis_client  # it takes 4 MB

            readiness.register("cache", dependency=redis_client.REDIS, check=redis_client.ping)
        else:
            readiness.register("cache")
        readiness.register("broker", dependency=broker.BROKER)
        readiness.register(
            "storage", dependency=s3_storage.STORAGE, check=storing.ask_storage, folder=storing.storage_folder
        )
        readiness.register("temporary", folder=lambda: Path(tempfile.gettempdir()))
        readiness.register("identity", dependency=jwks.IDENTITY)
        readiness.register("directory", dependency=cognito.DIRECTORY)
        readiness.register("bedrock", dependency=retrying.BEDROCK)
        shutdown.register(busy=waits.count, begin=waits.end_all)
        startup.register("The Bedrock client", clients.bedrock_runtime)
        if broker.is_used():
            startup.register("The connection to the broker", broker.begin)
        startup.require("encryption keys", keys.lack)
        heartbeat.register("refusals", refusals.EVERY_SECONDS, refusals.write)
        spending.register(partial(ranking.dearest, by=Dimension.USER))
        figures.register("jobs", backlog.figures)
        _register_budgets()
        _register_for_operators()
        exporting.register("ledger", persons.export)
        exporting.register("audit", audited_persons.export)
        erasing.register("ledger", prepare=persons.prepare_erasing, finish=persons.finish_erasing)
        erasing.register("audit", prepare=audited_persons.prepare_erasing, finish=audited_persons.finish_erasing)


def _register_budgets() -> None:
    from bedrock_chat.identity import erasing, exporting
    from bedrock_chat.ledger.budgets import expiring, payers, persons
    from bedrock_chat.process import heartbeat

    heartbeat.register("budgets", payers.BEAT_SECONDS, payers.refresh)
    heartbeat.register("reservations", expiring.BEAT_SECONDS, expiring.renew)
    exporting.register("budgets", persons.export)
    erasing.register("budgets", prepare=persons.prepare_erasing, finish=persons.finish_erasing)


def _register_for_operators() -> None:
    _register_models_and_people()
    _register_alerts()
    _register_retention()
    _register_operators()


def _register_models_and_people() -> None:
    from bedrock_chat.bedrock.overrides import last_faults, snapshot
    from bedrock_chat.identity import erasing, last_seen
    from bedrock_chat.people import erasing as erasures
    from bedrock_chat.process import heartbeat

    erasing.register("erasures", prepare=erasures.prepare_person, finish=erasures.finish_person)
    heartbeat.register("last seen", last_seen.EVERY_SECONDS, last_seen.write)
    heartbeat.register("models", snapshot.BEAT_SECONDS, snapshot.refresh)
    heartbeat.register("last faults", last_faults.EVERY_SECONDS, last_faults.write)


def _register_alerts() -> None:
    from bedrock_chat.alerts import conditions, of_jobs
    from bedrock_chat.ledger import throttling
    from bedrock_chat.ledger.budgets import alerting

    conditions.register(of_jobs.NO_WORKER, of_jobs.no_worker, permission="bedrock_chat.view_worker")
    conditions.register(of_jobs.WAITING, of_jobs.waiting, permission="bedrock_chat.view_job")
    conditions.register(of_jobs.DEAD, of_jobs.dead, permission="bedrock_chat.view_job")
    conditions.register(of_jobs.FAILING, of_jobs.failing, permission="bedrock_chat.view_job")
    throttles = "bedrock_chat.view_modeloverride"
    conditions.register(throttling.CONDITION, throttling.problems, permission=throttles, lasts=throttling.WINDOW)
    conditions.register(alerting.CONDITION, alerting.problems, permission="bedrock_chat.view_budget")


def _register_retention() -> None:
    from bedrock_chat.identity import erasing
    from bedrock_chat.ledger import retention as calls
    from bedrock_chat.ledger import tool_call_retention as tool_calls
    from bedrock_chat.ledger.rollups import retention as sums
    from bedrock_chat.process import startup
    from bedrock_chat.retention import holds, policies, pruning

    startup.require("retention", policies.lack)
    erasing.register_refusal(holds.refuse_person)
    pruning.register("calls", count=calls.count, prune=calls.prune)
    pruning.register(tool_calls.PART, count=tool_calls.count, prune=tool_calls.prune)
    pruning.register("sums", count=sums.count, prune=sums.prune)


def _register_operators() -> None:
    from bedrock_chat.encryption import rotating
    from bedrock_chat.identity.models import SecondFactor

    rotating.register(SecondFactor, "encrypted_secret", "encrypted_codes")


class ConsoleConfig(AdminConfig):
    """Django's admin with our site, so that `@admin.register` in every app lands in the console."""

    default_site = "bedrock_chat.console.site.Console"

    def ready(self) -> None:
        # For fields and a test client that nothing here has. With them comes psycopg, also where SQLite is used.
        with optional.left_out("django.contrib.postgres", "jinja2", "markdown", "pygments", "requests", "yaml"):
            for library in ("rest_framework.compat", "unfold.overrides", "drf_spectacular.plumbing"):
                import_module(library)
        super().ready()
        for module in ("usage", "speed", "top", "faults", "glance"):
            import_module(f"bedrock_chat.console.dashboard.{module}")
        autodiscover_modules("console_home")  # of the apps, for the console knows none of them
