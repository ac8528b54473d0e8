"""The product's AI events: which relation becomes which table, and what of a row is needed at least."""

from psycopg import sql
from typing_extensions import LiteralString

from analytics_pipeline.flows.ai_usage.registry import events_of
from analytics_pipeline.flows.daily_copy.source import KNOWN_MOMENT, DaySource

# One precision from here on: what is the same event must have the same timestamp wherever it is kept.
_TIMESTAMP = "date_bin('1 millisecond', source.timestamp, '1970-01-01')"
# Every path ends with a slash, so that the prefix of one namespace is never the beginning of another's.
_NAMESPACE = "coalesce(nullif(rtrim(source.namespace_path, '/'), ''), '0') || '/'"
_COLUMNS: dict[str, LiteralString] = {
    "id": "source.id",
    "user_id": "source.user_id",
    "event": "source.event",
    "namespace_path": _NAMESPACE,
    "timestamp": _TIMESTAMP,
    "created_at": KNOWN_MOMENT.format("source.created_at"),
}
_SIZE = "(source.payload ->> 'suggestion_size')"
# Absent and null are nothing to lose; what is there has to be a count, written as ClickHouse reads one.
# A regular expression would take as long as all the rest.
_LOSS: LiteralString = f"""
    CASE
        WHEN jsonb_typeof(source.payload) NOT IN ('object', 'null') THEN 'payload'
        WHEN length({_SIZE}) NOT BETWEEN 1 AND 18 OR translate({_SIZE}, '0123456789', '') <> '' THEN 'suggestion_size'
        ELSE ''
    END
"""
_KEY = ("namespace_path", "user_id", "event", "timestamp", "id")

_REFUSAL = """
    CASE
        WHEN source.id IS NULL THEN 'the event has no id'
        WHEN source.user_id IS NULL OR source.user_id < 0 THEN 'the event has no user'
        WHEN source.event IS NULL OR source.event <> ALL({events}) THEN 'the event id is not in the registry'
        WHEN source.id < 0 THEN 'the id is negative'
    END
"""


def _refusal(feature: str) -> sql.Composed:
    return sql.SQL(_REFUSAL).format(events=sql.Literal(sorted(events_of(feature))))


DUO_CHAT_EVENTS = DaySource(
    name="duo_chat_events",
    relation="ai_duo_chat_events",
    table="duo_chat_events",
    partition="toDate(timestamp)",
    columns=_COLUMNS,
    day="source.timestamp",
    changed="source.created_at",
    change_column="created_at",
    refusal=_refusal("chat"),
    key=_KEY,
)
CODE_SUGGESTION_EVENTS = DaySource(
    name="code_suggestion_events",
    relation="ai_code_suggestion_events",
    table="code_suggestion_events",
    partition="toDate(timestamp)",
    columns={
        **_COLUMNS,
        "unique_tracking_id": "coalesce(source.payload ->> 'unique_tracking_id', '')",
        "language": "coalesce(source.payload ->> 'language', '')",
        "suggestion_size": f"CASE WHEN {_LOSS} = '' THEN coalesce({_SIZE}, '0') ELSE '0' END",
        "branch_name": "coalesce(source.payload ->> 'branch_name', '')",
        "unreadable": _LOSS,
    },
    day="source.timestamp",
    changed="source.created_at",
    change_column="created_at",
    refusal=_refusal("code_suggestions"),
    loss_column="unreadable",
    key=_KEY,
)
SOURCES: tuple[DaySource, ...] = (DUO_CHAT_EVENTS, CODE_SUGGESTION_EVENTS)
