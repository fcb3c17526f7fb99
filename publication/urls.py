"""Routes of publications and keys. Those of the published APIs are in `published_urls`."""

from django.urls import path

from publication.views.publications import KeyListViewSet, KeyViewSet, PublicationViewSet, PublishedBotsViewSet

PUBLICATION = "bot/<str:bot_id>/publication"
KEY = f"{PUBLICATION}/api-key/<str:api_key_id>"

urlpatterns = [
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
