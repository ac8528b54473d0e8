"""Reads of AI usage beside the same of the raw events, and beside `SELECT 1`."""

from collections.abc import Iterator, Mapping
from datetime import date

from analytics_pipeline.flows.ai_usage.reads import ACCEPTED, REJECTED, SHOWN, AiUsageReads, Scope
from analytics_pipeline.flows.ai_usage.source import CODE_SUGGESTION_EVENTS
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres
from benchmarks.rows import Goal, Row, seconds_of

ROUNDS = 15
_SCOPES: Mapping[str, str] = {"a narrow namespace": "1/7/", "all namespaces": ""}
_NAMES = {2: SHOWN, 3: ACCEPTED, 4: REJECTED}


def reads(warehouse: ClickHouse, store: Postgres, first: date, last: date) -> Iterator[Row]:
    """Code suggestions, users and what is missing, of a part and of all; the raw events must say the same."""
    floor = seconds_of("SELECT 1", warehouse.query, "SELECT 1", rounds=3 * ROUNDS)
    yield Row("SELECT 1", "the same client", floor)
    with store.pooled() as kept:
        desk = AiUsageReads(warehouse, kept)
        for name, namespace in _SCOPES.items():
            scope = Scope(namespace, first, last)
            suggestions = desk.code_suggestions(scope)
            assert _raw(warehouse, scope) == (suggestions.contributors, suggestions.shown, suggestions.accepted)
            ours = seconds_of("code suggestions", desk.code_suggestions, scope, rounds=ROUNDS)
            raw = seconds_of("raw events", _raw, warehouse, scope, rounds=ROUNDS)
            goals = [Goal.at_most(ours / floor, 10, "SELECT 1")] if namespace else []
            yield Row(f"code suggestions, {name}", "from figures", ours, goals=goals)
            yield Row(f"code suggestions, {name}", "from raw events, three figures", raw, faster=raw / ours)
            users = seconds_of("users", desk.users, scope, rounds=ROUNDS)
            yield Row(f"users, {name}", "from figures", users)
        missing = seconds_of("missing", desk.missing, Scope("", first, last), rounds=ROUNDS)
        yield Row("missing days", "ledgers and figures", missing, goals=[Goal.at_most(missing / floor, 10, "SELECT 1")])


def _raw(warehouse: ClickHouse, scope: Scope) -> tuple[int, int, int]:
    """Contributors, shown and accepted, from the events."""
    ((users, shown, accepted),) = warehouse.query(
        f"""
        SELECT uniqExact(user_id), countIf(event = 2), countIf(event = 3) FROM {CODE_SUGGESTION_EVENTS.table} FINAL
        WHERE toDate(timestamp) BETWEEN {{first:Date}} AND {{last:Date}}
            AND startsWith(namespace_path, {{prefix:String}}) AND event IN {{events:Array(UInt16)}}
        """,
        first=scope.first,
        last=scope.last,
        prefix=scope.namespace,
        events=list(_NAMES),
    )
    return users, shown, accepted
