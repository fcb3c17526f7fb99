"""Routes of people and groups."""

from django.urls import path

from bots.views.people import PeopleViewSet

urlpatterns = [
    path("user/search", PeopleViewSet.as_view({"get": "search"})),
    path("user/group/search", PeopleViewSet.as_view({"get": "search_groups"})),
    path("user/<str:user_id>", PeopleViewSet.as_view({"get": "retrieve"})),
]
