"""Routes of the published APIs, below `/published/`."""

from django.urls import path

from publication.openai.views import ChatCompletionsViewSet, ModelsViewSet
from publication.views.documentation import PublishedSchemaViewSet, PublishedSwaggerView
from publication.views.published import PublishedConversationViewSet, PublishedStreamViewSet, PublishedTurnViewSet

API = "<str:bot_id>/<str:stage>"
CONVERSATION = f"{API}/conversation/<str:conversation_id>"

urlpatterns = [
    path(f"{API}/conversation", PublishedTurnViewSet.as_view({"post": "create"})),
    path(f"{CONVERSATION}/<str:message_id>", PublishedConversationViewSet.as_view({"get": "retrieve_message"})),
    path(f"{CONVERSATION}/<str:message_id>/stream", PublishedStreamViewSet.as_view({"get": "stream"})),
    path(f"{CONVERSATION}/<str:message_id>/stop", PublishedStreamViewSet.as_view({"post": "stop"})),
    path(CONVERSATION, PublishedConversationViewSet.as_view({"get": "retrieve"})),
    path(f"{API}/v1/chat/completions", ChatCompletionsViewSet.as_view({"post": "create"})),
    path(f"{API}/v1/models", ModelsViewSet.as_view({"get": "retrieve"})),
    path(f"{API}/health", PublishedConversationViewSet.as_view({"get": "health"})),
    path(f"{API}/openapi.json", PublishedSchemaViewSet.as_view({"get": "retrieve"})),
    path(f"{API}/docs", PublishedSwaggerView.as_view()),
]
