"""Metrics and dimensions of reports: the names that reports have for the metrics of the rollup registry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from typing_extensions import LiteralString

from analytics_pipeline.flows.reporting.errors import UnknownDimension, UnknownMetric
from analytics_pipeline.flows.reporting.registry import REGISTRY, Dimension, Metric, Payload

Number: TypeAlias = int | float | None


@dataclass(frozen=True)
class Cell:
    """How many events (or conversations) there were, and their seconds."""

    count: int = 0
    seconds: float = 0.0

    def plus(self, other: "Cell") -> "Cell":
        return Cell(self.count + other.count, self.seconds + other.seconds)


@dataclass(frozen=True)
class ReportMetric:
    """A figure of reports. `rolled` is the rollup metric behind it; None: the conversations that were created."""

    name: str
    aggregate: Literal["count", "average"]
    rolled: Metric | None
    summary_key: str | None = None

    @property
    def is_distinct(self) -> bool:
        """Whether it counts conversations: such counts add up neither over days nor over parts of a day."""
        return self.rolled is not None and self.rolled.payload is Payload.DISTINCT_CONVERSATIONS

    @property
    def key(self) -> str:
        """Under which name its cells are read."""
        return self.name if self.rolled is None else self.rolled.name

    def figure(self, cell: Cell) -> Number:
        """The count, or the average in seconds; None when there is nothing to average."""
        if self.aggregate == "count":
            return cell.count
        return cell.seconds / cell.count if cell.count else None


@dataclass(frozen=True)
class ReportDimension:
    """Along what reports are kept, by the column of the conversations that holds the id.

    `rolled` is the rollup dimension behind it; None: events have no such id, only their conversations do.
    """

    conversations: LiteralString
    rolled: Dimension | None


CONVERSATIONS = ReportMetric("conversations_count", "count", None, "conversations_count")

REPORT_METRICS: Mapping[str, ReportMetric] = {
    metric.name: metric
    for metric in (
        CONVERSATIONS,
        ReportMetric(
            "resolutions_count", "count", REGISTRY.metric("resolutions_count"), "resolved_conversations_count"
        ),
        ReportMetric("avg_resolution_time", "average", REGISTRY.metric("resolution_time"), "avg_resolution_time"),
        ReportMetric(
            "avg_first_response_time", "average", REGISTRY.metric("first_response"), "avg_first_response_time"
        ),
        ReportMetric("reply_time", "average", REGISTRY.metric("reply_time"), "avg_reply_time"),
        ReportMetric("bot_resolutions_count", "count", REGISTRY.metric("bot_resolutions_count")),
        ReportMetric("bot_handoffs_count", "count", REGISTRY.metric("bot_handoffs_count")),
    )
}
SUMMARY: Mapping[str, ReportMetric] = {
    metric.summary_key: metric for metric in REPORT_METRICS.values() if metric.summary_key
}
OVERVIEW = tuple(SUMMARY.values())
BOT_SUMMARY = (REPORT_METRICS["bot_resolutions_count"], REPORT_METRICS["bot_handoffs_count"])

REPORT_DIMENSIONS: Mapping[str, ReportDimension] = {
    "account": ReportDimension("account_id", REGISTRY.dimension("account")),
    "agent": ReportDimension("assignee_id", REGISTRY.dimension("agent")),
    "inbox": ReportDimension("inbox_id", REGISTRY.dimension("inbox")),
    "team": ReportDimension("team_id", None),
}


def report_metric(name: str) -> ReportMetric:
    """The metric of that name.

    Raises:
        UnknownMetric: there is none; the text names those that exist.
    """
    if name not in REPORT_METRICS:
        raise UnknownMetric(f"{name[:60]!r} is no metric of reports; there are {', '.join(REPORT_METRICS)}")
    return REPORT_METRICS[name]


def report_dimension(name: str) -> ReportDimension:
    """The dimension of that name.

    Raises:
        UnknownDimension: there is none; the text names those that exist.
    """
    if name not in REPORT_DIMENSIONS:
        raise UnknownDimension(f"{name[:60]!r} is no dimension of reports; there are {', '.join(REPORT_DIMENSIONS)}")
    return REPORT_DIMENSIONS[name]
