"""The entry for ASGI servers: `bedrock_chat.asgi:application`. Only `manage.py serve` drains at its end."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bedrock_chat.settings")
django.setup(set_prefix=False)

from bedrock_chat.serving.application import Application  # noqa: E402  it needs the settings, which setup() loads

application = Application()
