"""Configuration: a wrong value stops the start, in one sentence that names its variable."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from bedrock_chat import checks

ROOT = Path(__file__).resolve().parent.parent
VARIABLES = ("SECRET_KEY", "DATABASE_URL", "COGNITO_USER_POOL_ID", "DEBUG", "DATA_DIR")


def read(monkeypatch: pytest.MonkeyPatch, data_dir: Path, **environment: str) -> ModuleType:
    """The settings module, loaded with this environment alone."""
    for name in (*VARIABLES, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"DATA_DIR": str(data_dir), **environment}.items():
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location("settings_of_a_test", ROOT / "bedrock_chat" / "settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(data_dir: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`manage.py check` with this environment alone."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={**kept, "DATA_DIR": str(data_dir), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "environment",
    [
        {"PORT": "eighty"},
        {"PORT": "70000"},
        {"THREADS": "1"},
        {"TURNS": "512"},
        {"BEDROCK": "azure"},
        {"DEBUG": "maybe"},
        {"COGNITO_JWKS_URL": "not an address"},
        {"TRUSTED_PROXIES": "everybody"},
        {"INFERENCE_PROFILE_ARNS": "[]"},
        {"MODEL_PRICES": "{"},
        {"RETENTION_DAYS": "-1"},
        {"RETENTION_DAYS": "10", "LEDGER_RETENTION_DAYS": "39"},
        {"LEDGER_RETENTION_DAYS": "400", "RETENTION_DAYS": "401"},
        {"LEDGER_RETENTION_DAYS": "400", "RETENTION_DAYS": "0"},
        {"ROLLUP_RETENTION_DAYS": "399", "LEDGER_RETENTION_DAYS": "400", "RETENTION_DAYS": "90"},
        {"ROLLUP_RETENTION_DAYS": "800", "RETENTION_DAYS": "90"},
        {"REDIS_URL": "foo"},
        {"CELERY_BROKER_URL": "kafka://broker"},
        {"CELERY_BROKER_OPTIONS": "region"},
        {"CELERY_QUEUE": "two words"},
        {"DATA_DIR": "/proc/nothing"},
        {"DATABASE_URL": "mysql://localhost/x", "SECRET_KEY": "x"},
        {"DATABASE_URL": "nonsense", "SECRET_KEY": "x"},
        {"TURN_LEASE_SECONDS": "nan"},
        {"LOG_LEVEL": "LOUD"},
        {"FAILED_TOKENS_RATE": "many"},
        {"METRICS_TOKEN": "easily guessed"},
        {"METRICS_TOKEN": "one that is long, and has blanks"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4317"},
    ],
    ids=lambda environment: "-".join(environment),
)
def test_a_wrong_value_stops_the_start_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str]
) -> None:
    with pytest.raises(ImproperlyConfigured, match=next(iter(environment))):
        read(monkeypatch, tmp_path, **environment)


def test_on_the_command_line_it_is_one_sentence(tmp_path: Path) -> None:
    done = check(tmp_path, PORT="eighty")
    assert done.returncode == 1
    assert done.stderr.strip() == "Configuration: PORT must be a whole number, not 'eighty'."


@pytest.mark.parametrize("setting", ["DEFAULT_MODEL", "TITLE_MODEL", "PARSING_MODEL", "GLOBAL_AVAILABLE_MODELS"])
def test_check_names_a_model_that_does_not_exist(settings: Any, setting: str) -> None:
    setattr(settings, setting, ["gpt-4"] if isinstance(getattr(settings, setting), list) else "gpt-4")
    assert "bedrock_chat.E001" in [message.id for message in checks.models_exist()]
    assert setting in checks.models_exist()[0].msg


@pytest.mark.parametrize(
    "prices",
    [
        {"input": "x"},
        {"input": True},
        {"input": -1},
        {"input": 1e9},
        {"output": [1]},
        {"inputs": 1},
        [],
        3,
    ],
)
def test_check_names_prices_that_no_call_could_be_given(settings: Any, prices: Any) -> None:
    settings.MODEL_PRICES = {"claude-v4.5-sonnet": prices}
    assert "bedrock_chat.E006" in [message.id for message in checks.models_exist()]
    settings.MODEL_PRICES = {"claude-v4.5-sonnet": {"input": "0.003", "output": 0.015, "cacheRead": None}}
    assert checks.models_exist() == []


def test_check_wants_the_default_model_to_be_available(settings: Any) -> None:
    settings.GLOBAL_AVAILABLE_MODELS = ["amazon-nova-pro"]
    assert [message.id for message in checks.models_exist()] == ["bedrock_chat.E002"]


@pytest.mark.parametrize(
    ("region", "switches", "models"),
    [
        # Sonnet 4.5 is called through profiles everywhere, Nova Pro in Frankfurt, and in Virginia under its own id
        ("us-east-1", {}, ""),
        ("us-east-1", {"CROSS_REGION_INFERENCE": False}, "Claude Sonnet 4.5 (global, us)"),
        ("us-east-1", {"CROSS_REGION_INFERENCE": False, "GLOBAL_INFERENCE": True}, ""),
        ("eu-central-1", {}, ""),
        ("eu-central-1", {"CROSS_REGION_INFERENCE": False}, "Claude Sonnet 4.5 (eu, global); Nova Pro (eu)"),
        ("eu-central-1", {"CROSS_REGION_INFERENCE": False, "GLOBAL_INFERENCE": True}, "Nova Pro (eu)"),
        ("sa-east-1", {}, "Claude Sonnet 4.5 (global)"),
        ("sa-east-1", {"GLOBAL_INFERENCE": True}, ""),
        ("sa-east-1", {"INFERENCE_PROFILE_ARNS": {"claude-v4.5-sonnet": "arn:x"}}, ""),
        ("sa-east-1", {"BEDROCK": "emulator"}, ""),
    ],
)
def test_check_names_models_that_only_a_switched_off_profile_reaches(
    settings: Any, region: str, switches: dict[str, Any], models: str
) -> None:
    settings.BEDROCK, settings.BEDROCK_REGION = "aws", region
    settings.GLOBAL_AVAILABLE_MODELS = ["claude-v4.5-sonnet", "amazon-nova-pro"]
    settings.TITLE_MODEL = settings.PARSING_MODEL = "amazon-nova-pro"
    for name, value in switches.items():
        setattr(settings, name, value)
    warnings = [message.msg for message in checks.models_can_be_reached()]
    assert [warning.partition("every call is refused: ")[2] for warning in warnings] == (
        [f"{models}."] if models else []
    )
    assert all(region in warning for warning in warnings)


def test_check_looks_at_the_models_of_titles_and_of_pages_too(settings: Any) -> None:
    settings.BEDROCK, settings.BEDROCK_REGION, settings.CROSS_REGION_INFERENCE = "aws", "us-east-1", False
    settings.GLOBAL_AVAILABLE_MODELS = ["amazon-nova-pro"]
    settings.TITLE_MODEL, settings.PARSING_MODEL = "claude-v3.5-haiku", "claude-v4.5-sonnet"
    assert "Claude 3.5 Haiku (us); Claude Sonnet 4.5 (global, us)." in checks.models_can_be_reached()[0].msg


@pytest.mark.parametrize(
    "environment",
    [
        {"DATABASE_URL": "sqlite:///x.sqlite3"},
        {"COGNITO_USER_POOL_ID": "us-east-1_x", "COGNITO_CLIENT_ID": "c"},
    ],
)
def test_production_needs_a_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str]
) -> None:
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY is required and not set"):
        read(monkeypatch, tmp_path, **environment)


def test_a_fresh_clone_is_for_development_and_a_secret_is_for_production(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fresh = read(monkeypatch, tmp_path)
    assert (fresh.DEBUG, fresh.LOCAL_IDENTITIES, fresh.LOG_FORMAT) == (True, True, "text")
    deployed = read(monkeypatch, tmp_path, SECRET_KEY="s")
    assert (deployed.DEBUG, deployed.LOCAL_IDENTITIES, deployed.LOG_FORMAT) == (False, False, "json")
    assert deployed.SESSION_COOKIE_SECURE


def test_the_issuer_follows_from_region_and_pool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment = {"COGNITO_USER_POOL_ID": "eu-west-1_Abc", "COGNITO_CLIENT_ID": "a, b", "AWS_REGION": "eu-west-1"}
    module = read(monkeypatch, tmp_path, SECRET_KEY="s", **environment)
    issuer = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Abc"
    assert issuer == module.COGNITO_ISSUER
    assert f"{issuer}/.well-known/jwks.json" == module.COGNITO_JWKS_URL
    assert module.COGNITO_CLIENT_IDS == ["a", "b"]


def test_an_endpoint_of_ones_own_wins_over_the_choice_of_bedrock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "http://localhost:9/"}
    assert read(monkeypatch, tmp_path, BEDROCK="aws", **own).BEDROCK_ENDPOINT_URL == "http://localhost:9"
    assert read(monkeypatch, tmp_path, BEDROCK="aws").BEDROCK_ENDPOINT_URL is None
    assert read(monkeypatch, tmp_path, BEDROCK="emulator").BEDROCK_ENDPOINT_URL == "http://127.0.0.1:8001"


def test_check_wants_celery_to_be_installed_where_it_is_to_deliver(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "celery", None)
    assert checks.celery_is_installed() == []
    settings.CELERY_BROKER_URL = "redis://broker"
    assert [message.id for message in checks.celery_is_installed()] == ["bedrock_chat.E007"]


def test_an_address_of_a_broker_that_is_refused_is_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        read(monkeypatch, tmp_path, CELERY_BROKER_URL="kafka://user:secret@broker")
    assert "secret" not in str(error.value)
