"""A step is tried again when its trouble passes by itself, does not repeat what is complete, and else fails at once."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
import msgspec
import pytest
from botocore.exceptions import EndpointConnectionError
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from analytics_pipeline.assets.identities import identity_snapshots, raw_identities
from analytics_pipeline.assets.segments import segment_counts
from analytics_pipeline.flows.identities.load import SnapshotLoad
from analytics_pipeline.flows.identities.reader import QueryReader
from analytics_pipeline.flows.identities.staging import EnvironmentCapture
from analytics_pipeline.flows.segments.refresh import CountRefresh
from analytics_pipeline.flows.tenants import Project
from analytics_pipeline.orchestration.flow_asset import RETRIES
from tests.product import KEY, Product, document, failure_text, today
from tests.thorough import rarely

EVERYTHING: dict[tuple[str, str], dict[str, Any]] = {(KEY, "alice"): {}, ("other", "olga"): {}}


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that would have been made."""
    made: list[float] = []
    delay = dg.RetryPolicy.calculate_delay

    def at_once(self: dg.RetryPolicy, attempt_num: int) -> float:
        made.append(delay(self, attempt_num))
        return 0

    monkeypatch.setattr(dg.RetryPolicy, "calculate_delay", at_once)
    return made


@pytest.fixture
def two(product: Product, pauses: list[float]) -> Product:
    """Two projects with one environment and one identity each."""
    product.add_project(11)
    product.add_environment(110, project=11, key="other")
    product.add_segment(2, [], project=11)
    product.put(document("alice"), document("olga", "other"))
    return product


def _restarts(result: dg.ExecuteInProcessResult) -> int:
    return len([event for event in result.all_events if event.event_type_value == "STEP_RESTARTED"])


@pytest.mark.parametrize("asset", [raw_identities, identity_snapshots, segment_counts])
def test_policy__of_each_asset__backs_off(asset: dg.AssetsDefinition) -> None:
    delays = [[RETRIES.calculate_delay(attempt) for attempt in (1, 2, 3)] for _ in range(100)]

    assert asset.op.retry_policy == RETRIES
    assert all(0 <= first <= 60 and 60 <= second <= 120 and 180 <= third <= 240 for first, second, third in delays)


@pytest.mark.slow
def test_capture__passing_trouble__only_what_is_missing_is_captured_again(
    two: Product, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    pages = QueryReader.pages

    def flaky(self: QueryReader, environment_key: str) -> Iterator[list[msgspec.Raw]]:
        asked.append(environment_key)
        if asked.count("other") == 1 and environment_key == "other":
            raise EndpointConnectionError(endpoint_url="http://dynamodb")
        return pages(self, environment_key)

    monkeypatch.setattr(QueryReader, "pages", flaky)

    result = two.materialise("raw_identities")

    assert (result.success, _restarts(result), len(pauses)) == (True, 1, 1)
    assert sorted(asked) == [KEY, "other", "other"]
    (materialization,) = result.asset_materializations_for_node("raw_identities")
    assert materialization.metadata["environments"].value == 2
    assert two.materialise("raw_identities").success
    assert sorted(asked) == [KEY, KEY, "other", "other", "other"]  # another run captures anew


@pytest.mark.parametrize("reload", [True, *rarely((False,))])
def test_load__passing_trouble__only_what_is_missing_is_loaded_again(
    two: Product, monkeypatch: pytest.MonkeyPatch, reload: bool
) -> None:
    two.materialise("raw_identities", "identity_snapshots")
    if not reload:
        two.materialise("raw_identities")
    asked: list[list[str]] = []
    load = SnapshotLoad._load

    def flaky(self: SnapshotLoad, batch: list[EnvironmentCapture]) -> Any:
        asked.append([capture.environment.key for capture in batch])
        if "other" in asked[-1] and len(asked) < 4:
            raise OperationalError("connection reset")
        return load(self, batch)

    monkeypatch.setattr(SnapshotLoad, "_load", flaky)

    result = two.materialise("identity_snapshots", reload=reload)

    assert (result.success, _restarts(result)) == (True, 1)
    assert asked == [[KEY, "other"], [KEY], ["other"], ["other"]]
    assert two.snapshot() == EVERYTHING


@pytest.mark.slow
def test_counts__passing_trouble__only_what_is_missing_is_counted_again(
    two: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.materialise("raw_identities", "identity_snapshots")
    asked: list[int] = []
    refresh = CountRefresh._refresh

    def flaky(self: CountRefresh, project: Project) -> Any:
        asked.append(project.id)
        if asked == [10, 11]:
            raise OperationalError("connection reset")
        return refresh(self, project)

    monkeypatch.setattr(CountRefresh, "_refresh", flaky)

    result = two.materialise("segment_counts")

    assert (result.success, _restarts(result), asked) == (True, 1, [10, 11, 11])
    (materialization,) = result.asset_materializations_for_node("segment_counts")
    assert materialization.metadata["dagster/partition_row_count"].value == 2
    assert two.history() == two.current() == {(1, 100): (0, "counted"), (2, 110): (0, "counted")}


def test_counts__snapshot_is_being_loaded__waits_for_it(
    two: Product, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    two.materialise("raw_identities", "identity_snapshots")
    two.execute("UPDATE analytics_pipeline.identity_loads SET rows = 2 WHERE environment_key = %s", KEY)
    lease = two.postgres.lease(f"identities:{today()}")
    lease.__enter__()

    def ends(self: dg.RetryPolicy, attempt_num: int) -> int:
        two.execute("UPDATE analytics_pipeline.identity_loads SET rows = 1")
        lease.__exit__(None, None, None)
        return 0

    monkeypatch.setattr(dg.RetryPolicy, "calculate_delay", ends)

    result = two.materialise("segment_counts")

    assert (result.success, _restarts(result)) == (True, 1)
    assert two.history() == {(1, 100): (0, "counted"), (2, 110): (0, "counted")}


def test_trouble__that_never_passes__ends_after_three_more_attempts(
    two: Product, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: CountRefresh, project: Project) -> Any:
        raise OperationalError("connection reset")

    monkeypatch.setattr(CountRefresh, "_refresh", broken)

    result = two.materialise("segment_counts")

    assert (result.success, _restarts(result)) == (False, 3)
    assert "project 10: " in failure_text(result)


def _closed_day(product: Product, monkeypatch: pytest.MonkeyPatch) -> dg.ExecuteInProcessResult:
    return product.materialise("raw_identities", day=today() - timedelta(days=5))


def _unknown_project(product: Product, monkeypatch: pytest.MonkeyPatch) -> dg.ExecuteInProcessResult:
    return product.materialise("segment_counts", projects=[99])


def _configuration(product: Product, monkeypatch: pytest.MonkeyPatch) -> dg.ExecuteInProcessResult:
    monkeypatch.setenv("FEATURE_FLAG_PROVIDER", "no.such_module:Provider")
    return product.materialise("raw_identities")


def _password(product: Product, monkeypatch: pytest.MonkeyPatch) -> dg.ExecuteInProcessResult:
    url = product.settings.clickhouse_url
    assert url is not None
    monkeypatch.setenv("CLICKHOUSE_URL", url.get_secret_value().replace("default:", "default:not"))
    return product.materialise("identity_snapshots")


def _refused_statement(product: Product, monkeypatch: pytest.MonkeyPatch) -> dg.ExecuteInProcessResult:
    def refused(self: CountRefresh, project: Project) -> Any:
        raise DatabaseError("Code: 497. DB::Exception: not enough privileges")

    monkeypatch.setattr(CountRefresh, "_refresh", refused)
    return product.materialise("segment_counts")


def _reversed_range(product: Product, monkeypatch: pytest.MonkeyPatch) -> dg.ExecuteInProcessResult:
    first, last = today(), today() - timedelta(days=2)
    tags = {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
    return product.materialise("identity_snapshots", tags=tags)


@pytest.mark.parametrize(
    "fails", [_closed_day, _unknown_project, *rarely(_configuration, _password, _refused_statement, _reversed_range)]
)
def test_trouble__that_repeating_does_not_cure__fails_at_once(
    two: Product, pauses: list[float], monkeypatch: pytest.MonkeyPatch, fails: Any
) -> None:
    result = fails(two, monkeypatch)

    assert (result.success, _restarts(result), pauses) == (False, 0, [])
    assert failure_text(result)
