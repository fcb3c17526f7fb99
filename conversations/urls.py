"""Routes of conversations. Ids are the client's and may hold slashes; so the longer routes come first.

A related document's id is a tool's and may end like any route, so its route comes before all of them. `naming` knows
which ids the routes below cannot tell apart. Change the two together: a test compares them.
"""

from django.conf import settings
from django.urls import path

from conversations.views import (
    ConversationListViewSet,
    ConversationViewSet,
    FeedbackViewSet,
    RelatedDocumentViewSet,
    RunningTurnViewSet,
    TurnViewSet,
)

MESSAGE = "conversation/<path:conversation_id>/<str:message_id>"
RELATED = "conversation/<shortest:conversation_id>/related-documents"

urlpatterns = [
    path("conversation", TurnViewSet.as_view({"post": "create"})),
    path("conversations", ConversationListViewSet.as_view({"get": "list", "delete": "destroy_all"})),
    path("conversations/search", ConversationListViewSet.as_view({"get": "search"})),
    path("conversations/bulk-delete", ConversationListViewSet.as_view({"post": "destroy_many"})),
    path(f"{RELATED}/<path:source_id>", RelatedDocumentViewSet.as_view({"get": "retrieve"})),
    path(RELATED, RelatedDocumentViewSet.as_view({"get": "list"})),
    path("conversation/<path:conversation_id>/title", ConversationViewSet.as_view({"patch": "rename"})),
    path("conversation/<path:conversation_id>/proposed-title", ConversationViewSet.as_view({"get": "propose_title"})),
    path(f"{MESSAGE}/stream", RunningTurnViewSet.as_view({"get": "stream"})),
    path(f"{MESSAGE}/stop", RunningTurnViewSet.as_view({"post": "stop"})),
    path(f"{MESSAGE}/feedback", FeedbackViewSet.as_view({"put": "update"})),
    path("conversation/<path:conversation_id>", ConversationViewSet.as_view({"get": "retrieve", "delete": "destroy"})),
]
if settings.LOCAL_IDENTITIES:
    from conversations.chat_page import chat_page

    urlpatterns.append(path("chat", chat_page))
