from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.utils import timezone

THRESHOLDS = ("grounding_threshold", "relevance_threshold")
BEING_MADE = "Its guardrail is being made."


def make_guardrails(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Thresholds of grounding and relevance were stored and left out. Now they are part of a bot's own guardrail, so
    that the job makes it or changes it. A bot that has none yet answers nobody until it is made.
    """
    bot_model, job_model = apps.get_model("bots", "Bot"), apps.get_model("bedrock_chat", "Job")
    now = timezone.now()
    grounded = []
    for bot_id, configuration in bot_model.objects.values_list("pk", "configuration").iterator(chunk_size=500):
        guardrails = configuration.get("bedrock_guardrails") or {}
        is_own = guardrails.get("is_guardrail_enabled") and not guardrails.get("guardrail_arn")
        if is_own and any(guardrails.get(name) for name in THRESHOLDS):
            grounded.append(bot_id)
    for start in range(0, len(grounded), 500):
        ids = grounded[start : start + 500]
        bot_model.objects.filter(pk__in=ids).update(sync_status="QUEUED", sync_status_reason=BEING_MADE)
        jobs = [
            job_model(kind="sync bot", payload={"bot": bot_id}, key=f"sync bot:{bot_id}", due_at=now, created_at=now)
            for bot_id in ids
        ]
        job_model.objects.bulk_create(jobs, ignore_conflicts=True)


class Migration(migrations.Migration):
    dependencies = [
        ("bots", "0007_knowledge"),
        ("bedrock_chat", "0029_vectors"),
    ]

    operations = [migrations.RunPython(make_guardrails, migrations.RunPython.noop, elidable=True)]
