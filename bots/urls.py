"""Routes of bots and of people. Words that stand in the place of an id come first: no bot has such an id
(`RESERVED_IDS`), and nobody who signs in.
"""

from django.urls import path

from bots.views.bots import AdminBotViewSet, BotListViewSet, BotViewSet, UsableBotViewSet
from bots.views.files import BotFileViewSet
from bots.views.people import PeopleViewSet
from bots.views.transfer import BotCopyViewSet, BotImportViewSet
from bots.views.versions import VersionViewSet

BOT = "bot/<str:bot_id>"
VERSION = f"{BOT}/versions/<int:version>"

urlpatterns = [
    path("bot", BotListViewSet.as_view({"get": "list", "post": "create"})),
    path("bot/pinned", BotListViewSet.as_view({"get": "list_pinned"})),
    path("bot/import", BotImportViewSet.as_view({"post": "create"})),
    path("bot/private/<str:bot_id>", BotViewSet.as_view({"get": "retrieve"})),
    path("bot/summary/<str:bot_id>", UsableBotViewSet.as_view({"get": "retrieve"})),
    path(BOT, BotViewSet.as_view({"patch": "update", "delete": "destroy"})),
    path(f"{BOT}/visibility", BotViewSet.as_view({"patch": "share"})),
    path(f"{BOT}/starred", UsableBotViewSet.as_view({"patch": "star"})),
    path(f"{BOT}/recently-used", UsableBotViewSet.as_view({"delete": "forget_use"})),
    path(f"{BOT}/agent/available-tools", UsableBotViewSet.as_view({"get": "list_tools"})),
    path(f"{BOT}/presigned-url", BotFileViewSet.as_view({"get": "make_url"})),
    path(f"{BOT}/uploaded-file", BotFileViewSet.as_view({"delete": "remove_upload"})),
    path(f"{BOT}/files/<str:digest>", BotFileViewSet.as_view({"delete": "destroy"})),
    path(f"{BOT}/clone", BotCopyViewSet.as_view({"post": "clone"})),
    path(f"{BOT}/export", BotCopyViewSet.as_view({"get": "export"})),
    path(f"{BOT}/versions", VersionViewSet.as_view({"get": "list"})),
    path(VERSION, VersionViewSet.as_view({"get": "retrieve"})),
    path(f"{VERSION}/restore", VersionViewSet.as_view({"post": "restore"})),
    path("admin/public-bots", AdminBotViewSet.as_view({"get": "list"})),
    path("admin/bot/public/<str:bot_id>", AdminBotViewSet.as_view({"get": "retrieve"})),
    path("admin/bot/<str:bot_id>/pushed", AdminBotViewSet.as_view({"patch": "push"})),
    path("user/search", PeopleViewSet.as_view({"get": "search"})),
    path("user/group/search", PeopleViewSet.as_view({"get": "search_groups"})),
    path("user/<str:user_id>", PeopleViewSet.as_view({"get": "retrieve"})),
]
