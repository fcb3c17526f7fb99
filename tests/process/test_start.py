"""A start loads what the first requests need, and nothing of what nobody has asked for yet."""

import subprocess
import sys
from pathlib import Path

from tests.bench.processes import ROOT, environment

START = """
import sys
import django
django.setup()
from django.urls import get_resolver
from bedrock_chat.process import startup
from bedrock_chat.serving import server
get_resolver().url_patterns
startup.prepare()
print(*sys.modules)
"""
UNUSED_AT_START = {
    "PIL",  # with the first image
    "bedrock_chat.bedrock.emulator",  # in a process of its own
    "celery",  # with CELERY_BROKER_URL
    "cryptography",  # with the first token
    "ddgs",  # with the first search of the internet
    "django.contrib.postgres",  # never: only unfold and DRF look for it
    "numpy",  # with the first search by meaning
    "opentelemetry",  # with a collector of traces
    "jinja2",  # never: only Django's test client looks for it
    "primp",  # with `ddgs`
    "prometheus_client",  # with METRICS_TOKEN
    "lxml",  # with `ddgs`
    "kombu",  # with CELERY_BROKER_URL
    "psycopg",  # on PostgreSQL
    "rapidfuzz",  # with the first mistyped word
    "redis",  # with REDIS_URL
    "requests",  # never: only DRF looks for it
    "rich",  # never: only structlog looks for it
}


def test_a_start_loads_no_package_that_only_some_requests_or_settings_need(tmp_path: Path) -> None:
    env = environment(tmp_path, DJANGO_SETTINGS_MODULE="bedrock_chat.settings")
    start = subprocess.run([sys.executable, "-c", START], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    loaded = set(start.stdout.split())
    assert {"botocore.client", "bedrock_chat.serving.server", "conversations.views"} <= loaded  # it was a whole start
    assert sorted(loaded & UNUSED_AT_START) == []
