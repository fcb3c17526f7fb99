"""The metrics by their names: as Prometheus wants them, and in docs, dashboard and alerts as they are in the code."""

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import yaml

from bedrock_chat.bedrock import faults
from bedrock_chat.metrics import instruments
from bedrock_chat.metrics.instruments import Figure, Metric
from tests.test_structure import APPS, ROOT, product

DOCS = ROOT / "docs"
DOCUMENT = (DOCS / "METRICS.md").read_text()
DASHBOARD = json.loads((DOCS / "grafana" / "dashboard.json").read_text())
RULES = yaml.safe_load((DOCS / "grafana" / "alerts.yml").read_text())

SERIES = re.compile(r"\b(bedrock_chat_\w+)(?:\{([^}]*)\})?")
BY = re.compile(r"\bby \(([^)]*)\)")
OF_PROMETHEUS = {"le", "instance"}
UNITS = {"seconds", "bytes", "usd"}
WRONG_UNITS = re.compile(r"_(ms|milliseconds|minutes|hours|kb|mb|kilobytes|megabytes|percent|cents)(_|$)")


@pytest.fixture(scope="module")
def metrics() -> dict[str, Metric]:
    """All of the product, whose modules are loaded first."""
    for app in APPS:
        for module in pkgutil.walk_packages(importlib.import_module(app).__path__, f"{app}."):
            if not re.search(r"\.(migrations|management|emulator|asgi|celery)\b", module.name):
                loaded: ModuleType = importlib.import_module(module.name)
                assert loaded
    return dict(instruments.known())


def families(metrics: dict[str, Metric]) -> dict[str, Metric]:
    """Every name that a series may have → its metric."""
    names = dict(metrics)
    for name, metric in metrics.items():
        if metric.kind == "histogram":
            names |= {f"{name}_{suffix}": metric for suffix in ("bucket", "sum", "count")}
            del names[name]
    return names


def wrong_in(expression: str, metrics: dict[str, Metric]) -> Iterator[str]:
    """What an expression names that no metric has."""
    names = families(metrics)
    labels = set(OF_PROMETHEUS)
    for name, selectors in SERIES.findall(expression):
        if name not in names:
            yield name
            continue
        own = set(names[name].labels) | OF_PROMETHEUS
        labels |= own
        yield from (
            f"{name}: {label}" for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selectors) if label not in own
        )
    for group in BY.findall(expression):
        yield from (label.strip() for label in group.split(",") if label.strip() not in labels)


def test_names_follow_the_conventions(metrics: dict[str, Metric]) -> None:
    assert len(metrics) > 30
    for name, metric in metrics.items():
        assert re.fullmatch(r"bedrock_chat(_[a-z]+)+", name), name
        assert not WRONG_UNITS.search(name), name
        assert (metric.kind == "counter") == name.endswith("_total"), name
        assert metric.kind != "histogram" or name.endswith("_seconds"), name
        assert not name.endswith(("_count", "_sum", "_bucket", "_info", "_created")), name
        if units := UNITS & set(name.split("_")):  # a unit ends the name
            assert name.removesuffix("_total").endswith(tuple(units)), name
        assert metric.meaning.endswith("."), name
        assert all(re.fullmatch(r"[a-z]+", label) for label in metric.labels), name
        assert not {"le", "quantile", "job", "instance"} & set(metric.labels), name


def test_the_document_lists_every_metric_as_it_is(metrics: dict[str, Metric]) -> None:
    rows = re.findall(r"^\| `(bedrock_chat_\w+)` \| ([^|]+) \| ([^|]*) \| ([^|]+) \|$", DOCUMENT, re.MULTILINE)
    documented = {name: (kind, re.findall(r"\w+", labels), meaning) for name, kind, labels, meaning in rows}
    kinds = {name: f"{metric.kind}{' (database)' * isinstance(metric, Figure)}" for name, metric in metrics.items()}
    assert documented == {name: (kinds[name], list(metric.labels), metric.meaning) for name, metric in metrics.items()}


def test_the_document_lists_every_limit() -> None:
    listed = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[a-z_`, ]+`) \| .* \|$", DOCUMENT, re.MULTILINE))))
    source = "".join(path.read_text() for path in product())
    counted = set(re.findall(r'refusals\.count\("(\w+)"\)', source)) | {"published_throttle", "published_quota"}
    counted |= {what.replace(" ", "_") for what in re.findall(r'rates\.count\(\s*"([a-z ]+)"', source)}
    assert len(counted) > 8
    assert counted - listed == set()


def test_the_dashboard_shows_every_metric_and_no_other(metrics: dict[str, Metric]) -> None:
    panels = DASHBOARD["panels"]
    expressions = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert [wrong for expression in expressions for wrong in wrong_in(expression, metrics)] == []
    shown = {name for expression in expressions for name, _ in SERIES.findall(expression)}
    names = families(metrics)
    assert {names[name].name for name in shown} == set(metrics)


def test_the_dashboard_is_laid_out_on_grafanas_grid() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    legends = [target["legendFormat"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    known = {label for metric in instruments.known().values() for label in metric.labels} | OF_PROMETHEUS
    assert set(re.findall(r"\{\{(\w+)\}\}", "".join(legends))) <= known


def alerts() -> list[dict[str, Any]]:
    return [rule for group in RULES["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_watches_metrics_that_there_are(rule: dict[str, Any], metrics: dict[str, Metric]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert SERIES.search(rule["expr"])
    assert list(wrong_in(rule["expr"], metrics)) == []
    assert rule["expr"].count("(") == rule["expr"].count(")")
    assert re.fullmatch(r"\d+[smhd]", rule.get("for", "1m"))
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "description"}
    by = {label.strip() for group in BY.findall(rule["expr"]) for label in group.split(",")}
    assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= by
    for kinds in re.findall(r'fault=~"([^"]+)"', rule["expr"]):
        assert [kind for kind in kinds.split("|") if not hasattr(faults, kind)] == []
    for named in re.findall(r'limit=~"([^"]+)"', rule["expr"]):
        assert [limit for limit in named.split("|") if f"`{limit}`" not in DOCUMENT] == []


def test_an_alert_that_names_what_is_not_there_is_noticed(metrics: dict[str, Metric]) -> None:
    assert list(wrong_in('rate(bedrock_chat_turn_total{outcome="x"}[5m])', metrics)) == ["bedrock_chat_turn_total"]
    assert list(wrong_in('bedrock_chat_turns_total{model="x"}', metrics)) == ["bedrock_chat_turns_total: model"]
    assert list(wrong_in("sum by (user) (bedrock_chat_turns_total)", metrics)) == ["user"]
    assert list(wrong_in("bedrock_chat_turn_duration_seconds", metrics)) == ["bedrock_chat_turn_duration_seconds"]
