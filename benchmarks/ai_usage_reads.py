"""Reads of AI usage beside the same of the raw events, and beside `SELECT 1`."""

from collections.abc import Iterator, Mapping
from datetime import date
from functools import partial

from analytics_pipeline.flows.ai_usage.reads import AiUsageReads, Scope
from analytics_pipeline.flows.ai_usage.source import CODE_SUGGESTION_EVENTS
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres
from benchmarks.rows import Goal, Row, in_turns, seconds_of

ROUNDS = 15
_SCOPES: Mapping[str, str] = {"a narrow namespace": "1/7/", "all namespaces": ""}
# Shown, accepted and rejected, as the source numbers them.
_EVENTS = [2, 3, 4]


def reads(warehouse: ClickHouse, store: Postgres, first: date, last: date) -> Iterator[Row]:
    """Code suggestions, users and what is missing, of a part and of all; the raw events must say the same."""

    def floor() -> object:
        return warehouse.query("SELECT 1")

    with store.pooled() as kept:
        desk = AiUsageReads(warehouse, kept)
        for name, namespace in _SCOPES.items():
            scope = Scope(namespace, first, last)
            suggestions = desk.code_suggestions(scope)
            assert _raw(warehouse, scope) == (suggestions.contributors, suggestions.shown, suggestions.accepted)
            ours, raw, least = in_turns(
                "code suggestions",
                partial(desk.code_suggestions, scope),
                partial(_raw, warehouse, scope),
                floor,
                rounds=ROUNDS,
            )
            goals = [Goal.at_most(ours / least, 10, "SELECT 1")] if namespace else []
            yield Row(f"code suggestions, {name}", "from figures", ours, goals=goals)
            yield Row(f"code suggestions, {name}", "from raw events, three figures", raw, faster=raw / ours)
            users = seconds_of("users", desk.users, scope, rounds=ROUNDS)
            yield Row(f"users, {name}", "from figures", users)
        missing, least = in_turns("missing", partial(desk.missing, Scope("", first, last)), floor, rounds=ROUNDS)
        yield Row("missing days", "ledgers and figures", missing, goals=[Goal.at_most(missing / least, 10, "SELECT 1")])


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
        events=_EVENTS,
    )
    return users, shown, accepted
