"""Code for another process: Dave, his published bot, and questions that are accepted without a request."""

PUBLISH = """
import json
from bedrock_chat.bedrock import catalog
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import CREATING_BOT_ALLOWED, PUBLISH_ALLOWED, Caller, Published
from bots import editing
from bots.models import Bot
from conversations.content.blocks import Content
from publication import accepting, lifecycle
from publication.accepting import Question
from publication.models import ApiKey, Publication, TurnRequest

def owner():
    groups = frozenset({CREATING_BOT_ALLOWED, PUBLISH_ALLOWED})
    return Caller(user_id=local.local_user("dave").pk, groups=groups)

def published():
    if not Publication.objects.exists():
        editing.create("helper", {"title": "Helper", "instruction": "Help."}, actor=owner())
        Bot.objects.update(scope="all")
        lifecycle.publish("helper", {}, actor=owner())
    publication, key = Publication.objects.get(), ApiKey.objects.earliest("created_at")
    payer = Published(bot_id="helper", bot_version=None, payer_id=owner().user_id)
    return Caller(user_id=None, publication_id=publication.pk, key_id=key.pk, published=payer)

def ask(text, conversation):
    content = Content([{"contentType": "text", "body": text}], {})
    question = Question(model=catalog.find("claude-v3.7-sonnet"), content=content, conversation_id=conversation)
    return accepting.accept(question, actor=published())
"""

SYNCS = """
from rest_framework.test import APIClient
from tests.bots.bot import make
from tests.bots.upload import sources, wait
from tests.people import auth

def ask_for_syncs(count):
    client = APIClient()
    client.credentials(**auth("erin", CREATING_BOT_ALLOWED))
    for number in range(count):
        text = "\\n\\n".join(f"Rule {number}.{n}: " + 60 * f"word{n} " for n in range(100))
        wait(local.local_user("erin").pk, f"b{number}", "rules.txt", text.encode())
        make(client, f"b{number}", knowledge=sources("rules.txt"))
"""
"""After PUBLISH: `ask_for_syncs(20)` makes so many bots of Erin's, each with a file of a hundred paragraphs to read."""
