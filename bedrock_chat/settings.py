"""Configuration, all of it from the environment. The README's table lists every variable read here."""

from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from bedrock_chat import environment as env
from bedrock_chat import logs
from bedrock_chat.console import theme
from bedrock_chat.database import addresses
from bedrock_chat.jobs.kinds import JOB_SCHEDULE, JOB_SHARES, JOBS, JOBS_THAT_NEVER_DIE  # noqa: F401  # of their own
from bedrock_chat.wire.framework_settings import REST_FRAMEWORK, SPECTACULAR_SETTINGS  # noqa: F401  # settings too

BASE_DIR = Path(__file__).resolve().parent.parent

# ---- Development or production --------------------------------------------------------------------------------------
# A fresh clone sets none of these three variables and runs with embedded defaults. Setting one means production.
DEBUG = env.boolean(
    "DEBUG", not any(env.is_set(name) for name in ("SECRET_KEY", "DATABASE_URL", "COGNITO_USER_POOL_ID"))
)
SECRET_KEY = env.text(
    "SECRET_KEY", "insecure-development-key-that-signs-nothing-outside-this-machine" if DEBUG else None
)
DATA_DIR = Path(env.text("DATA_DIR", str(BASE_DIR / "var")))
try:
    DATA_DIR.mkdir(parents=True, exist_ok=True)
except OSError as error:
    raise ImproperlyConfigured(f"DATA_DIR must be a folder that can be made and written: {error}.") from None

HOST = env.text("HOST", "127.0.0.1")
PORT = env.integer("PORT", 8000, maximum=65535)
PUBLIC_BASE_URL = env.http_url(
    "PUBLIC_BASE_URL",
    f"http://{'localhost' if HOST in ('127.0.0.1', '0.0.0.0') else HOST}:{PORT}",  # noqa: S104
)
ALLOWED_HOSTS = env.words(
    "ALLOWED_HOSTS", "*" if DEBUG else PUBLIC_BASE_URL.split("://")[1].split("/")[0].split(":")[0]
)
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES")
CORS_ALLOW_ORIGINS = env.words("CORS_ALLOW_ORIGINS", "*")

# ---- Web process ----------------------------------------------------------------------------------------------------
THREADS = env.integer("THREADS", 512, minimum=2)
TURNS = env.integer("TURNS", max(1, THREADS * 7 // 8), minimum=1)
if TURNS >= THREADS:
    raise ImproperlyConfigured(
        f"TURNS ({TURNS}) must be below THREADS ({THREADS}), so that short requests find a thread."
    )
TURNS_PER_USER = env.integer("TURNS_PER_USER", min(TURNS, max(8, TURNS // 4)), minimum=1)
TURNS_PER_PUBLICATION = env.integer("TURNS_PER_PUBLICATION", max(1, TURNS // 2), minimum=1)
CONNECTIONS = env.integer("CONNECTIONS", 4096, minimum=64)
WAITS = env.integer("WAITS", min(2000, CONNECTIONS // 2), maximum=CONNECTIONS // 2)
"""Requests of a process that may wait for something. Each keeps its connection, and others need connections too."""
HEAD_TIMEOUT = env.seconds("HEAD_TIMEOUT", 10, minimum=0.1)
MAX_BODY_MB = env.integer("MAX_BODY_MB", 136, minimum=1)  # twenty images and five documents in base64
BODY_TIMEOUT = env.seconds("BODY_TIMEOUT", 60, minimum=1)
UPLOADS_MB = env.integer("UPLOADS_MB", 1024, minimum=1)
UPLOAD_MB = env.integer("UPLOAD_MB", 50, minimum=1)
ANSWERS_MB = env.integer("ANSWERS_MB", 512, minimum=1)
BODY_JUDGES = [
    "publication.authentication.caller_of",
    "bedrock_chat.identity.authentication.caller_of",
    "bedrock_chat.console.sessions.caller_of",
]
"""One for each way of authentication: who sends a request, by its head alone (see `serving.callers`)."""
UPLOADS = {"/uploads": "bedrock_chat.blobs.upload_links.admit"}
"""Path whose PUT takes a file → who says by the head alone whose it is, and the folder to write it into."""
SHUTDOWN_GRACE = env.seconds("SHUTDOWN_GRACE", 10)

# ---- Identity -------------------------------------------------------------------------------------------------------
AWS_REGION = env.text("AWS_REGION", "us-east-1")
COGNITO_USER_POOL_ID = env.text("COGNITO_USER_POOL_ID", "")
COGNITO_CLIENT_IDS = env.words("COGNITO_CLIENT_ID") if COGNITO_USER_POOL_ID else []
if COGNITO_USER_POOL_ID and not COGNITO_CLIENT_IDS:
    raise ImproperlyConfigured("COGNITO_CLIENT_ID is required when COGNITO_USER_POOL_ID is set.")
COGNITO_ISSUER = env.http_url(
    "COGNITO_ISSUER", f"https://cognito-idp.{AWS_REGION}.amazonaws.com/{COGNITO_USER_POOL_ID or 'none'}"
)
COGNITO_JWKS_URL = env.http_url("COGNITO_JWKS_URL", f"{COGNITO_ISSUER}/.well-known/jwks.json")
JWKS_TIMEOUT = env.seconds("JWKS_TIMEOUT", 3, minimum=0.1)
JWKS_STALE_HOURS = env.integer("JWKS_STALE_HOURS", 24)
LOCAL_IDENTITIES = env.boolean("LOCAL_IDENTITIES", DEBUG)
LOCAL_ISSUER = env.text("LOCAL_ISSUER", "bedrock-chat:local")
LOCAL_CLIENT_ID = env.text("LOCAL_CLIENT_ID", "bedrock-chat")
LOCAL_GROUPS = env.words("LOCAL_GROUPS", "CreatingBotAllowed")
FAILED_TOKENS_RATE = env.rate("FAILED_TOKENS_RATE", "30/m")
DIRECTORY_TIMEOUT = env.seconds("DIRECTORY_TIMEOUT", 5, minimum=0.1)
DIRECTORY_RATE = env.rate("DIRECTORY_RATE", "600/m")  # a bot's page asks for each person whom it is shared with

# ---- Bedrock --------------------------------------------------------------------------------------------------------
BEDROCK = env.choice("BEDROCK", "emulator", ("emulator", "aws"))
BEDROCK_REGION = env.text("BEDROCK_REGION", AWS_REGION)
EMULATOR_PORT = env.integer("EMULATOR_PORT", 8001, maximum=65535)
_EMULATOR = f"http://127.0.0.1:{EMULATOR_PORT}" if BEDROCK == "emulator" else None
BEDROCK_ENDPOINT_URL = env.http_url_or("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", _EMULATOR)
_EMULATOR = BEDROCK_ENDPOINT_URL if BEDROCK == "emulator" else None
BEDROCK_CONTROL_ENDPOINT_URL = env.http_url_or("AWS_ENDPOINT_URL_BEDROCK", _EMULATOR)
"""Where guardrails are made."""
BEDROCK_AGENT_RUNTIME_ENDPOINT_URL = env.http_url_or("AWS_ENDPOINT_URL_BEDROCK_AGENT_RUNTIME", _EMULATOR)
"""Where knowledge bases are searched and agents are asked."""
BEDROCK_AGENT_ENDPOINT_URL = env.http_url_or("AWS_ENDPOINT_URL_BEDROCK_AGENT", _EMULATOR)
"""Where agents are described."""
CROSS_REGION_INFERENCE = env.boolean("CROSS_REGION_INFERENCE", True)
GLOBAL_INFERENCE = env.boolean("GLOBAL_INFERENCE", False)
INFERENCE_PROFILE_ARNS = env.mapping("INFERENCE_PROFILE_ARNS")
MODEL_PRICES = env.mapping("MODEL_PRICES")
MODEL_CONNECT_TIMEOUT = env.seconds("MODEL_CONNECT_TIMEOUT", 5, minimum=0.1)
MODEL_READ_TIMEOUT = env.seconds("MODEL_READ_TIMEOUT", 3600, minimum=1)  # AWS: an answer may take 60 minutes
MODEL_TOTAL_TIMEOUT = env.seconds("MODEL_TOTAL_TIMEOUT", 7200, minimum=1)
MODEL_RETRY_SECONDS = env.seconds("MODEL_RETRY_SECONDS", 20)
DUCKDUCKGO_URL = env.http_url("DUCKDUCKGO_URL", "https://html.duckduckgo.com/html") + "/"
FIRECRAWL_URL = env.http_url("FIRECRAWL_URL", "https://api.firecrawl.dev")
TOOL_ROUNDS = env.integer("TOOL_ROUNDS", 10, minimum=1, maximum=25)
TOOL_SECONDS = env.seconds("TOOL_SECONDS", 60, minimum=1)
TOOL_TURN_SECONDS = env.seconds("TOOL_TURN_SECONDS", 240, minimum=1)
TOOL_CALLS_PER_ROUND = env.integer("TOOL_CALLS_PER_ROUND", 8, minimum=1, maximum=64)
TOOL_CALLS_PER_TURN = env.integer("TOOL_CALLS_PER_TURN", 40, minimum=1, maximum=1_000)
TURN_MAX_COST = env.seconds("TURN_MAX_COST", 2)  # USD
TURN_MAX_TOKENS = env.integer("TURN_MAX_TOKENS", 2_000_000)
TOOL_THREADS = env.integer("TOOL_THREADS", 64, minimum=1)
HISTORY_TOOL_CHARS = env.integer("HISTORY_TOOL_CHARS", 40_000)
TOOL_RESULT_CHARS = env.integer("TOOL_RESULT_CHARS", 40_000, minimum=1_000, maximum=1_000_000)
TURN_LEASE_SECONDS = env.seconds("TURN_LEASE_SECONDS", 15, minimum=1)
CHECKPOINT_SECONDS = env.seconds("CHECKPOINT_SECONDS", 2, minimum=0.1)
DEFAULT_MODEL = env.text("DEFAULT_MODEL", "claude-v4.5-sonnet")
THINKING_TOKENS = env.integer("THINKING_TOKENS", 8192)
TITLE_MODEL = env.text("TITLE_MODEL", "claude-v4.5-haiku")
GLOBAL_AVAILABLE_MODELS = env.words("GLOBAL_AVAILABLE_MODELS")
LOGO_PATH = env.text("LOGO_PATH", "")

# ---- Jobs -----------------------------------------------------------------------------------------------------------
JOB_LEASE_SECONDS = env.seconds("JOB_LEASE_SECONDS", 15, minimum=1)
WORKER_CONCURRENCY = env.integer("WORKER_CONCURRENCY", 8, minimum=1)
WORKER_PORT = env.integer("WORKER_PORT", 0, maximum=65535)
CELERY_BROKER_URL = env.broker_url("CELERY_BROKER_URL")
CELERY_BROKER_OPTIONS = env.mapping("CELERY_BROKER_OPTIONS")
CELERY_QUEUE = env.name("CELERY_QUEUE", "bedrock-chat")

# ---- Money ----------------------------------------------------------------------------------------------------------
REPORT_TIME_ZONE = env.time_zone("REPORT_TIME_ZONE", "UTC")
_ALERT = "ALERT" if env.is_set("ALERT_URL") else "BUDGET_ALERT"  # the earlier name
ALERT_URL = env.http_url(f"{_ALERT}_URL", "") if env.is_set(f"{_ALERT}_URL") else ""
ALERT_SECRET = env.webhook_secret(f"{_ALERT}_SECRET") if ALERT_URL else b""
ALERT_EMAILS = env.words("ALERT_EMAILS") or env.words("BUDGET_ALERT_EMAILS")
ALERT_THROTTLE_PERCENT = env.integer("ALERT_THROTTLE_PERCENT", 10, minimum=1, maximum=100)
ALERT_KEY_DAYS = env.integer("ALERT_KEY_DAYS", 14)
EMAIL_HOST = env.text("EMAIL_HOST", "localhost")
EMAIL_PORT = env.integer("EMAIL_PORT", 25, minimum=1, maximum=65535)
EMAIL_HOST_USER = env.text("EMAIL_USER", "")
EMAIL_HOST_PASSWORD = env.text("EMAIL_PASSWORD", "")
EMAIL_USE_TLS = env.boolean("EMAIL_STARTTLS", False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("EMAIL_FROM", "bedrock-chat@localhost")

# ---- Retention ------------------------------------------------------------------------------------------------------
RETENTION_DAYS = env.days("RETENTION_DAYS")
LEDGER_RETENTION_DAYS = env.days("LEDGER_RETENTION_DAYS", at_least=40, no_shorter_than="RETENTION_DAYS")
"""Budgets of a month are held against the ledger until two days after its end."""
ROLLUP_RETENTION_DAYS = env.days("ROLLUP_RETENTION_DAYS", no_shorter_than="LEDGER_RETENTION_DAYS")

# ---- Other servers --------------------------------------------------------------------------------------------------
OUTBOUND_ALLOW = env.networks_and_hosts("OUTBOUND_ALLOW")
OUTBOUND_HTTP_CREDENTIALS = env.boolean("OUTBOUND_HTTP_CREDENTIALS", False)
OUTBOUND_PROXY = env.proxy_url("OUTBOUND_PROXY")

# ---- Knowledge ------------------------------------------------------------------------------------------------------
KNOWLEDGE_READERS = env.integer("KNOWLEDGE_READERS", 2, minimum=1, maximum=64)
KNOWLEDGE_FILE_MB = env.integer("KNOWLEDGE_FILE_MB", 50, minimum=1, maximum=1024)
KNOWLEDGE_S3 = env.buckets("KNOWLEDGE_S3")
KNOWLEDGE_SLICE_SECONDS = env.seconds("KNOWLEDGE_SLICE_SECONDS", 30, minimum=1)
KNOWLEDGE_SYNC_MAX_COST = env.usd("KNOWLEDGE_SYNC_MAX_COST", "5")
KNOWLEDGE_REFRESH_HOURS = env.integer("KNOWLEDGE_REFRESH_HOURS", 0)
KNOWLEDGE_MAX_DOCUMENTS = env.integer("KNOWLEDGE_MAX_DOCUMENTS", 25_000, minimum=1)
KNOWLEDGE_MAX_CHUNKS = env.integer("KNOWLEDGE_MAX_CHUNKS", 1_000_000, minimum=1)
KNOWLEDGE_MAX_CHARACTERS = env.integer("KNOWLEDGE_MAX_CHARACTERS", 2_000_000, minimum=1)
KNOWLEDGE_MAX_PAGES = env.integer("KNOWLEDGE_MAX_PAGES", 10_000, minimum=1)
KNOWLEDGE_CRAWL_HOURS = env.integer("KNOWLEDGE_CRAWL_HOURS", 6, minimum=1)
CRAWL_PAGES_PER_MINUTE = env.integer("CRAWL_PAGES_PER_MINUTE", 300, minimum=1)
PARSING_MODEL = env.text("PARSING_MODEL", "claude-v4.5-haiku")

# ---- Bots -----------------------------------------------------------------------------------------------------------
BOT_VERSIONS = env.integer("BOT_VERSIONS", 50, minimum=1)
BOT_STORE = env.boolean("BOT_STORE", True)
BOTS_PER_USER = env.integer("BOTS_PER_USER", 1000, minimum=1)

# ---- Published APIs -------------------------------------------------------------------------------------------------
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
QUOTA_WEEK_STARTS = _WEEKDAYS.index(env.choice("QUOTA_WEEK_STARTS", "sunday", _WEEKDAYS))
PUBLISHED_BACKLOG = env.integer("PUBLISHED_BACKLOG", 10_000, minimum=1)
MAX_KEYS_PER_PUBLICATION = env.integer("MAX_KEYS_PER_PUBLICATION", 20, minimum=1)
API_KEY_REVEAL = env.choice("API_KEY_REVEAL", "always", ("always", "once"))
PUBLISHED_NETWORKS = env.networks("PUBLISHED_NETWORKS")
POLLS_COUNT = env.boolean("POLLS_COUNT", False)
FAILED_KEYS_RATE = env.rate("FAILED_KEYS_RATE", "60/m")
IDEMPOTENCY_KEYS = env.integer("IDEMPOTENCY_KEYS", 100_000, minimum=1)
IDEMPOTENCY_MB = env.integer("IDEMPOTENCY_MB", 64, minimum=1)
PUBLISHED_DOCS = env.boolean("PUBLISHED_DOCS", True)
PUBLISHED_DOCS_RATE = env.rate("PUBLISHED_DOCS_RATE", "120/m")

# ---- Console --------------------------------------------------------------------------------------------------------
CONSOLE_COLOR = env.colour("CONSOLE_COLOR", "#4f46e5")  # the chat page's
CONSOLE_LOGO = env.picture("CONSOLE_LOGO")

# ---- Django ---------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",  # its default one would put a site of its own in the place of ConsoleConfig's
    "bedrock_chat.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "bedrock_chat.apps.BedrockChatConfig",
    "bots.apps.BotsConfig",
    "store.apps.StoreConfig",
    "conversations.apps.ConversationsConfig",
    "publication.apps.PublicationConfig",
]
ROOT_URLCONF = "bedrock_chat.urls"
ASGI_APPLICATION = "bedrock_chat.asgi.application"
WEBSOCKETS = {"/ws": "conversations.streaming.websocket.session.serve"}
AUTH_USER_MODEL = "bedrock_chat.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
APPEND_SLASH = False  # the contract knows neither trailing slashes nor redirects
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = True
FORMAT_MODULE_PATH = ["bedrock_chat.console.formats"]  # the zone's name stands with every time

# Django's CommonMiddleware is left out: it judges the Host once more, which is WireMiddleware's to do, and nothing else
# that it does is wanted here.
MIDDLEWARE = [
    "bedrock_chat.logs.AccessLogMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "publication.cors.PublishedCors",
    "publication.openai.errors.OpenAIErrors",
    "bedrock_chat.wire.middleware.WireMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "bedrock_chat.console.middleware.PagesStatic",
    "bedrock_chat.console.middleware.PagesSession",
    "bedrock_chat.console.middleware.PagesAuthentication",
    "bedrock_chat.console.middleware.PagesCsrf",
    "bedrock_chat.console.middleware.PagesMessages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "console" / "templates"],  # before the theme's, some of which it replaces
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "libraries": {"console": "bedrock_chat.console.tags"},
        },
    }
]

UNFOLD = theme.configuration(CONSOLE_COLOR, has_logo=CONSOLE_LOGO is not None)

# ---- Data -----------------------------------------------------------------------------------------------------------
DATABASE_URL = env.text("DATABASE_URL", f"sqlite:///{DATA_DIR / 'bedrock-chat.sqlite3'}")
DATABASE_POOL_SIZE = env.integer("DATABASE_POOL_SIZE", 20, minimum=1)
DATABASE_TIMEOUT = env.seconds("DATABASE_TIMEOUT", 10, minimum=0.1)
DATABASES = addresses.databases(DATABASE_URL, data_dir=DATA_DIR, pool_size=DATABASE_POOL_SIZE, timeout=DATABASE_TIMEOUT)

REDIS_URL = env.text("REDIS_URL", "")
if REDIS_URL and not REDIS_URL.startswith(("redis://", "rediss://", "unix://")):
    raise ImproperlyConfigured("REDIS_URL must start with redis://, rediss:// or unix://.")
CACHES: dict[str, dict[str, Any]]
if REDIS_URL:
    _REDIS: dict[str, Any] = {
        "LOCATION": REDIS_URL,
        "OPTIONS": {"pool_class": "bedrock_chat.process.redis_client.Pool"},
    }
    CACHES = {
        "default": _REDIS | {"BACKEND": "django.core.cache.backends.redis.RedisCache"},
        "ratelimit": _REDIS | {"BACKEND": "bedrock_chat.process.redis_cache.SharedCounters"},
    }
else:
    _MEMORY = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    # A store of its own: in Django's of 300 entries, failures from elsewhere would displace a count.
    CACHES = {
        "default": _MEMORY,
        "ratelimit": _MEMORY | {"LOCATION": "ratelimit", "OPTIONS": {"MAX_ENTRIES": 20_000}},
    }
CACHES["default"]["KEY_PREFIX"] = "bedrock-chat"
CACHES["ratelimit"]["KEY_PREFIX"] = "bedrock-chat-ratelimit"
RATELIMIT_USE_CACHE = "ratelimit"

BLOB_BUCKET = env.text("BLOB_BUCKET", "")
BLOB_PREFIX = env.text("BLOB_PREFIX", "")
BLOB_GRACE_SECONDS = env.seconds("BLOB_GRACE_SECONDS", 86_400, minimum=1)
BLOB_TIMEOUT = env.seconds("BLOB_TIMEOUT", 15, minimum=0.1)
_BLOBS: dict[str, Any] = (
    {
        "BACKEND": "bedrock_chat.blobs.s3_storage.S3Files",
        "OPTIONS": {"bucket": BLOB_BUCKET, "prefix": BLOB_PREFIX, "region": AWS_REGION, "timeout": BLOB_TIMEOUT},
    }
    if BLOB_BUCKET
    else {"BACKEND": "bedrock_chat.blobs.local_storage.LocalFiles", "OPTIONS": {"location": DATA_DIR / "blobs"}}
)
STORAGES = {
    "default": _BLOBS,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
BLOB_URL_SECONDS = env.integer("BLOB_URL_SECONDS", 3600, minimum=1, maximum=604_800)  # S3 signs for a week at most
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # served from the installed packages, so that nobody has to run collectstatic
WHITENOISE_AUTOREFRESH = False

# ---- Knowledge ------------------------------------------------------------------------------------------------------
KNOWLEDGE_CACHE_MB = env.integer("KNOWLEDGE_CACHE_MB", 256, minimum=1)

# ---- Security -------------------------------------------------------------------------------------------------------
ENCRYPTION_KEYS = env.encryption_keys("ENCRYPTION_KEYS")
"""The first encrypts, all decrypt. Empty: see `encryption.keys`."""
AUTHENTICATION_BACKENDS = ["bedrock_chat.identity.passwords.OperatorBackend", "bedrock_chat.console.roles.RoleBackend"]
PASSWORD_HASHERS = ["bedrock_chat.identity.passwords.BoundedPasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"  # where a sign-in leads that came from no page, or from one of another host
CONSOLE_REQUIRE_SECOND_FACTOR = env.boolean("CONSOLE_REQUIRE_SECOND_FACTOR", False)
CONSOLE_SESSION_HOURS = env.integer("CONSOLE_SESSION_HOURS", 12, minimum=1, maximum=168)
CONSOLE_IDLE_MINUTES = env.integer("CONSOLE_IDLE_MINUTES", 60, minimum=5, maximum=10_080)
CONSOLE_OIDC_CLIENT_ID = env.text("CONSOLE_OIDC_CLIENT_ID", "")
CONSOLE_OIDC_CLIENT_SECRET = env.text("CONSOLE_OIDC_CLIENT_SECRET", "")
CONSOLE_OIDC_DOMAIN = env.http_url("CONSOLE_OIDC_DOMAIN", "") if CONSOLE_OIDC_CLIENT_ID else ""
if CONSOLE_OIDC_CLIENT_ID and not COGNITO_USER_POOL_ID:
    raise ImproperlyConfigured("CONSOLE_OIDC_CLIENT_ID needs COGNITO_USER_POOL_ID, whose tokens it gets.")
if CONSOLE_OIDC_CLIENT_ID in COGNITO_CLIENT_IDS:
    raise ImproperlyConfigured(
        "CONSOLE_OIDC_CLIENT_ID must be a client of its own: the REST API takes tokens of COGNITO_CLIENT_ID."
    )
SESSION_ENGINE = "bedrock_chat.identity.session_store"
SESSION_COOKIE_AGE = CONSOLE_SESSION_HOURS * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
SESSION_COOKIE_NAME = "console_session"
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = "/console"
SECURE_HSTS_SECONDS = 0 if DEBUG else env.integer("HSTS_SECONDS", 31_536_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not DEBUG
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
X_FRAME_OPTIONS = "DENY"
CSRF_TRUSTED_ORIGINS = [PUBLIC_BASE_URL]
SILENCED_SYSTEM_CHECKS = [
    "security.W003",  # it knows the CSRF middleware by its name alone; bedrock_chat.W003 knows ours too
    "security.W008",  # the proxy terminates TLS, and the contract forbids redirects
    "django_ratelimit.E003",  # a cache per process admits too many; it backs coarse limits, never a quota
    "django_ratelimit.W001",
]

CORS_ALLOW_ALL_ORIGINS = "*" in CORS_ALLOW_ORIGINS
CORS_ALLOWED_ORIGINS = [origin for origin in CORS_ALLOW_ORIGINS if origin != "*"]
CORS_ALLOW_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_TRACING = ["traceparent", "tracestate", "baggage", "sentry-trace"]  # which OpenTelemetry and Sentry add in browsers
CORS_ALLOW_HEADERS = ["authorization", "content-type", "accept", "last-event-id", "x-request-id", *_TRACING]
CORS_EXPOSE_HEADERS = ["Link", "Retry-After", "X-Request-ID", "X-Budget-Remaining"]
CORS_PREFLIGHT_MAX_AGE = 86_400
CORS_URLS_REGEX = r"^/(?!console/|published/).*$"  # published APIs have origins of their own

# ---- Metrics and traces ---------------------------------------------------------------------------------------------
METRICS_TOKEN = env.secret("METRICS_TOKEN")
METRICS_DIR = Path(env.text("METRICS_DIR", str(DATA_DIR / "metrics")))
TRACING = env.tracing()
"""Whether OTEL_EXPORTER_OTLP_ENDPOINT, or that of traces alone, names a collector. The SDK reads the other OTEL_*."""

# ---- Logs -----------------------------------------------------------------------------------------------------------
LOG_FORMAT = env.choice("LOG_FORMAT", "text" if DEBUG else "json", ("text", "json"))
LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
LOGGING = logs.configure(as_json=LOG_FORMAT == "json", level=LOG_LEVEL)
