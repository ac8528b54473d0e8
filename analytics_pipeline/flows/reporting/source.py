"""The product's reporting events: what is read of them, and what of a row is needed at least."""

from psycopg import sql

from analytics_pipeline.flows.daily_copy.source import KNOWN_MOMENT, DaySource

REPORTING_EVENTS = DaySource(
    name="reporting_events",
    relation="reporting_events",
    table="reporting_events",
    partition="toDate(created_at)",
    columns={
        "id": "source.id",
        "name": "source.name",
        "value": "source.value",
        "value_in_business_hours": "source.value_in_business_hours",
        "account_id": "source.account_id",
        "inbox_id": "source.inbox_id",
        "user_id": "source.user_id",
        "conversation_id": "source.conversation_id",
        "event_start_time": KNOWN_MOMENT.format("source.event_start_time"),
        "event_end_time": KNOWN_MOMENT.format("source.event_end_time"),
        "created_at": "source.created_at",
        "updated_at": KNOWN_MOMENT.format("source.updated_at"),
    },
    day="source.created_at",
    changed="source.updated_at",
    change_column="updated_at",
    refusal=sql.SQL(
        "CASE WHEN source.id IS NULL THEN 'the event has no id'"
        " WHEN source.account_id IS NULL THEN 'the event has no account'"
        " WHEN source.name IS NULL THEN 'the event has no name' END"
    ),
)
