"""Ids that are taken: `analytics_event_ids`, and whether their events are in `analytics_events`."""

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from analytics_pipeline.flows.product_events.registry import COLUMNS, Row
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.limits import PARAMETER_BYTES, parts

# An organisation and an id as a number.
Key = tuple[int, int]
_ENCODER = msgspec.json.Encoder()
# A number in a list of parameters, with its comma.
_NUMBER_BYTES = 41
# Of every insert: a block is one part of each day, whole or not at all.
_INSERT: Mapping[str, Any] = {
    "async_insert": 0,
    "input_format_null_as_default": 1,
    # Of two members that are one path to ClickHouse, such as "a.b" and {"a": {"b": …}}, the first is kept.
    "type_json_skip_duplicated_paths": 1,
    # A batch may hold events of any day that is kept.
    "max_partitions_per_insert_block": 0,
}
_CLAIM = ("organisation_id", "id", "timestamp", "event_type", "service", "claimed_at")


@dataclass(frozen=True)
class Claim:
    """The sorting key of the row for which an id was taken; its time stamp is in milliseconds."""

    timestamp: int
    event_type: str
    service: str


def claims(clickhouse: ClickHouse, keys: Collection[Key]) -> dict[Key, list[Claim]]:
    """The claims of those of the ids that are taken, oldest first. Of an id there is one, but after a fault two."""
    found: dict[Key, list[Claim]] = {}
    for organisation, identifier, _, *key in sorted(_matching(clickhouse, _CLAIMS, keys)):
        if (organisation, identifier) in keys:
            found.setdefault((organisation, identifier), []).append(Claim(*key))
    return found


def take(clickhouse: ClickHouse, rows: Sequence[Row]) -> None:
    """Take the ids of these rows."""
    lines = (
        (row.organisation_id, str(row.event_id.int), row.timestamp, row.event_type, row.service, row.received_at)
        for row in rows
    )
    _insert(clickhouse, "analytics_event_ids", _CLAIM, lines)


def stored(clickhouse: ClickHouse, taken: Mapping[Key, Sequence[Claim]]) -> set[Key]:
    """Those of the ids whose event is in `analytics_events` under one of their claims."""
    if not taken:
        return set()
    found = [claim for every in taken.values() for claim in every]
    times = [claim.timestamp for claim in found]
    rows = _matching(
        clickhouse,
        _STORED,
        taken.keys(),
        types=sorted({claim.event_type for claim in found}),
        services=sorted({claim.service for claim in found}),
        first=min(times),
        last=max(times),
    )
    return {(organisation, identifier) for organisation, identifier in rows} & taken.keys()


def is_ready(clickhouse: ClickHouse) -> bool:
    """Whether ClickHouse answers and has the tables."""
    return clickhouse.query(_TABLES) == [(2,)]


def insert(clickhouse: ClickHouse, rows: Sequence[Row]) -> None:
    """Store the rows; a row that is there already is replaced by itself."""
    _insert(clickhouse, "analytics_events", COLUMNS, rows)


def remove(clickhouse: ClickHouse, rows: Sequence[Row]) -> None:
    """Remove these few rows again."""
    by_organisation: dict[int, list[str]] = {}
    for row in rows:
        by_organisation.setdefault(row.organisation_id, []).append(str(row.event_id))
    for organisation, events in by_organisation.items():
        clickhouse.execute(
            "ALTER TABLE analytics_events DELETE WHERE organisation_id = {organisation:UInt64}"
            " AND event_id IN {events:Array(UUID)} SETTINGS mutations_sync = 2",
            organisation=organisation,
            events=events,
        )


def _matching(clickhouse: ClickHouse, sql: str, keys: Collection[Key], **others: Any) -> list[tuple[Any, ...]]:
    """The rows of a statement over ids, which go into as many lists as parameters may be long."""
    if not keys:
        return []
    numbers = [identifier for _, identifier in keys]
    lists = {
        f"ids_{number}": part
        for number, part in enumerate(parts(numbers, lambda _: _NUMBER_BYTES, PARAMETER_BYTES, len(numbers)))
    }
    # Each list by itself: one that is put together from several would not be looked up by the index.
    condition = " OR ".join(f"id IN {{{name}:Array(UInt128)}}" for name in lists)
    organisations = sorted({organisation for organisation, _ in keys})
    return clickhouse.query(f"{sql} AND ({condition})", organisations=organisations, **lists, **others)


def _insert(clickhouse: ClickHouse, table: str, columns: Sequence[str], rows: Iterable[Any]) -> None:
    body = _ENCODER.encode_lines([*rows])

    def chunks() -> Generator[bytes, None, None]:
        yield body

    if body:
        clickhouse.insert_stream(table, columns, chunks, fmt="JSONCompactEachRow", settings=_INSERT)


_CLAIMS = (
    "SELECT organisation_id, id, claimed_at, toUnixTimestamp64Milli(timestamp), event_type, service"
    " FROM analytics_event_ids WHERE organisation_id IN {organisations:Array(UInt64)}"
)
_STORED = (
    "SELECT organisation_id, toUInt128(event_id) AS id FROM analytics_events"
    " WHERE organisation_id IN {organisations:Array(UInt64)}"
    " AND event_type IN {types:Array(String)} AND service IN {services:Array(String)}"
    " AND timestamp >= fromUnixTimestamp64Milli({first:Int64}, 'UTC')"
    " AND timestamp <= fromUnixTimestamp64Milli({last:Int64}, 'UTC')"
)
_TABLES = (
    "SELECT count() FROM system.tables"
    " WHERE database = currentDatabase() AND name IN ('analytics_events', 'analytics_event_ids')"
)
