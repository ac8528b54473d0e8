"""Figures for Prometheus are the ledgers', and the catalogue in the docs is the truth."""

import re

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from analytics_pipeline.api.metrics import families
from analytics_pipeline.config import FLOWS
from tests.docs.pages import ROOT

OF_EVERY_FLOW = 11
PAGE = ROOT / "docs/metrics.md"


def test_catalogue__of_the_docs__lists_every_figure_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \|$", PAGE.read_text(), re.M)

    assert rows == catalogue()


def catalogue() -> list[tuple[str, str, str, str]]:
    """Each figure once; `{flow}` stands for every flow."""
    found = {}
    for flow in FLOWS:
        for number, one in enumerate(families([flow])):
            name = one.name.replace(f"_{flow}_", "_FLOW_") if number < OF_EVERY_FLOW else one.name
            kind = "counter" if one.is_counter else "gauge"
            found[name] = (name, kind, ", ".join(one.labels), one.help)
    return [*found.values()]


def test_metrics__of_the_world__are_the_ledgers(asked: TestClient) -> None:
    text = asked.get("/metrics").text
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }

    assert samples["analytics_pipeline_identities_held_days", "identities"] == 1
    assert samples["analytics_pipeline_identities_stored_rows", "identities"] == 11
    assert samples["analytics_pipeline_usage_export_exported_records_total", "warehouse"] == 0
    assert samples["analytics_pipeline_usage_export_dead_letter_records",] == 3
    assert samples["analytics_pipeline_enablement_open_histories", "reporting", "failed"] == 2
    assert samples["analytics_pipeline_reporting_failing_units",] == 2
    assert samples["analytics_pipeline_product_events_answered_events_total", "rejected"] == 4
    assert samples["analytics_pipeline_product_events_held_days", "analytics_task_stats_daily"] == 1
    assert samples["analytics_pipeline_usage_export_missing_days", "warehouse"] == 1
    assert 0 <= samples["analytics_pipeline_product_events_last_accepted_seconds",] < 3_600
    assert samples["analytics_pipeline_reporting_failing_checks", "error"] == 1
    assert samples["analytics_pipeline_reporting_failing_checks", "warning"] == 1
    assert samples["analytics_pipeline_reporting_unknown_checks",] == 1
    assert samples["analytics_pipeline_identities_failing_checks", "error"] == 0
    # None of them was ever executed.
    assert ("analytics_pipeline_usage_export_failing_checks", "error") not in samples
    # Never measured: unknown, and not 0.
    assert ("analytics_pipeline_usage_export_oldest_pending_seconds", "warehouse") not in samples


def test_metrics__names__say_flow_and_unit() -> None:
    units = ("seconds", "days", "rows", "units", "records", "events", "failures", "sinks", "histories", "checks")
    names = [one.name for one in families(FLOWS)]

    assert [
        name for name in names if not re.fullmatch(rf"analytics_pipeline_\w+_({'|'.join(units)})(_total)?", name)
    ] == []
    assert len(names) == len({*names}) > 40


def test_metrics__of_a_tenant__are_none(asked: TestClient) -> None:
    for token in ("organisation-1", "account-71"):
        assert asked.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 404
