"""Strict readers of environment variables: a wrong or missing value stops the start and names its variable."""

import base64
import ipaddress
import json
import os
import re
import zoneinfo
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})
PICTURES = {".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp", ".jpg": "image/jpeg"}
LARGEST_PICTURE = 256 * 1024
BROKERS = ("redis", "rediss", "redis+socket", "sentinel", "amqp", "amqps", "sqs", "filesystem")


def is_set(name: str) -> bool:
    """An empty variable counts as unset, as it does for compose files and unit files."""
    return bool(os.environ.get(name, "").strip())


def text(name: str, default: str | None = None) -> str:
    """The variable, stripped. Without a default it is required."""
    value = os.environ.get(name, "").strip()
    if value:
        return value
    if default is None:
        raise ImproperlyConfigured(f"{name} is required and not set.")
    return default


def name(variable: str, default: str) -> str:
    """A word that other programs take as a part of their own names."""
    value = text(variable, default)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", value):
        raise ImproperlyConfigured(
            f"{variable} must be at most 40 letters, digits, hyphens and underscores, not {value!r}."
        )
    return value


def boolean(name: str, default: bool) -> bool:
    value = text(name, "true" if default else "false").lower()
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}.")


def integer(name: str, default: int, *, minimum: int = 0, maximum: int | None = None) -> int:
    value = text(name, str(default))
    try:
        number = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None
    if number < minimum or (maximum is not None and number > maximum):
        bounds = f"at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
        raise ImproperlyConfigured(f"{name} must be {bounds}, not {number}.")
    return number


def seconds(name: str, default: float, *, minimum: float = 0.0) -> float:
    """A duration in seconds; fractions are allowed."""
    value = text(name, str(default))
    try:
        number = float(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a number of seconds, not {value!r}.") from None
    if not minimum <= number < float("inf"):
        raise ImproperlyConfigured(f"{name} must be at least {minimum:g} seconds, not {value}.")
    return number


def usd(name: str, default: str) -> Decimal:
    """An amount of USD; fractions are allowed, and 0 means nothing at all."""
    value = text(name, default)
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise ImproperlyConfigured(f"{name} must be an amount of USD such as 5 or 0.5, not {value!r}.") from None
    if not amount.is_finite() or amount < 0:
        raise ImproperlyConfigured(f"{name} must be 0 or more USD, not {value}.")
    return amount


def days(name: str, *, at_least: int = 1, no_shorter_than: str = "") -> int:
    """How many days something is kept; 0 is for ever. `no_shorter_than` is another such variable."""
    number = integer(name, 0, maximum=36_500)
    if 0 < number < at_least:
        raise ImproperlyConfigured(f"{name} must be 0, for ever, or at least {at_least} days, not {number}.")
    shorter = days(no_shorter_than) if no_shorter_than else number
    if number and not 0 < shorter <= number:
        raise ImproperlyConfigured(
            f"{name} ({number}) must not be shorter than {no_shorter_than} ({shorter}); 0 means for ever."
        )
    return number


def choice(name: str, default: str, choices: Sequence[str]) -> str:
    value = text(name, default)
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
    return value


def time_zone(name: str, default: str) -> str:
    """The name of a zone of the tz database, whose days begin with quarter hours of UTC, as those of today all do."""
    value = text(name, default)
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ImproperlyConfigured(f"{name} must be a time zone such as Europe/Berlin, not {value!r}.") from None
    return value


def words(name: str, default: str = "") -> list[str]:
    """A list separated by commas; blanks around entries are dropped."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def rate(name: str, default: str) -> str:
    """A number of requests per period, in django-ratelimit's notation: `30/m`, `100/h`, `5/10s`."""
    value = text(name, default)
    if not re.fullmatch(r"\d+/([1-9]\d*)?[smhd]", value):
        raise ImproperlyConfigured(f"{name} must be a rate such as 30/m or 100/h, not {value!r}.")
    return value


def http_url(name: str, default: str) -> str:
    """An absolute http(s) address without a trailing slash."""
    value = text(name, default).rstrip("/")
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid:
        raise ImproperlyConfigured(f"{name} must be an http:// or https:// address, not {value!r}.")
    return value


def colour(name: str, default: str) -> str:
    """A colour as `#rrggbb`."""
    value = text(name, default).lower()
    if not re.fullmatch(r"#[0-9a-f]{6}", value):
        raise ImproperlyConfigured(f"{name} must be a colour like #4f46e5, not {value!r}.")
    return value


def picture(name: str) -> Path | None:
    """A file of this machine that browsers show as an image, or None. It is small, for it is read at each request."""
    if not is_set(name):
        return None
    path = Path(text(name))
    if path.suffix.lower() not in PICTURES or not path.is_file():
        raise ImproperlyConfigured(f"{name} must name a file that ends with {', '.join(PICTURES)}, not {str(path)!r}.")
    if path.stat().st_size > LARGEST_PICTURE:
        raise ImproperlyConfigured(f"{name} names a file of more than {LARGEST_PICTURE // 1024} KB.")
    return path


def http_url_or(name: str, default: str | None) -> str | None:
    """Such an address, or the default where the variable is not set."""
    return http_url(name, "") if is_set(name) else default


def webhook_secret(name: str) -> bytes:
    """A key that signs webhooks: 24 to 64 bytes in base64, as Standard Webhooks has them. No error shows it."""
    try:
        key = base64.b64decode(text(name).removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not 24 <= len(key) <= 64:
        raise ImproperlyConfigured(f"{name} must be whsec_ and 24 to 64 random bytes in base64.")
    return key


def broker_url(name: str) -> str:
    """The address of a message broker that Kombu knows, or nothing. No error shows it: it may have a password."""
    value = text(name, "")
    scheme = value.partition("://")[0]
    if value and ("://" not in value or scheme not in BROKERS):
        raise ImproperlyConfigured(f"{name} must be an address that begins with one of {', '.join(BROKERS)}, and ://.")
    return value


def networks(name: str) -> list[Network]:
    """IP addresses or networks in CIDR notation, separated by commas."""
    parsed = []
    for word in words(name):
        try:
            parsed.append(ipaddress.ip_network(word, strict=False))
        except ValueError:
            raise ImproperlyConfigured(f"{name} must list IP addresses or networks; {word!r} is neither.") from None
    return parsed


def networks_and_hosts(name: str) -> tuple[tuple[Network, ...], frozenset[tuple[str, int]]]:
    """Networks, and hosts with a port: `10.0.0.0/8, wiki.example.com:443, [fd00::1]:8080`."""
    parsed, hosts = list[Network](), set[tuple[str, int]]()
    for word in words(name):
        try:
            parsed.append(ipaddress.ip_network(word))
            continue
        except ValueError:
            parts = urlsplit(f"//{word}")
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or not port or parts.netloc != word or "@" in word:
            raise ImproperlyConfigured(f"{name} must list networks and host:port; {word!r} is neither.")
        hosts.add((str(ipaddress.ip_address(host)) if ":" in host else host, port))
    return tuple(parsed), frozenset(hosts)


def proxy_url(name: str) -> str:
    """The address of an HTTP proxy, or nothing. No error shows it: it may have a password."""
    value = text(name, "")
    try:
        parts = urlsplit(value)
        valid = parts.scheme == "http" and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if value and not valid:
        raise ImproperlyConfigured(f"{name} must be an http:// address.")
    return value


def buckets(name: str) -> tuple[tuple[str, str], ...]:
    """Buckets of S3, and folders in them: `handbooks, wiki/public`. A folder ends with a slash; a bucket has ""."""
    parsed = list[tuple[str, str]]()
    for word in words(name):
        bucket, _, folder = word.removeprefix("s3://").partition("/")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,62}", bucket):
            raise ImproperlyConfigured(f"{name} must list buckets or bucket/folder; {word!r} is neither.")
        parsed.append((bucket, folder and f"{folder.rstrip('/')}/"))
    return tuple(parsed)


def mapping(name: str) -> dict[str, Any]:
    """A JSON object."""
    value = text(name, "{}")
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise ImproperlyConfigured(f"{name} must be a JSON object.")
    return parsed


def is_encryption_key(value: str) -> bool:
    """Whether this is a key of Fernet: 32 bytes in base64's alphabet for URLs, written the one way that is right."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}=", value):
        return False
    return base64.urlsafe_b64encode(base64.urlsafe_b64decode(value)).decode() == value


def encryption_keys(name: str) -> list[str]:
    """Keys of Fernet, separated by commas. No error shows anything of a key."""
    keys = words(name)
    if is_set(name) and not keys:
        raise ImproperlyConfigured(f"{name} is set and lists no key.")
    for position, key in enumerate(keys, 1):
        if not is_encryption_key(key):
            raise ImproperlyConfigured(
                f"{name} must list keys of 32 bytes in URL-safe base64, separated by commas; number {position} is none."
            )
        if key in keys[: position - 1]:
            raise ImproperlyConfigured(f"{name} lists a key twice: number {position}.")
    return keys


SHORTEST_SECRET = 16


def secret(name: str) -> str:
    """A password between programs, which goes into a header as it is; empty if it is not set."""
    value = text(name, "")
    if value and (len(value) < SHORTEST_SECRET or not re.fullmatch(r"[!-~]+", value)):
        raise ImproperlyConfigured(
            f"{name} must have at least {SHORTEST_SECRET} characters, all of them ASCII and none a blank."
        )
    return value


def tracing() -> bool:
    """Whether traces are to be sent, by OpenTelemetry's own variables."""
    protocol = text("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", text("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"))
    if text("OTEL_SDK_DISABLED", "").lower() == "true" or text("OTEL_TRACES_EXPORTER", "otlp") == "none":
        return False
    if not is_set("OTEL_EXPORTER_OTLP_ENDPOINT") and not is_set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        return False
    if protocol != "http/protobuf":
        raise ImproperlyConfigured(f"OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf, not {protocol!r}.")
    return True


def set_for_library(name: str, value: str) -> None:
    """Sets a variable by which alone a library can be told something, before that library is imported."""
    os.environ[name] = value
