"""The ledger `event_logs_gaps`: ids that no committed event had when a sink's bookmark passed them.

Ids do not commit in order. An id that is missing belongs to a transaction that is still open, was drawn by a session
that has not used it yet, or will never come. So it is looked at again: by each run at first, once more when all
transactions have ended that were open when it was passed, and ever more rarely while it may still come from elsewhere.
"""

from datetime import timedelta

from analytics_pipeline.resources.postgres import Connection
from analytics_pipeline.resources.sql_files import sql_file

# How long every run looks, and after how long an id is given up that no open transaction can have.
YOUNG, GIVEN_UP = timedelta(minutes=10), timedelta(hours=24)
# A gap as wide as this is no lost id but one that somebody set far ahead: the rest is coming. It is never given up.
WIDE = 1_000_000
# How many are looked at by one statement.
GAPS_PER_LOOK = 50_000


def add(connection: Connection, sink: str, passed: str, open_until: str) -> None:
    """Remember the ids, a multirange, as missing."""
    if passed != "{}":
        connection.execute(_ADD, {"sink": sink, "passed": passed, "open_until": open_until})


def fill(connection: Connection, sink: str, found: str, open_until: str) -> None:
    """These ids are no longer missing. What is left of a gap in which one was found has been passed only now."""
    if found != "{}":
        parameters = {"sink": sink, "found": found, "open_until": open_until}
        connection.execute(sql_file(__package__, "fill_gaps.sql"), parameters)


def due(connection: Connection, sink: str, horizon: str) -> str:
    """The gaps to look at now, as a multirange; all transactions before `horizon` have ended."""
    parameters = {"sink": sink, "horizon": horizon, "young": YOUNG, "wide": WIDE, "most": GAPS_PER_LOOK}
    ((gaps,),) = connection.execute(sql_file(__package__, "due_gaps.sql"), parameters).fetchall()
    return str(gaps)


def looked_at(connection: Connection, sink: str, gaps: str, horizon: str) -> None:
    """Nothing was in these gaps at a moment when all transactions before `horizon` had ended; gives up what is old."""
    parameters = {"sink": sink, "gaps": gaps, "horizon": horizon, "given_up": GIVEN_UP, "wide": WIDE}
    with connection.transaction():
        connection.execute(_LOOKED_AT, parameters)
        connection.execute(_GIVE_UP, parameters)


_ADD = """
    INSERT INTO analytics_pipeline.event_logs_gaps (sink, first_id, last_id, open_until)
    SELECT %(sink)s, lower(gap), upper(gap) - 1, %(open_until)s::xid8 FROM unnest(%(passed)s::int8multirange) AS gap
    ON CONFLICT (sink, first_id) DO UPDATE SET
        last_id = excluded.last_id, open_until = excluded.open_until, is_settled = false,
        passed_at = excluded.passed_at, looked_at = excluded.looked_at
"""

_LOOKED_AT = """
    UPDATE analytics_pipeline.event_logs_gaps SET
        looked_at = clock_timestamp(), is_settled = is_settled OR open_until <= %(horizon)s::xid8
    WHERE sink = %(sink)s AND int8range(first_id, last_id, '[]') <@ %(gaps)s::int8multirange
"""

_GIVE_UP = """
    DELETE FROM analytics_pipeline.event_logs_gaps
    WHERE sink = %(sink)s AND is_settled AND passed_at < clock_timestamp() - %(given_up)s::interval
        AND last_id - first_id < %(wide)s
"""
