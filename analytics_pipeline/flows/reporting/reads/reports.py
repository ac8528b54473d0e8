"""Reports of an account: the same numbers whether they are read from the rollups or from the raw events.

Whole local days whose rollup holds come from the rollups, everything else from the events, in one statement. Every
answer tells where it came from, as of when, and which days it lacks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from openfeature.client import OpenFeatureClient

from analytics_pipeline.flows.reporting.accounts import account
from analytics_pipeline.flows.reporting.reads.cells import Cells
from analytics_pipeline.flows.reporting.reads.metrics import (
    BOT_SUMMARY,
    OVERVIEW,
    SUMMARY,
    Cell,
    Number,
    ReportMetric,
    report_metric,
)
from analytics_pipeline.flows.reporting.reads.periods import Period, periods, previous, whole
from analytics_pipeline.flows.reporting.reads.plan import report_zone
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.reads.reading import Answer, Reading
from analytics_pipeline.flows.reporting.registry import REGISTRY, Registry
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres

_SETTINGS: Mapping[str, int] = {
    # A key never has rows in two months, so each month is made final by itself, and side by side.
    "do_not_merge_across_partitions_select_final": 1,
    # What a statement asks of a table twice is asked of the same parts: versions are those of the figures.
    "enable_shared_storage_snapshot_in_query": 1,
    # Conditions are on the keys, which leave little to filter. To read a part's columns in two steps for that takes
    # half as long again where there are hundreds of parts.
    "optimize_move_to_prewhere": 0,
}


@dataclass(frozen=True)
class Point:
    """A period's figure; `timestamp` is its start in seconds of the epoch. Averages have the `count` they are of.

    An average of nothing is 0 with a count of 0. None is what `reads.unknown` finds that nobody knows.
    """

    value: Number
    timestamp: int
    count: int | None = None


@dataclass(frozen=True)
class Comparison:
    """Figures by metric, of the range and of the same elapsed time just before it."""

    current: Mapping[str, Number]
    previous: Mapping[str, Number]


@dataclass(frozen=True)
class Reports:
    """Answers queries; the flag `reporting_events_rollup` of the account decides whether its rollups may be read.

    Raises, with every method:
        UnknownAccount: the source has none of that id.
        InvalidSubject: the report is on one agent, inbox or team, and its id is not given.
    """

    clickhouse: ClickHouse
    postgres: Postgres
    flags: OpenFeatureClient
    registry: Registry = REGISTRY

    def aggregate(self, query: ReportQuery, metric: str) -> Answer[Number]:
        """The metric over the whole range: a count, or an average in seconds (None when there is nothing to average).

        Raises:
            UnknownMetric: there is none of that name.
        """
        known, subject = report_metric(metric), query.subject
        found = self.reading(query).cells([known], [whole(query)])
        return found.of(known.figure(_cell(found.value, 0, subject, known)))

    def timeseries(self, query: ReportQuery, metric: str, group_by: str = "day") -> Answer[list[Point]]:
        """The metric in each hour, day, week from Sunday, month or year that overlaps the range, also the empty ones.

        The first period may begin before the range; events before the range do not count.

        Raises:
            UnknownMetric, UnknownGroupBy: there is none of that name.
            InvalidRange: more than 92 days by the hour.
        """
        known, subject = report_metric(metric), query.subject
        reading = self.reading(query)
        cut = periods(group_by, reading.zone.tz, query)
        found = reading.cells([known], cut)
        return found.of(
            [_point(known, _cell(found.value, number, subject, known), one) for number, one in enumerate(cut)]
        )

    def summary(self, query: ReportQuery) -> Answer[dict[int, dict[str, Number]]]:
        """By id in the query's dimension, in order: the figures of every id that has any, by summary key.

        Counts that an id lacks are 0, averages None.
        """
        found = self.reading(query).cells(list(SUMMARY.values()), [whole(query)])
        ids = sorted({entity for _, entity, _ in found.value})
        return found.of({entity: _summary_figures(found.value, 0, entity) for entity in ids})

    def compared_summary(self, query: ReportQuery) -> Answer[dict[int, Comparison]]:
        """As `summary`, of every id that has any figure in the range or in the same elapsed time just before it."""
        current = whole(query)
        found = self.reading(query).cells(list(SUMMARY.values()), [previous(current), current])
        return found.of(
            {
                entity: Comparison(*(_summary_figures(found.value, number, entity) for number in (1, 0)))
                for entity in sorted({entity for _, entity, _ in found.value})
            }
        )

    def overview(self, query: ReportQuery) -> Answer[Comparison]:
        """All figures but the bots', beside those of the previous period."""
        return self._comparison(query, OVERVIEW)

    def bot_summary(self, query: ReportQuery) -> Answer[Comparison]:
        """`bot_resolutions_count` and `bot_handoffs_count`, beside those of the previous period."""
        return self._comparison(query, BOT_SUMMARY)

    def _comparison(self, query: ReportQuery, metrics: Sequence[ReportMetric]) -> Answer[Comparison]:
        subject, current = query.subject, whole(query)
        found = self.reading(query).cells(metrics, [previous(current), current])
        before, now = (
            {metric.name: metric.figure(_cell(found.value, number, subject, metric)) for metric in metrics}
            for number in (0, 1)
        )
        return found.of(Comparison(current=now, previous=before))

    def reading(self, query: ReportQuery) -> Reading:
        """How the query is read now."""
        now = datetime.now(timezone.utc)
        known = account(self.postgres, query.account_id)
        return Reading(
            replace(
                self.clickhouse,
                tag=Tag("reporting", "read"),
                extra_settings={**self.clickhouse.extra_settings, **_SETTINGS},
            ),
            self.postgres,
            self.flags,
            self.registry,
            known,
            query,
            report_zone(known, query.timezone, now),
            now,
        )


def _cell(cells: Cells, number: int, entity: int, metric: ReportMetric) -> Cell:
    return cells.get((number, entity, metric.key), Cell())


def _summary_figures(cells: Cells, number: int, entity: int) -> dict[str, Number]:
    return {key: metric.figure(_cell(cells, number, entity, metric)) for key, metric in SUMMARY.items()}


def _point(metric: ReportMetric, cell: Cell, period: Period) -> Point:
    value = metric.figure(cell)
    return Point(value or 0, period.timestamp, None if metric.aggregate == "count" else cell.count)
