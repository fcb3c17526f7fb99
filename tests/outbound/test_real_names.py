"""The same with a DNS server of its own, so that the system's resolver is asked, and an address that is public."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
NETWORK = ["unshare", "--net", "--mount"]


def _can_have_a_network() -> bool:
    if any(shutil.which(program) is None for program in ("unshare", "ip", "mount")):
        return False
    return subprocess.run([*NETWORK, "ip", "link"], capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not _can_have_a_network(), reason="no network of its own for this user")
def test_names_are_resolved_once_and_judged_whatever_dns_says() -> None:
    command = [*NETWORK, sys.executable, "-m", "tests.outbound.changing_name"]
    outcomes = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=60).stdout)
    assert outcomes == {
        "changing": ["public", "This address is not allowed."],
        "queries": 2,
        "mixed": "This address is not allowed.",
        "private": "This address is not allowed.",
        "missing": "The server's name leads nowhere.",
        "hanging": "The server did not answer in time.",
        "stopped": "interrupted True",
        "private calls": 0,
    }
