"""The state of the figures of AI usage of closed days, by our ledgers."""

from analytics_pipeline.flows.ai_usage.feature import SCOPE
from analytics_pipeline.flows.ai_usage.reads import Scope
from analytics_pipeline.resources.postgres import Postgres


def version(postgres: Postgres, scope: Scope) -> str:
    """Changes with any figure of the days, and with what is known to be missing of them."""
    ((digest,),) = postgres.query(_VERSION, first=scope.first, last=scope.last, scope=SCOPE)
    return str(digest)


_VERSION = """
    SELECT md5(concat_ws('|',
        (
            SELECT string_agg(concat_ws(':', day, state, rows, checksum, swapped_at), ',' ORDER BY day)
            FROM analytics_pipeline.held_days
            WHERE relation = 'ai_usage_daily' AND day BETWEEN %(first)s AND %(last)s
        ),
        (
            SELECT string_agg(concat_ws(':', epoch, source_first_day), ',' ORDER BY epoch)
            FROM analytics_pipeline.enablements WHERE feature = 'ai_usage' AND scope = %(scope)s
        )
    ))
"""
