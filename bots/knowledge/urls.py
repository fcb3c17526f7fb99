"""Routes of a bot's knowledge."""

from django.urls import path

from bots.knowledge.views import KnowledgeViewSet

KNOWLEDGE = "bot/<str:bot_id>/knowledge"

urlpatterns = [
    path(KNOWLEDGE, KnowledgeViewSet.as_view({"get": "retrieve"})),
    path(f"{KNOWLEDGE}/documents", KnowledgeViewSet.as_view({"get": "list_documents"})),
    path(f"{KNOWLEDGE}/sync", KnowledgeViewSet.as_view({"post": "sync"})),
    path(f"{KNOWLEDGE}/cancel", KnowledgeViewSet.as_view({"post": "cancel"})),
    path(f"{KNOWLEDGE}/search", KnowledgeViewSet.as_view({"post": "search"})),
]
