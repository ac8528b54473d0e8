"""Figures of AI usage for a product to show: of a namespace, over a range of days.

A range is inclusive at both ends, in UTC days. A namespace is the path of ids from the top, e.g. `1/2/`; it contains
everything below it, and nothing else: `1/2/` does not contain `1/23/`. Distinct users are distinct over the whole
range. Nothing is ever answered with emptiness because a store is off: that is `NotAvailable`.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.ai_usage.daily import FIGURES
from analytics_pipeline.flows.ai_usage.errors import NotAvailable
from analytics_pipeline.flows.ai_usage.feature import SCOPE, setting_is_on
from analytics_pipeline.flows.days import contiguous
from analytics_pipeline.flows.held_days import unheld_days
from analytics_pipeline.flows.held_tables import NOTHING
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.postgres import Postgres, postgres

SHOWN = "code_suggestion_shown_in_ide"
ACCEPTED = "code_suggestion_accepted_in_ide"
REJECTED = "code_suggestion_rejected_in_ide"


@dataclass(frozen=True)
class Scope:
    """The subject of a question: a namespace and days, both inclusive; `languages` narrows code suggestions."""

    namespace: str
    first: date
    last: date
    languages: tuple[str, ...] = ()


@dataclass(frozen=True)
class CodeSuggestions:
    """Figures of code suggestions. `acceptance_rate` is accepted per shown, None when nothing was shown."""

    contributors: int
    shown: int
    accepted: int
    rejected: int
    acceptance_rate: float | None
    languages: tuple[str, ...]
    shown_lines: int
    accepted_lines: int


@dataclass(frozen=True)
class Chat:
    users: int
    questions: int


@dataclass(frozen=True)
class UserUsage:
    """One user's events in the scope, by name, and when the last of them was (UTC)."""

    user_id: int
    total: int
    events: dict[str, int]
    last_activity_at: datetime


@dataclass(frozen=True)
class AiUsageReads:
    """Answers from ClickHouse; obtained from `ai_usage_reads`. What they lack is told by `missing`."""

    clickhouse: ClickHouse
    postgres: Postgres

    def missing(self, scope: Scope) -> list[tuple[date, date]]:
        """The days of the scope, up to today, that were never counted or are lost, as ranges with both ends inclusive.

        What happened on them is in no figure. Days before the product's first event lack nothing.
        """
        ((begin, counted, versions),) = self.postgres.query(_COUNTED, first=scope.first, last=scope.last, scope=SCOPE)
        first, last = max(scope.first, begin or scope.first), min(scope.last, datetime.now(timezone.utc).date())
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        held = FIGURES.at_a_glance(self.clickhouse)
        recorded = dict(zip(counted or (), versions or (), strict=True))
        lost: Collection[date] = ()
        if any(version not in (None, held.get(day, NOTHING).checksum) for day, version in recorded.items()):
            # Most were only swapped meanwhile, which the ledger knows by now.
            lost = unheld_days(self.postgres, self.clickhouse, FIGURES)
        return contiguous([day for day in days if day not in recorded or day in lost])

    def contributors(self, scope: Scope) -> int:
        """Users with any AI event."""
        ((found,),) = self._asked(f"SELECT uniqExact(user_id) {FROM}", scope)
        return int(found)

    def code_suggestions(self, scope: Scope) -> CodeSuggestions:
        ((shown, accepted, rejected, *rest),) = self._asked(_CODE_SUGGESTIONS, scope)
        contributors, languages, shown_lines, accepted_lines = rest
        rate = accepted / shown if shown else None
        return CodeSuggestions(
            contributors, shown, accepted, rejected, rate, tuple(languages), shown_lines, accepted_lines
        )

    def chat(self, scope: Scope) -> Chat:
        return Chat(*self._asked(_CHAT, scope)[0])

    def events(self, scope: Scope) -> dict[str, int]:
        """How often each event of the registry happened; those that did not are absent."""
        return dict(self._asked(f"SELECT event, sum(occurrences) {FROM} GROUP BY event ORDER BY event", scope))

    def users(
        self, scope: Scope, user_ids: Sequence[int] = (), *, limit: int = 100, after: tuple[int, int] | None = None
    ) -> list[UserUsage]:
        """Users by their total, the busiest first, after the one of this total and id; only `user_ids` when given."""
        total, user = after or (2**63, 0)
        rows = self._asked(_USERS, scope, users=list(user_ids), limit=limit, after_total=total, after_user=user)
        return [UserUsage(user, total, dict(events), last) for user, total, events, last in rows]

    def _asked(self, statement: str, scope: Scope, **rest: Any) -> list[tuple[Any, ...]]:
        return self.clickhouse.query(statement + SETTINGS, **parameters_of(scope), **rest)


@contextmanager
def ai_usage_reads(settings: Settings) -> Iterator[AiUsageReads]:
    """The reads, while AI usage is available.

    Raises:
        NotAvailable: ClickHouse or the application's database is not configured, the setting is off, or nothing was
            brought in yet.
    """
    try:
        with postgres(settings).pooled(connections=1) as store:
            check_available(store)
            with connect(settings, Tag("ai_usage", "read")) as clickhouse:
                yield AiUsageReads(clickhouse, store)
    except NotConfigured as error:
        raise NotAvailable(f"AI usage is not available: {error}") from error


_IS_OFF = "use_clickhouse_for_analytics is off (an admin of the product turns it on)"


def check_available(store: Postgres) -> None:
    """Ask whether AI usage is switched on and brought in, as it is now; for a service that keeps its reads.

    Raises:
        NotAvailable: the setting is off, or nothing was brought in yet.
    """
    if not setting_is_on(store):
        raise NotAvailable(f"AI usage is not available: {_IS_OFF}")
    if store.query("SELECT NOT EXISTS (SELECT FROM analytics_pipeline.ai_usage_days)") == [(True,)]:
        raise NotAvailable("AI usage is not available yet: none of its days was brought in")


def parameters_of(scope: Scope) -> dict[str, Any]:
    """The scope as parameters of a statement."""
    path = scope.namespace.strip("/")
    return {
        "prefix": f"{path}/" if path else "",
        "first": scope.first,
        "last": scope.last,
        "languages": list(scope.languages),
    }


# Of days that are being swapped nobody knows the version.
_COUNTED = """
    SELECT
        (
            SELECT source_first_day FROM analytics_pipeline.enablements
            WHERE feature = 'ai_usage' AND scope = %(scope)s ORDER BY epoch DESC LIMIT 1
        ),
        array_agg(day ORDER BY day),
        array_agg((CASE WHEN held.state = 'held' THEN held.checksum END)::bigint ORDER BY day)
    FROM analytics_pipeline.held_ai_usage_days
    JOIN analytics_pipeline.held_days AS held USING (day)
    WHERE held.relation = 'ai_usage_daily' AND day BETWEEN %(first)s AND %(last)s
"""

# A key never has rows in two months, so each month is made final by itself, and side by side.
SETTINGS = " SETTINGS do_not_merge_across_partitions_select_final = 1"

FROM = """
    FROM ai_usage_daily FINAL
    WHERE date BETWEEN {first:Date} AND {last:Date} AND startsWith(namespace_path, {prefix:String})
        AND (empty({languages:Array(String)}) OR has({languages:Array(String)}, language))
"""

_CODE_SUGGESTIONS = f"""
    SELECT
        sumIf(occurrences, event = '{SHOWN}'),
        sumIf(occurrences, event = '{ACCEPTED}'),
        sumIf(occurrences, event = '{REJECTED}'),
        uniqExact(user_id),
        arraySort(groupUniqArrayIf(language, language <> '')),
        sumIf(suggestion_size_sum, event = '{SHOWN}'),
        sumIf(suggestion_size_sum, event = '{ACCEPTED}')
    {FROM} AND event IN ('{SHOWN}', '{ACCEPTED}', '{REJECTED}')
"""

_CHAT = f"SELECT uniqExact(user_id), sum(occurrences) {FROM} AND feature = 'chat'"

_USERS = f"""
    SELECT user_id, sum(total), groupArray((event, total)), max(last)
    FROM (
        SELECT user_id, event, sum(occurrences) AS total, max(last_at) AS last
        {FROM} AND (empty({{users:Array(UInt64)}}) OR has({{users:Array(UInt64)}}, user_id))
        GROUP BY user_id, event
        ORDER BY event
    )
    GROUP BY user_id
    HAVING (-toInt128(sum(total)), user_id) > (-{{after_total:Int128}}, {{after_user:UInt64}})
    ORDER BY sum(total) DESC, user_id
    LIMIT {{limit:UInt32}}
"""
