"""`segment_counts` through Dagster, on real engines: history and current counts, isolation, statuses."""

from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest
import time_machine
from flag_engine.utils.hashing import get_hashed_percentage_for_object_ids

from tests.product import KEY, Product, condition, document, failure_text, today
from tests.thorough import rarely


def test_counts__several_segments__all_counted_in_every_environment(product: Product) -> None:
    product.add_environment(101, key="other")
    product.add_segment(2, condition("IS_SET", "plan", None))
    product.put(document("alice", plan="pro"), document("bob", plan="free"), document("carol"))
    product.put(document("olga", "other", plan="pro"))

    assert product.materialise().success

    expected = {
        (1, 100): (1, "counted"),
        (1, 101): (1, "counted"),
        (2, 100): (2, "counted"),
        (2, 101): (1, "counted"),
    }
    assert (product.history(), product.current()) == (expected, expected)


def test_counts__segment_deleted__its_counts_go(product: Product) -> None:
    product.add_segment(2, condition("IS_SET", "plan", None))
    product.materialise()
    product.execute("UPDATE segments SET deleted_at = now() WHERE id = 2")

    product.materialise("segment_counts")

    assert (product.history(), product.current()) == ({(1, 100): (0, "counted")},) * 2


def test_counts__segment_has_no_sql__is_counted_by_the_engine(product: Product) -> None:
    product.add_segment(2, condition("REGEX", "plan", r"(p)r(?!\1)"))
    product.put(document("alice", plan="pro"))

    assert product.materialise().success

    expected = {(1, 100): (1, "counted"), (2, 100): (1, "fallback")}
    assert (product.history(), product.current()) == (expected, expected)


def test_counts__engine_refuses_one_segment__only_that_one_is_unknown(product: Product) -> None:
    product.add_segment(2, condition("REGEX", "plan", "("))
    product.add_segment(3, condition("IS_SET", "plan", None))
    product.put(document("alice", plan="pro"))

    assert product.materialise().success

    assert product.history() == {(1, 100): (1, "counted"), (2, 100): (None, "failed"), (3, 100): (1, "counted")}
    rows = product.clickhouse.query("SELECT DISTINCT reason FROM segment_counts FINAL WHERE segment_id = 2")
    ((reason,),) = rows
    assert reason == "the engine raises error: missing ), unterminated subpattern at position 0"


def test_counts__segment_breaks_later__current_count_keeps_the_last_success(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    before = product.execute("SELECT count, last_synced_at FROM analytics_pipeline.segment_membership_counts")
    product.execute("""UPDATE segments SET rules = '[{"type": "ALL", "conditions": [
        {"operator": "REGEX", "property": "plan", "value": "("}]}]'""")

    product.materialise("segment_counts")

    assert product.history() == {(1, 100): (None, "failed")}
    assert product.current() == {(1, 100): (1, "failed")}
    after = product.execute("SELECT count, last_synced_at FROM analytics_pipeline.segment_membership_counts")
    assert after == before


def test_counts__rules_are_malformed__segment_is_unknown_and_says_so(product: Product) -> None:
    product.add_segment(
        2, [{"type": "SOMETIMES", "conditions": [{"operator": "EQUAL", "property": "a", "value": "b"}]}]
    )
    product.execute("INSERT INTO segments (id, project_id, name, rules) VALUES (3, 10, 'x', '[[1]]')")
    product.execute("""INSERT INTO segments (id, project_id, name, rules) VALUES (4, 10, 'y', '{"a": 1}')""")
    product.put(document("alice"))

    assert product.materialise().success

    assert product.history() == {
        (1, 100): (0, "counted"),
        (2, 100): (None, "failed"),
        (3, 100): (None, "failed"),
        (4, 100): (None, "failed"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("sibling", [{}, *rarely({"color": "red"}, {"plan": "pro"})])
def test_counts__nobody_is_there_for_broken_rules_to_fail_on__is_zero_whatever_siblings_hold(
    product: Product, sibling: dict[str, str]
) -> None:
    product.add_environment(101, key="sibling")
    product.add_segment(2, condition("REGEX", "plan", "("))
    deep = "[" * 300 + "]" * 300
    product.execute("INSERT INTO segments (id, project_id, name, rules) VALUES (3, 10, 'deep', %s)", deep)
    if sibling:
        product.put(document("bob", "sibling", **sibling))

    assert product.materialise().success

    fails = (None, "failed")
    broken = fails if "plan" in sibling else (0, "fallback" if sibling else "counted")
    assert product.history() == {
        **dict.fromkeys([(1, 100), (2, 100), (3, 100)], (0, "counted")),
        (1, 101): (int("plan" in sibling), "counted"),
        (2, 101): broken,
        (3, 101): fails if sibling else (0, "counted"),
    }


@pytest.mark.slow
def test_counts__environment_without_snapshot__is_unknown_not_zero(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    product.add_environment(101, key="new")

    assert product.materialise("segment_counts").success

    assert product.history() == {(1, 100): (1, "counted"), (1, 101): (None, "failed")}


@pytest.mark.slow
def test_counts__feature_switched_off__current_counts_go_and_history_stays(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    product.set_flag(1, enabled=False)

    result = product.materialise("segment_counts")

    assert result.success
    assert (product.history(), product.current()) == ({(1, 100): (1, "counted")}, {})
    (materialization,) = result.asset_materializations_for_node("segment_counts")
    assert materialization.metadata["current_counts_purged"].value == 1
    skipped = materialization.metadata["skipped"]
    assert isinstance(skipped, dg.TableMetadataValue)
    assert [dict(record.data) for record in skipped.records] == [
        {"project": 10, "organisation": 1, "reason": "ff_disabled"}
    ]


@pytest.mark.slow
def test_counts__older_day_counted_again__current_counts_stay(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    current = product.current()

    assert product.materialise("segment_counts", day=today() - timedelta(days=1)).success

    assert product.current() == current
    assert product.history(today() - timedelta(days=1)) == {(1, 100): (None, "failed")}
    assert product.history() == {(1, 100): (1, "counted")}


def test_counts__snapshot_has_expired__fails_and_keeps_the_counts(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    history = product.history()
    product.clickhouse.execute("TRUNCATE TABLE identities")

    result = product.materialise("segment_counts")

    assert not result.success
    assert "project 10, environment 100: ClickHouse does not hold the snapshot of" in failure_text(result)
    assert f"Materialise identity_snapshots of {today()}, then segment_counts" in failure_text(result)
    assert (product.history(), product.current()) == (history, {(1, 100): (1, "failed")})


def test_counts__flags_cannot_be_read__fails_and_purges_nothing(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    before = product.current()
    product.execute("DROP TABLE feature_flags")

    result = product.materialise("segment_counts")

    assert not result.success
    assert "the feature flag segment_membership_inspection cannot be read" in failure_text(result)
    assert product.current() == before


@pytest.mark.slow
def test_counts__project_deleted__its_current_counts_go(product: Product) -> None:
    product.add_project(11)
    product.add_environment(110, project=11, key="second")
    product.add_segment(2, [], project=11)
    product.materialise()
    product.execute("DELETE FROM projects WHERE id = 11")

    product.materialise("segment_counts")

    assert set(product.current()) == {(1, 100)}


def test_counts__closed_day_counted_again__keeps_what_was_true_then(product: Product) -> None:
    """A segment that was deleted since keeps its history; one that is still there is counted anew."""
    product.add_segment(2, condition("IS_SET", "plan", None))
    product.put(document("alice", plan="pro"))
    closed = today() - timedelta(days=4)
    with time_machine.travel(datetime(closed.year, closed.month, closed.day, 12, tzinfo=timezone.utc), tick=True):
        assert product.materialise(day=closed).success
    product.execute("UPDATE segments SET deleted_at = now() WHERE id = 2")
    product.execute("UPDATE segments SET rules = '[]' WHERE id = 1")

    assert product.materialise("segment_counts", day=closed).success

    assert product.history(closed) == {(1, 100): (0, "counted"), (2, 100): (1, "counted")}


def test_counts__project_busy_in_another_run__is_left_to_it(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise("raw_identities", "identity_snapshots")

    with product.postgres.lease(f"segment_counts:10:{today()}"):
        result = product.materialise("segment_counts")

    assert result.success
    assert product.history() == {}
    assert result.asset_materializations_for_node("segment_counts") == []
    (observation,) = result.asset_observations_for_node("segment_counts")
    assert observation.metadata["status"].value == "skipped: lease_held"


@pytest.mark.slow
def test_counts__several_days__chart_shows_them(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    yesterday = today() - timedelta(days=1)
    with time_machine.travel(datetime(yesterday.year, yesterday.month, yesterday.day, 12, tzinfo=timezone.utc)):
        product.materialise(day=yesterday)
    product.put(document("bob", plan="pro"))

    result = product.materialise()

    (materialization,) = result.asset_materializations_for_node("segment_counts")
    assert materialization.metadata["counts_over_time"].value == (
        "| segment | now | last 14 days |\n|---|--:|---|\n| Segment 1 | 2 | `" + " " * 12 + "▄█` |"
    )
    schema = materialization.metadata["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchemaMetadataValue)
    assert [column.name for column in schema.schema.columns][:4] == [
        "date",
        "organisation_id",
        "project_id",
        "segment_id",
    ]


def test_counts__names_that_look_like_markdown__are_shown_as_they_are(product: Product) -> None:
    product.execute("UPDATE segments SET name = %s", "a|b `c`\n**d** [x](y) <b> \\")
    product.put(document("alice", plan="pro"))

    result = product.materialise()

    (materialization,) = result.asset_materializations_for_node("segment_counts")
    chart = str(materialization.metadata["counts_over_time"].value)
    assert chart.splitlines()[2] == (r"| a\|b \`c\` \*\*d\*\* \[x\]\(y\) \<b\> \\ | 1 | `" + " " * 13 + "█` |")


@pytest.mark.slow
def test_counts__segment_without_an_answer__chart_shows_a_dash(product: Product) -> None:
    product.execute("UPDATE segments SET rules = '[[1]]'")
    product.put(document("alice"))

    result = product.materialise()

    (materialization,) = result.asset_materializations_for_node("segment_counts")
    chart = str(materialization.metadata["counts_over_time"].value)
    assert chart.splitlines()[2] == "| Segment 1 | – | `" + " " * 14 + "` |"


def test_counts__chart_cannot_be_made__counts_are_stored_and_the_run_succeeds(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("no chart")

    monkeypatch.setattr("analytics_pipeline.assets.segments.trends", broken)
    product.put(document("alice", plan="pro"))

    result = product.materialise()

    assert result.success
    assert product.current() == {(1, 100): (1, "counted")}
    (materialization,) = result.asset_materializations_for_node("segment_counts")
    assert "counts_over_time" not in materialization.metadata


@pytest.mark.slow
@pytest.mark.parametrize("levels", [150, *rarely(400, 1500)])
def test_counts__rules_nested_without_end__only_that_segment_is_unknown(product: Product, levels: int) -> None:
    leaf = '{"type": "ALL", "conditions": [{"operator": "EQUAL", "property": "plan", "value": "pro"}]}'
    rules = '[{"type": "ALL", "rules": ' * levels + f"[{leaf}]" + "}]" * levels
    product.execute("INSERT INTO segments (id, project_id, name, rules) VALUES (2, 10, 'deep', %s::jsonb)", rules)
    product.put(document("alice", plan="pro"))

    assert product.materialise().success

    assert product.history() == {(1, 100): (1, "counted"), (2, 100): (None, "failed")}
    ((reason,),) = product.clickhouse.query("SELECT DISTINCT reason FROM segment_counts FINAL WHERE segment_id = 2")
    assert reason.startswith("its rules cannot be read")


@pytest.mark.slow
@pytest.mark.parametrize("levels", [1, *rarely(20, 90)])
def test_counts__rules_nested_deeply__are_counted(product: Product, levels: int) -> None:
    leaf = '{"type": "ALL", "conditions": [{"operator": "EQUAL", "property": "plan", "value": "pro"}]}'
    rules = '[{"type": "ALL", "rules": ' * levels + f"[{leaf}]" + "}]" * levels
    product.execute("INSERT INTO segments (id, project_id, name, rules) VALUES (2, 10, 'deep', %s::jsonb)", rules)
    product.put(document("alice", plan="pro"))

    assert product.materialise().success

    assert product.history()[(2, 100)][0] == 1


@pytest.mark.slow
def test_counts__condition_on_the_environment__holds_for_each_environment(product: Product) -> None:
    product.add_environment(101, key="other", name="Staging")
    product.add_segment(2, condition("EQUAL", "$.environment.name", "Production"))
    product.add_segment(3, condition("EQUAL", "$.environment.key", "other"))
    product.put(document("alice"), document("olga", "other"), document("otto", "other"))

    product.materialise()

    counts = {pair: count for pair, (count, _) in product.history().items() if pair[0] > 1}
    assert counts == {(2, 100): 1, (2, 101): 0, (3, 100): 0, (3, 101): 2}


@pytest.mark.slow
def test_counts__percentage_split__uses_django_id_where_there_is_one(product: Product) -> None:
    product.add_segment(2, condition("PERCENTAGE_SPLIT", "", 50))
    documents = [document(f"user-{n}") | {"django_id": n if n % 2 else None} for n in range(40)]
    product.put(*documents)

    product.materialise()

    keys = [str(item["django_id"] or item["composite_key"]) for item in documents]
    expected = sum(get_hashed_percentage_for_object_ids(["2", key]) <= 50 for key in keys)
    assert product.history()[(2, 100)] == (expected, "counted")


def test_counts__hostile_trait_keys_and_values__counted_as_text(product: Product) -> None:
    hostile = ["a`b", "a\\", "a\\`) OR 1=1 --", "' OR 1=1 --", "{p0:String}", "%(x)s", "100%", "ключ", "a b", "$x"]
    for number, text in enumerate(hostile, start=10):
        product.add_segment(number, condition("EQUAL", text, text))
    product.put(*(document(f"user-{n}", **{text: text}) for n, text in enumerate(hostile)), document("plain"))

    product.materialise()

    counts = {segment: count for (segment, _), (count, _) in product.history().items() if segment >= 10}
    assert counts == dict.fromkeys(range(10, 10 + len(hostile)), 1)


@pytest.mark.parametrize("table", ["segment_counts", *rarely("identities")])
def test_counts__tables_are_absent__fails_with_the_command_that_makes_them(product: Product, table: str) -> None:
    product.materialise("raw_identities", "identity_snapshots")
    product.clickhouse.execute(f"DROP TABLE {table} SYNC")

    result = product.materialise("segment_counts")

    assert not result.success
    assert "analytics-pipeline migrate all" in failure_text(result)


def test_counts__source_relation_is_absent__fails_and_points_to_doctor(product: Product) -> None:
    product.execute("DROP TABLE segments")

    result = product.materialise("segment_counts")

    assert not result.success
    assert "analytics-pipeline doctor" in failure_text(result)


def test_counts__bookkeeping__environment_key_and_tenant_are_stored(product: Product) -> None:
    product.materialise()

    rows = product.clickhouse.query(
        "SELECT date, organisation_id, project_id, environment_key, reason FROM segment_counts FINAL"
    )
    assert rows == [(today(), 1, 10, KEY, "")]
