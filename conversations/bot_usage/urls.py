"""Routes of bots that read conversations. They come after those of `bots`, where words stand in the place of an id."""

from django.urls import path

from bots.urls import BOT
from conversations.bot_usage.views import BotUsageViewSet

urlpatterns = [path(f"{BOT}/usage", BotUsageViewSet.as_view({"get": "retrieve"}))]
