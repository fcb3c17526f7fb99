"""Routes of publications and keys, and of the published APIs."""

from django.urls import path

from publication.views.publications import KeyListViewSet, KeyViewSet, PublicationViewSet, PublishedBotsViewSet
from publication.views.published import PublishedConversationViewSet, PublishedStreamViewSet, PublishedTurnViewSet

PUBLICATION = "bot/<str:bot_id>/publication"
KEY = f"{PUBLICATION}/api-key/<str:api_key_id>"
API = "published/<str:bot_id>/<str:stage>"
CONVERSATION = f"{API}/conversation/<str:conversation_id>"

urlpatterns = [
    path(f"{API}/conversation", PublishedTurnViewSet.as_view({"post": "create"})),
    path(f"{CONVERSATION}/<str:message_id>/stream", PublishedStreamViewSet.as_view({"get": "stream"})),
    path(f"{CONVERSATION}/<str:message_id>/stop", PublishedStreamViewSet.as_view({"post": "stop"})),
    path(f"{CONVERSATION}/<str:message_id>", PublishedConversationViewSet.as_view({"get": "retrieve_message"})),
    path(CONVERSATION, PublishedConversationViewSet.as_view({"get": "retrieve"})),
    path(f"{API}/health", PublishedConversationViewSet.as_view({"get": "health"})),
    path(
        PUBLICATION,
        PublicationViewSet.as_view({"post": "create", "get": "retrieve", "patch": "update", "delete": "destroy"}),
    ),
    path(f"{PUBLICATION}/api-key", KeyListViewSet.as_view({"get": "list", "post": "create"})),
    path(KEY, KeyViewSet.as_view({"get": "retrieve", "patch": "update", "delete": "destroy"})),
    path(f"{KEY}/rotate", KeyViewSet.as_view({"post": "rotate"})),
    path(f"{KEY}/top-up", KeyViewSet.as_view({"post": "top_up"})),
    path("admin/published-bots", PublishedBotsViewSet.as_view({"get": "retrieve"})),
]
