"""A slice of a shared table is replaced as a whole or not at all, whatever happens on the way."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.clickhouse.slices import Slice, replace_slice
from tests.thorough import on_engines, rarely

DAY, OTHER_DAY = date(2026, 1, 1), date(2026, 1, 2)
FIRST = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
COLUMNS = ("day", "tenant", "id", "value", "version")
CREATE = """
    CREATE TABLE facts
    (
        day Date, tenant String, id UInt32, value String, version DateTime64(3, 'UTC'), is_deleted UInt8 DEFAULT 0
    )
    ENGINE = ReplacingMergeTree(version, is_deleted) PARTITION BY day ORDER BY (tenant, id, day)
"""


@pytest.fixture
def facts(clickhouse: ClickHouse) -> ClickHouse:
    """A shared table that holds rows of tenants a and b on two days."""
    clickhouse.execute(CREATE)
    for tenant, day in (("a", DAY), ("a", OTHER_DAY), ("b", DAY)):
        clickhouse.insert_rows("facts", COLUMNS, [[day, tenant, number, "old", FIRST] for number in (1, 2)])
    return clickhouse


def _slice(*tenants: str, day: date = DAY) -> Slice:
    return Slice(
        table="facts",
        key=("tenant", "id", "day"),
        version="version",
        predicate="day = {day:Date} AND tenant IN {tenants:Array(String)}",
        parameters={"day": day, "tenants": list(tenants)},
    )


def _load(facts: ClickHouse, rows: Mapping[int, str], version: datetime, tenant: str = "a", day: date = DAY) -> None:
    with replace_slice(facts, _slice(tenant, day=day), version) as staging:
        facts.insert_rows(staging, COLUMNS, [[day, tenant, id_, value, version] for id_, value in rows.items()])


def _held(facts: ClickHouse) -> dict[tuple[str, str], dict[int, str]]:
    rows = facts.query(
        "SELECT tenant, toString(day), groupArray((id, value)) FROM (SELECT * FROM facts FINAL ORDER BY id)"
        " GROUP BY tenant, day"
    )
    return {(tenant, day): dict(pairs) for tenant, day, pairs in rows}


OLD = {1: "old", 2: "old"}
BEFORE = {("a", "2026-01-01"): OLD, ("a", "2026-01-02"): OLD, ("b", "2026-01-01"): OLD}


def _after(rows: Mapping[int, str]) -> dict[tuple[str, str], dict[int, str]]:
    slices = BEFORE | {("a", "2026-01-01"): dict(rows)}
    return {key: held for key, held in slices.items() if held}


def _tables(facts: ClickHouse) -> list[str]:
    rows = facts.query("SELECT name FROM system.tables WHERE database = currentDatabase()")
    return [name for (name,) in rows]


def test_replace__twice__second_changes_nothing(facts: ClickHouse) -> None:
    for seconds in (1, 2):
        _load(facts, {2: "new", 3: "new"}, FIRST + timedelta(seconds=seconds))

        assert _held(facts) == _after({2: "new", 3: "new"})
    assert _tables(facts) == ["facts"]


def test_replace__same_version_twice__second_changes_nothing(facts: ClickHouse) -> None:
    for _ in range(2):
        _load(facts, {2: "new", 3: "new"}, FIRST + timedelta(seconds=1))

        assert _held(facts) == _after({2: "new", 3: "new"})


def test_replace__rows_vanish__get_a_tombstone_of_the_loads_version(facts: ClickHouse) -> None:
    version = FIRST + timedelta(milliseconds=1)

    _load(facts, {2: "new", 3: "new"}, version)

    rows = facts.query(
        "SELECT id, value, version, is_deleted FROM facts WHERE tenant = 'a' AND day = {day:Date} AND version > {first:"
        "DateTime64(3, 'UTC')} ORDER BY id",
        day=DAY,
        first=FIRST,
    )
    assert rows == [(1, "", version, 1), (2, "new", version, 0), (3, "new", version, 0)]


def test_replace__row_comes_back__is_there_again(facts: ClickHouse) -> None:
    _load(facts, {}, FIRST + timedelta(seconds=1))
    assert _held(facts) == _after({})

    _load(facts, {1: "back"}, FIRST + timedelta(seconds=2))
    assert _held(facts) == _after({1: "back"})


def test_replace__slice_of_two_tenants__leaves_the_third_and_other_days(facts: ClickHouse) -> None:
    facts.insert_rows("facts", COLUMNS, [[DAY, "c", 1, "old", FIRST]])
    version = FIRST + timedelta(seconds=1)

    with replace_slice(facts, _slice("a", "b"), version) as staging:
        facts.insert_rows(staging, COLUMNS, [[DAY, "a", 9, "new", version]])

    assert _held(facts) == {
        ("a", "2026-01-01"): {9: "new"},
        ("a", "2026-01-02"): OLD,
        ("c", "2026-01-01"): {1: "old"},
    }


def test_replace__slice_over_two_days__replaces_both(facts: ClickHouse) -> None:
    version = FIRST + timedelta(seconds=1)
    both = Slice("facts", ("tenant", "id", "day"), "version", "tenant = {tenant:String}", {"tenant": "a"})

    with replace_slice(facts, both, version) as staging:
        facts.insert_rows(staging, COLUMNS, [[OTHER_DAY, "a", 1, "new", version]])

    assert _held(facts) == {("a", "2026-01-02"): {1: "new"}, ("b", "2026-01-01"): OLD}


def test_replace__empty_table__holds_the_load(clickhouse: ClickHouse) -> None:
    clickhouse.execute(CREATE)

    _load(clickhouse, {}, FIRST)
    assert _held(clickhouse) == {}

    _load(clickhouse, OLD, FIRST)
    assert _held(clickhouse) == {("a", "2026-01-01"): OLD}


class _Broken(Exception):
    """A load that fails."""


def test_replace__body_raises__slice_is_as_it_was_and_no_table_is_left(facts: ClickHouse) -> None:
    def load() -> None:
        with replace_slice(facts, _slice("a"), FIRST + timedelta(seconds=1)) as staging:
            facts.insert_rows(staging, COLUMNS, [[DAY, "a", 9, "new", FIRST + timedelta(seconds=1)]])
            raise _Broken

    with pytest.raises(_Broken):
        load()

    assert _held(facts) == BEFORE
    assert _tables(facts) == ["facts"]


# Says when it is between two statements of the replacement, and waits there to be killed.
KILLED = """
import sys, time
from datetime import timedelta
from analytics_pipeline.config import Settings
from analytics_pipeline.resources.clickhouse import slices
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.connection import connect
from tests.resources.clickhouse.test_slices import FIRST, _load

def wait(*arguments):
    print("there", flush=True)
    time.sleep(60)

if sys.argv[1] == "before tombstones":
    slices.complete = wait
else:
    ClickHouse.attach_partition = wait
with connect(Settings.load(), Tag("tests", "killed")) as clickhouse:
    _load(clickhouse, {2: "new", 3: "new"}, FIRST + timedelta(seconds=1))
"""


@pytest.mark.parametrize("place", [*rarely("before tombstones"), "before attach"])
def test_replace__killed_half_way__slice_is_whole_and_the_next_run_repairs(facts: ClickHouse, place: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", KILLED, place], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "there\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()

    assert _held(facts) == BEFORE
    (leftover,) = set(_tables(facts)) - {"facts"}
    assert leftover.startswith("staging_facts_")

    _load(facts, {2: "new", 3: "new"}, FIRST + timedelta(seconds=2))
    assert _held(facts) == _after({2: "new", 3: "new"})


def test_next_version__clock_is_right__is_now_in_milliseconds(facts: ClickHouse) -> None:
    before = datetime.now(timezone.utc)

    version = _slice("a").next_version(facts)

    assert before - timedelta(milliseconds=1) < version <= datetime.now(timezone.utc)
    assert version.microsecond % 1000 == 0


@pytest.mark.parametrize("tombstone", [0, 1])
def test_next_version__clock_is_behind__is_later_than_what_the_slice_holds(facts: ClickHouse, tombstone: int) -> None:
    future = datetime.now(timezone.utc).replace(microsecond=7_000) + timedelta(days=2)
    facts.insert_rows("facts", [*COLUMNS, "is_deleted"], [[DAY, "a", 5, "", future, tombstone]])

    version = _slice("a").next_version(facts)
    _load(facts, {1: "new"}, version)

    assert version == future + timedelta(milliseconds=1)
    assert _held(facts) == _after({1: "new"})
    assert _slice("b").next_version(facts) < future


_LOADS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from([DAY, OTHER_DAY]),
        st.dictionaries(st.integers(0, 4), st.sampled_from(["x", "y"]), max_size=4),
    ),
    min_size=1,
    max_size=5,
)


@on_engines(8)
@given(loads=_LOADS)
def test_replace__any_sequence_of_loads__equals_a_dictionary(
    clickhouse: ClickHouse, loads: list[tuple[str, date, dict[int, str]]]
) -> None:
    clickhouse.execute("DROP TABLE IF EXISTS facts SYNC")
    clickhouse.execute(CREATE)
    model: dict[tuple[str, str], dict[int, str]] = {}
    for tenant, day, rows in loads:
        _load(clickhouse, rows, _slice(tenant, day=day).next_version(clickhouse), tenant, day)
        model[tenant, day.isoformat()] = dict(sorted(rows.items()))

        assert _held(clickhouse) == {key: held for key, held in model.items() if held}


def test_replace__readers_meanwhile__see_one_complete_state_or_the_other(facts: ClickHouse) -> None:
    states: list[dict[int, str]] = [dict.fromkeys(range(200), "even"), dict.fromkeys(range(100, 300), "odd")]
    _load(facts, states[0], FIRST + timedelta(seconds=1))
    seen: list[Sequence[tuple[Any, ...]]] = []
    done = threading.Event()

    def poll() -> None:
        with connect(Settings.load(), Tag("tests", "poll")) as reader:
            while not done.is_set():
                seen.append(_state(reader))

    readers = [threading.Thread(target=poll) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(8):
        _load(facts, states[(number + 1) % 2], FIRST + timedelta(seconds=2 + number))
    done.set()
    for reader in readers:
        reader.join()

    assert {tuple(state) for state in seen} == {((0, 199, 200, "even"),), ((100, 299, 200, "odd"),)}


def _state(reader: ClickHouse) -> Sequence[tuple[Any, ...]]:
    return reader.query(
        "SELECT min(id), max(id), count(), value FROM facts FINAL WHERE tenant = 'a' AND day = {day:Date}"
        " GROUP BY value ORDER BY value",
        day=DAY,
    )
