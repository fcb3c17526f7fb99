"""Every test has keys and a folder of its own, and the column of `vault` alone."""

from pathlib import Path
from typing import Any

import pytest

from bedrock_chat.encryption import rotating
from tests.encryption import vault


@pytest.fixture(autouse=True)
def own_keys(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DATA_DIR = tmp_path
    settings.ENCRYPTION_KEYS = []
    monkeypatch.setattr(rotating, "_columns", {})
    vault.register()
    vault.begin_anew()
