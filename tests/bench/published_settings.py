"""The product's settings, with a view that does nothing beside its routes."""

from bedrock_chat.settings import *  # noqa: F403

ROOT_URLCONF = "tests.bench.published_urls"
