"""Events that the benchmark of AI usage works on."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from psycopg import sql
from typing_extensions import LiteralString

from analytics_pipeline.flows.ai_usage.source import CODE_SUGGESTION_EVENTS, DUO_CHAT_EVENTS, SOURCES
from analytics_pipeline.flows.days import day_start
from analytics_pipeline.resources.postgres import Postgres
from benchmarks.stores import unhurried


@dataclass(frozen=True)
class Load:
    """What is to be brought in: rows of both sources together, over days of which the last is yesterday."""

    rows: int
    days: int

    @property
    def last(self) -> date:
        return datetime.now(timezone.utc).date() - timedelta(days=1)

    @property
    def first(self) -> date:
        return self.last - timedelta(days=self.days - 1)

    @property
    def rows_of(self) -> dict[str, int]:
        """Rows of each source. Code is suggested more often than questions are asked."""
        chats = self.rows // 4
        return {DUO_CHAT_EVENTS.name: chats, CODE_SUGGESTION_EVENTS.name: self.rows - chats}


def fill(store: Postgres, load: Load) -> None:
    """Events evenly over the days, of 5,000 users in 2,000 namespaces, each stored a moment after it happened."""
    with unhurried(store) as connection:
        for source in SOURCES:
            rows = load.rows_of[source.name]
            connection.execute(
                sql.SQL(_FILL[source.name]),
                {"rows": rows, "first": day_start(load.first), "step": timedelta(days=load.days) / rows},
            )
            # As autovacuum would have left it; otherwise the first who reads also writes.
            connection.execute(sql.SQL("VACUUM ANALYZE {}").format(store.relation(source.relation)))


# Multiplying by a prime scatters neighbours, the same way on every run.
_SCATTERED = "number * 2654435761"
_EVENT = f"""
    %(first)s::timestamptz + number * %(step)s::interval AS timestamp,
    ({_SCATTERED}) %% 5000 + 1 AS user_id,
    '1/' || ({_SCATTERED}) %% 40 + 1 || '/' || ({_SCATTERED}) %% 2000 + 1 || '/' AS namespace_path,
    %(first)s::timestamptz + number * %(step)s::interval + interval '2 seconds' AS created_at
"""
_FILL: dict[str, LiteralString] = {
    DUO_CHAT_EVENTS.name: f"""
        INSERT INTO ai_duo_chat_events (timestamp, user_id, namespace_path, created_at, event)
        SELECT {_EVENT}, 1 FROM generate_series(0, %(rows)s::bigint - 1) AS number
    """,
    CODE_SUGGESTION_EVENTS.name: f"""
        INSERT INTO ai_code_suggestion_events (timestamp, user_id, namespace_path, created_at, event, payload)
        SELECT {_EVENT}, number %% 3 + 2, jsonb_build_object(
            'unique_tracking_id', md5(number::text),
            'language', (ARRAY['go', 'ruby', 'python', 'rust', 'c', 'java', 'sql', 'vue'])[number %% 8 + 1],
            'suggestion_size', number %% 50 + 1,
            'branch_name', 'feature/' || number %% 500
        )
        FROM generate_series(0, %(rows)s::bigint - 1) AS number
    """,
}
