"""Alerts and the dashboard ask for metrics that there are, and the alerts fire when they should."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from analytics_pipeline.api.metrics import families
from analytics_pipeline.config import FLOWS
from analytics_pipeline.flows.enablement.epochs import State
from tests.docs.pages import ROOT

MONITORING = ROOT / "deploy/monitoring"
RULES, RULE_TESTS = MONITORING / "alert-rules.yaml", MONITORING / "tests/alerts.yaml"
METRICS = {family.name: {*family.labels} for family in families(FLOWS)}
# Of every flow.
PATTERN = re.compile(r'\{__name__=~"([^"]+)"')
OURS = re.compile(r"\banalytics_pipeline_[a-z_]+\b")


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def panels() -> list[dict[str, Any]]:
    found = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def asked(expression: str) -> Iterator[str]:
    """The metrics that the expression reads; a pattern of names must have one of every flow."""
    for pattern in PATTERN.findall(expression):
        found = [name for name in METRICS if re.fullmatch(pattern, name)]
        assert {flow for flow in FLOWS if any(f"_{flow}_" in name for name in found)} == {*FLOWS}, pattern
        yield from found
    # In quotes stand patterns, and values of labels.
    yield from OURS.findall(re.sub(r'"[^"]*"', '""', expression))


def test_alerts__ask_for_metrics_that_there_are() -> None:
    names = {name for alert in alerts() for name in asked(alert["expr"])}

    assert names - {*METRICS} == set()
    assert len(alerts()) == len({alert["alert"] for alert in alerts()}) == 18


def test_alerts__of_a_state__name_one_that_there_is() -> None:
    states = {state for alert in alerts() for state in re.findall(r'state="(\w+)"', alert["expr"])}

    assert states == {"failed"} <= {*get_args(State)}


def test_alerts__words__name_labels_that_the_metric_has() -> None:
    for alert in alerts():
        labels = {"flow"}.union(*(METRICS[name] for name in asked(alert["expr"])))
        used = {*re.findall(r"\$labels\.(\w+)", str(alert["annotations"]))}
        assert used <= labels, alert["alert"]
        assert {"summary", "description"} == {*alert["annotations"]}


def test_alerts__every_one__has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    tests = [one for group in yaml.safe_load(RULE_TESTS.read_text())["tests"] for one in group["promql_expr_test"]]
    fires = {match for one in tests if one["exp_samples"] for match in re.findall(r'alertname="(\w+)"', one["expr"])}
    silent = {
        match for one in tests if not one["exp_samples"] for match in re.findall(r'alertname="(\w+)"', one["expr"])
    }
    # Beside others that fire, it does not.
    beside = {"AnalyticsPipelineExportBehind", "AnalyticsPipelineExportFailing", "AnalyticsPipelineFailing"}

    assert fires == {alert["alert"] for alert in alerts()}
    assert fires - silent == beside | {"AnalyticsPipelineHistoryFailed"}


def test_alerts__every_one__is_in_the_docs() -> None:
    page = (ROOT / "docs/metrics.md").read_text()

    assert {*re.findall(r"`(AnalyticsPipeline\w+)`", page)} == {alert["alert"] for alert in alerts()}


def test_dashboard__shows_every_metric_and_no_other() -> None:
    assert {name for query in queries() for name in asked(query)} == {*METRICS}


def test_dashboard__legends__name_labels_that_the_metric_has() -> None:
    for panel in panels():
        for target in panel["targets"]:
            labels = {"flow"}.union(*(METRICS[name] for name in asked(target["expr"])))
            assert {*re.findall(r"{{(\w+)}}", target["legendFormat"])} <= labels, panel["title"]


def test_dashboard__panels__have_their_own_place_and_number() -> None:
    found = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in found)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(cells) == len({*cells})
    assert len(found) == len({panel["id"] for panel in found})
    assert max(x for x, _ in cells) < 24


promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with the package prometheus")


def checked(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@promtool
def test_alerts__fire_when_they_should_and_only_then() -> None:
    checked("check", "rules", RULES)
    checked("test", "rules", RULE_TESTS)


@promtool
def test_dashboard__queries__are_of_prometheus_language(tmp_path: Path) -> None:
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(queries())]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))

    checked("check", "rules", file)
