"""Scraping a server as Prometheus does."""

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.forking import client as forking
from tests.live import ROOT, LiveServer

TOKEN = "a-token-of-the-scraper"


@dataclass(frozen=True)
class Scrape:
    """One answer of `/metrics`, parsed by `prometheus_client`."""

    text: str

    @property
    def families(self) -> dict[str, Any]:
        """By their names, those of counters without `_total`."""
        return {family.name: family for family in text_string_to_metric_families(self.text)}

    def value(self, name: str, **labels: str) -> float:
        """The sum of all series of that name that have these labels; 0 where there is none."""
        samples = [sample for family in self.families.values() for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def labels(self) -> set[str]:
        """Every value of every label."""
        samples = [sample for family in self.families.values() for sample in family.samples]
        return {value for sample in samples for value in sample.labels.values()}


def scrape(server: LiveServer) -> Scrape:
    status, text = server.call("GET", "/metrics", token=TOKEN)
    assert status == 200, text
    return Scrape(text)


def status_of(server: LiveServer, **headers: str) -> tuple[int, dict[str, str]]:
    """Of a request for `/metrics` with these headers: its status, and the response's headers in lower case."""
    request = urllib.request.Request(f"{server.url}/metrics", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, {name.lower(): value for name, value in response.headers.items()}
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {name.lower(): value for name, value in error.headers.items()}


@contextmanager
def working(server: LiveServer, **variables: str) -> Iterator[int]:
    """The process id of a worker beside a server, on its database and with its settings."""
    command = [sys.executable, "manage.py", "run_worker"]
    worker = forking.Popen(
        command, cwd=ROOT, env={**server.environment, **variables}, stdout=subprocess.PIPE, stderr=server._log
    )
    assert worker.stdout is not None
    try:
        assert b"Working" in worker.stdout.readline(), server.log.read_text()
        yield worker.pid
    finally:
        worker.terminate()
        worker.communicate(timeout=20)
