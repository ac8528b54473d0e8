"""Checks of the counts: they are possible, and they are the flag engine's."""

from dataclasses import asdict
from datetime import date

import dagster as dg

from analytics_pipeline.assets.segments import segment_counts
from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.segments.audit import impossible_counts, lost_counts
from analytics_pipeline.flows.segments.sampling.agreement import Agreement
from analytics_pipeline.flows.segments.sampling.compare import compare
from analytics_pipeline.orchestration.findings import Findings, check_days
from analytics_pipeline.orchestration.forgotten import nothing_left
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.configurable import ClickHouseResource, PostgresResource

_TAG = Tag("segments", "check")


@dg.asset_check(asset=segment_counts)
def counts_within_identities(
    context: dg.AssetCheckExecutionContext, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """No segment holds more identities than its environment's snapshot has."""

    def look(day: date) -> Findings:
        with clickhouse.connect(_TAG) as warehouse:
            counts = impossible_counts(warehouse, day)
        return Audited(counts.compared, [asdict(count) for count in counts.found])

    return check_days(context, look)


@dg.asset_check(asset=segment_counts)
def counts_are_stored(
    context: dg.AssetCheckExecutionContext, clickhouse: ClickHouseResource, postgres: PostgresResource
) -> dg.AssetCheckResult:
    """ClickHouse holds the day's counts of every project that the ledger `segment_refreshes` calls completed."""

    def look(day: date) -> Findings:
        with clickhouse.connect(_TAG) as warehouse:
            projects = lost_counts(postgres.store(), warehouse, day)
        return Audited(projects.compared, [{"project": project} for project in projects.found])

    return check_days(context, look)


@dg.asset_check(asset=segment_counts)
def counts_agree_with_engine(
    context: dg.AssetCheckExecutionContext, clickhouse: ClickHouseResource, postgres: PostgresResource
) -> dg.AssetCheckResult:
    """SQL and the flag engine agree on which identities of a small sample are in each segment.

    The sample is a few hundred identities of each project that the run counted, the same whenever the day is looked at.
    A finding names the segment, the environment, how many of the sample differ, and the beginning of the SHA-256 of one
    identifier. The metadata say how much was compared, and what the sample left out.
    """
    agreement = Agreement()

    def look(day: date) -> Findings:
        with clickhouse.connect(_TAG) as warehouse:
            found = compare(warehouse, postgres.store(), day, context.run.run_id)
        agreement.add(found)
        return Audited(found.answers, [asdict(disagreement) for disagreement in found.found])

    return check_days(context, look, about=agreement.counts)


NOTHING_LEFT = nothing_left(
    segment_counts,
    "segments",
    ("segment_counts", "segment_membership_counts", "segment_refreshes"),
)
