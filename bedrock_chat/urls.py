"""Every route, without trailing slashes. The REST API owns /admin/…, so Django's admin lives at /console/."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path, re_path

from bedrock_chat.blobs.views import BlobViewSet, UploadViewSet
from bedrock_chat.identity.views import SpenderViewSet
from bedrock_chat.ledger.budgets.views import BudgetViewSet
from bedrock_chat.views import GlobalConfigViewSet, HealthViewSet, MetricsView, ReadinessViewSet
from bedrock_chat.wire import errors
from bedrock_chat.wire.documentation import RedocView, SchemaView, SwaggerView

urlpatterns = [
    # First what is asked most, since a route costs what those before it do.
    path("published/", include("publication.published_urls")),
    path("", include("conversations.urls")),
    path("health", HealthViewSet.as_view({"get": "retrieve"})),
    path("ready", ReadinessViewSet.as_view({"get": "retrieve"})),
    path("config/global", GlobalConfigViewSet.as_view({"get": "retrieve"})),
    path("budget", BudgetViewSet.as_view({"get": "retrieve"})),
    path("blobs/<str:sha256>", BlobViewSet.as_view({"get": "retrieve"})),
    path("uploads", UploadViewSet.as_view({"put": "update"})),
    path("", include("bots.urls")),  # before `bot/…/publication`: `bot/private/publication` is the bot of that id
    path("", include("bots.knowledge.urls")),
    path("", include("conversations.bot_usage.urls")),
    path("", include("publication.urls")),
    path("", include("store.urls")),
    path("admin/users", SpenderViewSet.as_view({"get": "list"})),
    path("console/", admin.site.urls),
    path("schema", SchemaView.as_view(), name="schema"),
    path("docs", SwaggerView.as_view(url_name="schema")),
    path("docs/redoc", RedocView.as_view(url_name="schema")),
]
if settings.LOCAL_IDENTITIES:
    from bedrock_chat.identity.local import JwksView

    urlpatterns.append(path(".well-known/jwks.json", JwksView.as_view()))
if settings.METRICS_TOKEN:
    urlpatterns.append(path("metrics", MetricsView.as_view()))

# This stays last, also under DEBUG: an unknown route gets an error in our JSON shape, not Django's page.
urlpatterns.append(re_path(r"", errors.not_found))

handler400 = errors.bad_request
handler403 = errors.permission_denied
handler404 = errors.not_found
handler500 = errors.server_error
