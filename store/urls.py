"""Routes of the store."""

from django.urls import path

from store.views import StoreViewSet

urlpatterns = [
    path("store/search", StoreViewSet.as_view({"get": "search"})),
    path("store/popular", StoreViewSet.as_view({"get": "list_popular"})),
    path("store/pickup", StoreViewSet.as_view({"get": "list_picked"})),
]
