"""Figures for Prometheus, read from the ledgers when they are scraped: they outlive restarts, and every process has
the same. docs/metrics.md lists them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TypeAlias, get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from analytics_pipeline.api.stores import Stores
from analytics_pipeline.flows.check_outcomes.reads import CheckState, Outcome, Severity, check_states
from analytics_pipeline.flows.product_events.ledger import Answered, answered
from analytics_pipeline.flows.reads import Cost, Failing, Freshness, History, costs, dead_letters, failing, freshness
from analytics_pipeline.flows.reads import histories as read_histories
from analytics_pipeline.flows.usage_export.reads import Figures
from analytics_pipeline.flows.usage_export.reads import figures as export_figures

PREFIX = "analytics_pipeline"
_COST_HOURS = 24
_MISSING = "Days up to the newest that are not there; of a sink: days of which events wait."

Sample: TypeAlias = tuple[Sequence[str], float | None]


@dataclass(frozen=True)
class Ledgers:
    """Everything that a scrape reads, once. `costs` None: the server keeps no log of its statements."""

    now: datetime
    fresh: Sequence[Freshness]
    failing: Sequence[Failing]
    checks: Sequence[CheckState]
    histories: Sequence[History]
    sinks: Sequence[Figures]
    dead_letters: Mapping[str, int]
    answered: Sequence[Answered]
    costs: Sequence[Cost] | None

    @classmethod
    def read(cls, stores: Stores) -> "Ledgers":
        """The ledgers as they are now."""
        store = stores.postgres
        return cls(
            datetime.now(timezone.utc),
            freshness(store),
            failing(store),
            check_states(store, stores.settings.flows),
            read_histories(store),
            export_figures(store),
            dead_letters(store),
            answered(store),
            costs(stores.clickhouse, _COST_HOURS),
        )


@dataclass(frozen=True)
class Family:
    """A figure: its name, whether it only ever grows, its labels, and how its samples are made of the ledgers.

    A sample without a value is unknown and is left out; a missing one is not 0.
    """

    name: str
    labels: tuple[str, ...]
    help: str
    samples: Callable[[Ledgers], Iterable[Sample]]
    is_counter: bool = False

    def metric(self, ledgers: Ledgers) -> Metric:
        """The figure with its samples."""
        family = CounterMetricFamily if self.is_counter else GaugeMetricFamily
        metric = family(self.name, self.help, labels=self.labels)
        for labels, value in self.samples(ledgers):
            if value is not None:
                metric.add_metric(labels, value)
        return metric


def families(flows: Iterable[str]) -> tuple[Family, ...]:
    """Every figure, of these flows."""
    return (*(family for flow in flows for family in _of_flow(flow)), *_OF_EXPORT, *_OF_INGESTION, *_OF_HISTORIES)


def exposition(stores: Stores, flows: Iterable[str]) -> bytes:
    """All figures as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(_Scrape(Ledgers.read(stores), families(flows)))
    return generate_latest(registry)


class _Scrape(Collector):
    def __init__(self, ledgers: Ledgers, wanted: Sequence[Family]) -> None:
        self._ledgers, self._families = ledgers, wanted

    def collect(self) -> Iterator[Metric]:
        yield from (family.metric(self._ledgers) for family in self._families)


def _of_flow(flow: str) -> Iterator[Family]:
    name = f"{PREFIX}_{flow}"
    yield from _of_relations(flow)
    yield Family(
        f"{name}_failing_units",
        (),
        "Environments, projects, histories, sinks or relations that failed and were not repaired.",
        lambda ledgers: [((), sum(one.flow == flow for one in ledgers.failing))],
    )
    yield from _of_checks(flow)
    yield Family(
        f"{name}_dead_letter_records",
        (),
        "Records that nobody could read or would take.",
        lambda ledgers: [((), ledgers.dead_letters.get(flow, 0))],
    )
    yield Family(
        f"{name}_read_rows",
        (),
        "Rows that ClickHouse read in 24 hours.",
        lambda ledgers: [((), _total(ledgers.costs, flow, lambda one: one.rows_read))],
    )
    yield Family(
        f"{name}_statement_seconds",
        (),
        "Time of statements in ClickHouse in 24 hours.",
        lambda ledgers: [((), _total(ledgers.costs, flow, lambda one: one.seconds))],
    )


def _of_checks(flow: str) -> Iterator[Family]:
    yield Family(
        f"{PREFIX}_{flow}_failing_checks",
        ("severity",),
        "Asset checks of which a day fails: error, or warning.",
        lambda ledgers: _failing_checks(ledgers, flow),
    )
    yield Family(
        f"{PREFIX}_{flow}_unknown_checks",
        (),
        "Asset checks that had nothing to compare, or did not end.",
        lambda ledgers: [((), number) for number in _checks(ledgers, flow, "unknown", *get_args(Severity))],
    )


def _failing_checks(ledgers: Ledgers, flow: str) -> Iterable[Sample]:
    for severity in get_args(Severity):
        yield from (((severity,), number) for number in _checks(ledgers, flow, "failed", severity))


def _checks(ledgers: Ledgers, flow: str, outcome: Outcome, *severities: Severity) -> Iterator[int]:
    """How many of the flow's checks are so; nothing while none of them was ever executed."""
    found = [one for one in ledgers.checks if one.flow == flow]
    if found:
        yield sum(one.outcome == outcome and one.severity in severities for one in found)


def _of_relations(flow: str) -> Iterator[Family]:
    def made(what: str, help_: str, value: Callable[[Freshness, Ledgers], float | None]) -> Family:
        return Family(
            f"{PREFIX}_{flow}_{what}",
            ("relation",),
            help_,
            lambda ledgers: [((one.relation,), value(one, ledgers)) for one in ledgers.fresh if one.flow == flow],
        )

    yield made("freshness_seconds", "Since a day last came in; of a sink: since it had every event.", _age)
    yield made("held_days", "Days that are there.", lambda one, _: one.held_days)
    yield made(
        "missing_days",
        "Days up to the newest that are not there; of a sink: days of which events wait.",
        lambda one, _: one.missing_days,
    )
    yield made("lost_days", "Days that were there.", lambda one, _: one.lost_days)
    yield made("stored_rows", "Rows of the days that are there.", lambda one, _: one.rows)


def _age(one: Freshness, ledgers: Ledgers) -> float | None:
    return (ledgers.now - one.updated_at).total_seconds() if one.updated_at else None


def _total(found: Sequence[Cost] | None, flow: str, value: Callable[[Cost], float]) -> float | None:
    return None if found is None else sum(value(one) for one in found if one.flow == flow)


def _of_sink(what: str, help_: str, value: Callable[[Figures], float | None], *, is_counter: bool = False) -> Family:
    return Family(
        f"{PREFIX}_usage_export_{what}",
        ("sink",),
        help_,
        lambda ledgers: [((one.sink,), value(one)) for one in ledgers.sinks],
        is_counter,
    )


_OF_EXPORT = (
    _of_sink("queue_events", "Events that wait, up to a million.", lambda one: one.queue_size),
    _of_sink("oldest_pending_seconds", "Age of the oldest of them.", lambda one: one.oldest_pending_seconds),
    _of_sink("exported_records_total", "Records that arrived.", lambda one: one.exported_total, is_counter=True),
    _of_sink("failed_records_total", "Records that no receiver takes.", lambda one: one.failed_total, is_counter=True),
    _of_sink("last_batch_seconds", "Duration of the last batch.", lambda one: one.last_batch_seconds),
    _of_sink("consecutive_failures", "Failures since the last success.", lambda one: one.consecutive_failures),
    _of_sink("paused_sinks", "1 while somebody has paused it.", lambda one: float(one.is_paused)),
)


def _since_accepted(ledgers: Ledgers) -> Iterable[Sample]:
    return [((), (ledgers.now - one.last_at).total_seconds()) for one in ledgers.answered if one.verdict == "accepted"]


_OF_INGESTION = (
    Family(
        f"{PREFIX}_product_events_answered_events_total",
        ("verdict",),
        "Events that services sent, by what they were told: accepted, duplicate, rejected, retry.",
        lambda ledgers: [((one.verdict,), one.events) for one in ledgers.answered],
        is_counter=True,
    ),
    Family(f"{PREFIX}_product_events_last_accepted_seconds", (), "Since an event was last accepted.", _since_accepted),
)


def _states(ledgers: Ledgers) -> Iterable[Sample]:
    counts: dict[tuple[str, str], int] = {}
    for one in ledgers.histories:
        if one.switch == "on":
            counts[one.feature, one.state] = counts.get((one.feature, one.state), 0) + 1
    return list(counts.items())


def _days_left(ledgers: Ledgers) -> Iterable[Sample]:
    left: dict[str, int] = {}
    for one in ledgers.histories:
        left[one.feature] = left.get(one.feature, 0) + (one.days - one.days_done if one.switch == "on" else 0)
    return [((feature,), days) for feature, days in left.items()]


_OF_HISTORIES = (
    Family(f"{PREFIX}_enablement_open_histories", ("feature", "state"), "Histories of what is switched on.", _states),
    Family(f"{PREFIX}_enablement_missing_days", ("feature",), "Days that these histories still lack.", _days_left),
)
