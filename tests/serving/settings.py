"""Just enough configuration for a server process of its own."""

import os
import tempfile

SECRET_KEY = "for-tests"
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.serving.urls"
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.path.join(os.environ.get("SERVER_TEST_FOLDER", tempfile.gettempdir()), "database.sqlite3"),
        "CONN_MAX_AGE": None,
    }
}
HOST = "127.0.0.1"
PORT = int(os.environ.get("PORT", "0"))
THREADS = int(os.environ.get("THREADS", "16"))
CONNECTIONS = 4096
HEAD_TIMEOUT = 5.0
MAX_BODY_MB = 1
UPLOADS_MB = 16
ANSWERS_MB = 16
BODY_JUDGES = ["tests.serving.urls.anybody"]
CORS_ALLOW_ALL_ORIGINS = True
BODY_TIMEOUT = 5.0
SHUTDOWN_GRACE = float(os.environ.get("SHUTDOWN_GRACE", "5"))
DATABASE_TIMEOUT = 10
METRICS_TOKEN = ""
TRACING = False
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
