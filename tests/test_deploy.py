"""What deploy/ asks of Prometheus exists: every metric, every label, every value that is compared with."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from alexandria import config
from alexandria.api.metrics import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
DOCUMENT = (ROOT / "docs" / "metrics.md").read_text("utf-8")

LABELS = {each.name: set(each.labels) for each in FAMILIES if each.kind != "histogram"}
for each in FAMILIES:
    if each.kind == "histogram":
        LABELS |= {f"{each.name}_{part}": set(each.labels) for part in ("count", "sum")}
        LABELS[f"{each.name}_bucket"] = {*each.labels, "le"}

RULES = yaml.safe_load((DEPLOY / "prometheus-alerts.yml").read_text("utf-8"))
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))


def panels() -> Iterator[dict[str, Any]]:
    for panel in DASHBOARD["panels"]:
        yield panel
        yield from panel.get("panels", [])


TARGETS = [(panel["title"], target) for panel in panels() for target in panel.get("targets", [])]
EXPRESSIONS = [(each["alert"], each["expr"]) for each in ALERTS] + [
    (title, target["expr"]) for title, target in TARGETS
]


def selectors(expression: str) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Each metric that an expression names, with what its labels are compared with."""
    return [
        (name, re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', braces or ""))
        for name, braces in re.findall(r"(alexandria_\w+)(\{[^}]*\})?", expression)
    ]


def labels_of(expression: str) -> set[str]:
    """What labels a result may have: those it is summed by, or those of its metrics."""
    grouped = re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", expression)
    if grouped:
        return {label.strip() for group in grouped for label in group.split(",") if label.strip()}
    return set[str]().union(*(LABELS[name] for name, _ in selectors(expression)))


def documented_values(label: str) -> set[str]:
    rows = re.findall(r"^\| (`.*?) \| (.*) \|$", DOCUMENT.partition("## Labels")[2], flags=re.MULTILINE)
    found = {
        value for cell, text in rows if f"`{label}`" in cell for value in re.findall(r"`([\w-]+)`", text)
    }
    return found | {"running", "paused"} if label == "state" else found


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS)
def test_every_metric_and_label_that_is_asked_for_exists(title: str, expression: str) -> None:
    named = selectors(expression)
    assert named, title
    available = set[str]()
    for name, comparisons in named:
        assert name in LABELS, f"{title}: there is no metric {name}"
        available |= LABELS[name]
        for label, operator, value in comparisons:
            assert label in LABELS[name], f"{title}: {name} has no label {label}"
            if not value.startswith("$") and label != "status":
                values = value.split("|") if "~" in operator else [value]
                assert set(values) <= documented_values(label), f"{title}: {label}={value}"
    for group in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression):
        assert {each.strip() for each in group.split(",") if each.strip()} <= available, title
    assert expression.count("(") == expression.count(")")


def test_a_histogram_is_asked_by_its_buckets_and_a_counter_by_its_rate() -> None:
    kinds = {each.name: each.kind for each in FAMILIES}
    for title, expression in EXPRESSIONS:
        for name, _ in selectors(expression):
            if kinds.get(name) == "counter" or name.endswith("_bucket"):
                assert re.search(rf"(rate|increase)\({name}", expression), title
            assert kinds.get(name) != "histogram", title
        if "histogram_quantile" in expression:
            assert "le" in labels_of(expression), title


@pytest.mark.parametrize("alert", ALERTS, ids=lambda each: each["alert"])
def test_an_alert_says_what_is_so_with_labels_that_it_has(alert: dict[str, Any]) -> None:
    assert re.fullmatch(r"Alexandria[A-Za-z]+", alert["alert"])
    assert alert["labels"]["severity"] in {"info", "warning", "critical"}
    assert alert["annotations"]["summary"]
    texts = " ".join(alert["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", texts)) <= labels_of(alert["expr"])


@pytest.mark.parametrize(("title", "target"), TARGETS)
def test_a_line_is_named_by_labels_that_it_has(title: str, target: dict[str, Any]) -> None:
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels_of(target["expr"]), title


def test_every_panel_has_a_place_of_its_own_and_a_source() -> None:
    places: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & places, panel["title"]
        places |= cells
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"
    assert len({panel["id"] for panel in panels()}) == len(list(panels()))
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD["panels"]))) - {"__rate_interval"}
    assert used == variables


def test_no_alert_is_named_twice() -> None:
    names = [each["alert"] for each in ALERTS]
    assert len(names) == len(set(names)) > 10


def test_the_example_scrapes_where_a_server_listens_and_reads_the_rules() -> None:
    example = yaml.safe_load((DEPLOY / "prometheus.yml").read_text("utf-8"))
    (scraped,) = example["scrape_configs"]
    defaults = {each.name: each.default for each in config.SETTINGS}
    assert scraped["static_configs"] == [{"targets": [f"{defaults['host']}:{defaults['port']}"]}]
    assert all((DEPLOY / name).exists() for name in example["rule_files"])
