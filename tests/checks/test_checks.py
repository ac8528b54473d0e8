"""The asset checks: each passes on a sound product and finds the fault that it is there for."""

from collections.abc import Mapping
from datetime import date, timedelta
from hashlib import sha256
from typing import Any

import dagster as dg
import pytest

from analytics_pipeline.definitions import defs
from analytics_pipeline.flows.check_outcomes.ledger import BEGUN
from analytics_pipeline.flows.identities.units import unit_of
from analytics_pipeline.flows.segments.translation.conditions import Sql, Translator
from tests import resolved
from tests.product import KEY, Product, condition, document, today
from tests.thorough import rarely

ALL = {
    "every_environment_loaded",
    "snapshot_rows_equal_capture",
    "no_environment_emptied",
    "captures_are_kept",
    "counts_within_identities",
    "counts_are_stored",
    "counts_agree_with_engine",
    "nothing_of_forgotten_subjects_is_left",
}


def outcomes(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """Check to whether it passed."""
    return {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}


def findings(result: dg.ExecuteInProcessResult, check: str) -> list[dict[str, object]]:
    (evaluation,) = [found for found in result.get_asset_check_evaluations() if found.check_name == check]
    table = evaluation.metadata["findings"]
    assert isinstance(table, dg.TableMetadataValue)
    return [dict(record.data) for record in table.records]


def test_checks__sound_product__all_pass(product: Product) -> None:
    product.put(document("alice", plan="pro"), document("bob"))

    assert outcomes(product.materialise(checks=True)) == dict.fromkeys(ALL, True)


@pytest.mark.parametrize(("thorough", "looked"), [(False, {"snapshot_rows_equal_capture"}), *rarely((True, ALL))])
def test_runs__of_tests_about_something_else__have_the_checks_that_block_and_all_when_thorough(
    product: Product, monkeypatch: pytest.MonkeyPatch, *, thorough: bool, looked: set[str]
) -> None:
    monkeypatch.setattr(resolved, "THOROUGH", thorough)

    assert set(outcomes(product.materialise())) == looked


def test_checks__environment_is_not_loaded__is_named(product: Product) -> None:
    product.put(document("alice"))
    product.materialise()
    product.add_project(11)
    product.add_environment(110, project=11, key="new")
    product.add_segment(2, [], project=11)

    result = product.materialise("identity_snapshots", checks=True, projects=[10])

    assert outcomes(result)["every_environment_loaded"] is False
    assert findings(result, "every_environment_loaded") == [{"day": str(today()), "environment": 110}]


def test_checks__rows_appear_beside_the_capture__are_found(product: Product) -> None:
    product.put(document("alice"))
    product.materialise()
    _insert(product, "ghost", today())

    result = product.check("identity_snapshots", "snapshot_rows_equal_capture")

    assert findings(result, "snapshot_rows_equal_capture") == [
        {"day": str(today()), "environment_key": KEY, "captured": 1, "stored": 2}
    ]


def test_checks__environment_emptied__warns(product: Product) -> None:
    _insert(product, "alice", today() - timedelta(days=1))

    result = product.materialise(checks=True)

    assert result.success
    assert outcomes(result) == dict.fromkeys(ALL, True) | {
        "no_environment_emptied": False,
        "counts_agree_with_engine": False,  # nobody is left to be compared
    }
    assert findings(result, "no_environment_emptied") == [{"day": str(today()), "environment_key": KEY}]


def test_checks__count_exceeds_identities__is_named(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    product.clickhouse.execute("TRUNCATE TABLE identities")

    result = product.check("segment_counts", "counts_within_identities")

    assert findings(result, "counts_within_identities") == [
        {"day": str(today()), "segment_id": 1, "environment_id": 100, "count": 1, "identities": 0}
    ]


def test_checks__counts_are_not_in_clickhouse__project_is_named(product: Product) -> None:
    product.materialise()
    product.clickhouse.execute("TRUNCATE TABLE segment_counts")

    assert findings(product.check("segment_counts", "counts_are_stored"), "counts_are_stored") == [
        {"day": str(today()), "project": 10}
    ]


@pytest.mark.parametrize("pattern", [".jsonl.zst", *rarely("manifest.json")])
def test_checks__capture_is_not_kept__environment_is_named(product: Product, pattern: str) -> None:
    product.put(document("alice"))
    product.materialise()
    unit = unit_of(today(), KEY)
    (name,) = [file.name for file in product.landing.stored(unit) if pattern in file.name]
    product.landing.store.delete(f"{unit}/{name}")

    assert findings(product.check("identity_snapshots", "captures_are_kept"), "captures_are_kept") == [
        {"day": str(today()), "environment_key": KEY}
    ]


@pytest.mark.parametrize("variable", ["CLICKHOUSE_URL", "DATABASE_URL"])
def test_checks__store_not_configured__warn_that_nothing_was_compared(
    product: Product, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv(variable)

    result = product.check("identity_snapshots", "snapshot_rows_equal_capture")

    assert outcomes(result) == {"snapshot_rows_equal_capture": False}
    (evaluation,) = result.get_asset_check_evaluations()
    assert (evaluation.severity, evaluation.metadata["compared"].value) == (dg.AssetCheckSeverity.WARN, 0)


@pytest.mark.slow
def test_checks__segments_that_only_the_engine_counts__warn_that_nothing_was_compared(product: Product) -> None:
    product.execute("DELETE FROM segments")
    product.add_segment(2, condition("REGEX", "plan", "(?=pro)"))
    product.put(document("alice", plan="pro"))

    result = product.materialise(checks=True)

    assert outcomes(result) == dict.fromkeys(ALL, True) | {"counts_agree_with_engine": False}
    (found,) = [one for one in result.get_asset_check_evaluations() if one.check_name == "counts_agree_with_engine"]
    told = (found.severity, found.metadata["compared"].value, found.metadata["identities"].value)
    assert told == (dg.AssetCheckSeverity.WARN, 0, 1)


def test_checks__every_one_of_them_with_nothing_to_compare__warns(empty_product: Product) -> None:
    """Also a check that is written tomorrow: this walks all that the definitions have."""
    definitions = defs()
    keys = definitions.get_repository_def().asset_graph.asset_check_keys
    job = dg.define_asset_job("checks", dg.AssetSelection.checks(*keys))

    with dg.DagsterInstance.ephemeral() as instance:
        result = (
            dg.Definitions.merge(definitions, dg.Definitions(jobs=[job]))
            .resolve_job_def("checks")
            .execute_in_process(instance=instance, raise_on_error=False)
        )

    found = {one.asset_check_key: one for one in result.get_asset_check_evaluations()}
    recorded = {
        dg.AssetCheckKey(dg.AssetKey(asset), name): (outcome == "passed", run_id)
        for asset, name, outcome, run_id in empty_product.execute(
            "SELECT asset, check_name, outcome, run_id FROM analytics_pipeline.check_outcomes"
        )
    }
    assert recorded == {key: (one.passed, result.run_id) for key, one in found.items()}
    silent = {key.name for key, one in found.items() if one.passed or one.severity is not dg.AssetCheckSeverity.WARN}
    # One has compared all ledgers; the others say that no sink is ClickHouse, and that nobody was forgotten.
    assert (set(found), silent) == (
        set(keys),
        {
            "ledgers_know_every_day",
            "clickhouse_holds_what_it_acknowledged",
            "nothing_of_forgotten_subjects_is_left",
        },
    )
    assert {one.metadata["compared"].value for key, one in found.items() if key.name not in silent} == {0}


@pytest.mark.slow
def test_outcomes__day_failed_and_was_repaired__fails_until_the_day_is_looked_at_again(product: Product) -> None:
    def outcome(day: date) -> str:
        ((found,),) = product.execute(
            "SELECT outcome FROM analytics_pipeline.check_outcomes WHERE check_name = %s AND day = %s",
            *("snapshot_rows_equal_capture", day),
        )
        return str(found)

    product.put(document("alice"))
    product.materialise()
    assert outcome(today()) == "passed"
    _insert(product, "ghost", today())
    product.check("identity_snapshots", "snapshot_rows_equal_capture")
    assert outcome(today()) == "failed"

    product.materialise("identity_snapshots")

    assert outcome(today()) == "passed"


def test_outcomes__check_is_stopped_by_an_error__is_unknown_and_its_text_is_not_kept(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("alice@example.com")

    monkeypatch.setattr("analytics_pipeline.checks.identities.row_differences", broken)

    assert not product.check("identity_snapshots", "snapshot_rows_equal_capture").success

    assert product.execute("SELECT day, outcome, reason FROM analytics_pipeline.check_outcomes") == [
        (today(), "unknown", "stopped by ValueError")
    ]


def test_outcomes__process_dies_while_a_check_looks__is_unknown(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.materialise()
    before = product.execute("SELECT outcome FROM analytics_pipeline.check_outcomes")

    class Dies(BaseException):
        """What nobody catches, as nobody catches a kill."""

    def dies(*_: object) -> None:
        raise Dies

    monkeypatch.setattr("analytics_pipeline.checks.identities.row_differences", dies)
    assert not product.check("identity_snapshots", "snapshot_rows_equal_capture").success

    assert before == [("passed",)]
    assert product.execute("SELECT outcome, reason FROM analytics_pipeline.check_outcomes") == [("unknown", BEGUN)]


def test_checks__rows_appeared_beside_the_capture__next_load_removes_them(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    _insert(product, "ghost", today())

    result = product.materialise("identity_snapshots", checks=True)

    assert outcomes(result)["snapshot_rows_equal_capture"]
    assert set(product.snapshot()) == {(KEY, "alice")}


def test_checks__predicate_is_wrong__segment_environment_and_an_example_are_named(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.add_environment(101, key="other")
    product.add_segment(2, condition("IS_SET", "plan", None))
    product.put(document("alice", plan="pro"), document("bob", plan="free"), document("carol"))
    product.put(document("olga", "other", plan="pro"))
    _break_equality(monkeypatch)

    result = product.materialise(checks=True)

    assert result.success
    assert outcomes(result) == dict.fromkeys(ALL, True) | {"counts_agree_with_engine": False}
    expected = {"day": str(today()), "project_id": 10, "segment_id": 1}
    assert findings(result, "counts_agree_with_engine") == [
        expected | {"environment_id": 100, "differing": 3, "sampled": 3, "example": _hashed("alice")},
        expected | {"environment_id": 101, "differing": 1, "sampled": 1, "example": _hashed("olga")},
    ]


@pytest.mark.slow
def test_checks__count_by_the_engine_alone__has_nothing_to_compare(product: Product) -> None:
    product.add_segment(2, condition("REGEX", "plan", "(?=pro)"))
    product.add_segment(3, condition("MODULO", "plan", "0|0"))
    product.add_segment(4, condition("CONTAINS", "list", "a"))
    product.execute("INSERT INTO segments (id, project_id, name, rules) VALUES (5, 10, 'x', '[[1]]')")
    product.put(document("alice", plan="pro", list=["a"]))

    result = product.materialise(checks=True)

    assert outcomes(result)["counts_agree_with_engine"] is True


@pytest.mark.slow
def test_checks__wrong_predicate_of_a_project_that_the_run_did_not_count__is_not_its_business(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.add_project(11)
    product.add_environment(110, project=11, key="second")
    product.add_segment(2, condition("IS_SET", "plan", None), project=11)
    product.put(document("alice", plan="pro"), document("zoe", "second", plan="pro"))
    assert product.materialise().success
    _break_equality(monkeypatch)

    narrowed = product.materialise("segment_counts", checks=True, projects=[11])
    alone = product.check("segment_counts", "counts_agree_with_engine")

    assert outcomes(narrowed)["counts_agree_with_engine"] is True
    assert outcomes(alone)["counts_agree_with_engine"] is False


def _break_equality(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQL says the contrary of the engine."""
    right = Translator.condition

    def wrong(self: Translator, condition: Mapping[str, Any]) -> Sql:
        sql = right(self, condition)
        return Sql(f"NOT ({sql.text})", sql.guards) if condition["operator"] == "EQUAL" else sql

    monkeypatch.setattr(Translator, "condition", wrong)


def _hashed(identifier: str) -> str:
    return sha256(identifier.encode()).hexdigest()[:16]


def _insert(product: Product, identifier: str, day: object) -> None:
    product.clickhouse.execute(
        "INSERT INTO identities (snapshot_date, project_id, environment_id, identifier, identity_key, inserted_at)"
        " VALUES ({day:Date}, 10, {key:String}, {identifier:String}, 'k', '2020-01-01 00:00:00')",
        day=day,
        key=KEY,
        identifier=identifier,
    )
