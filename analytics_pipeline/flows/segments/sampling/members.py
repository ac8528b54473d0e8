"""The members of segments within a sample: those that SQL finds, and those that the engine finds."""

from collections.abc import Sequence
from datetime import date
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias

from analytics_pipeline.flows.segments.engine.fallback import blames_case, judge_of
from analytics_pipeline.flows.segments.engine.process import JudgeProcess
from analytics_pipeline.flows.segments.engine.rows import Case, IdentityRow, read_identities, union_of
from analytics_pipeline.flows.segments.errors import Replaced
from analytics_pipeline.flows.segments.sampling.sample import SAMPLED, Sample
from analytics_pipeline.flows.segments.statement import Translated, ask, blames_segments, groups
from analytics_pipeline.isolation import Done, isolated
from analytics_pipeline.resources.clickhouse.client import ClickHouse

# Segment id and environment key.
Pair: TypeAlias = tuple[int, str]


def sql_members(
    clickhouse: ClickHouse, day: date, sample: Sample, translated: Sequence[Translated]
) -> dict[Pair, set[str]]:
    """The identifiers of the members, where SQL counts: a guard that trips leaves a segment to the engine."""

    def work(group: Sequence[Translated]) -> dict[Pair, set[str]]:
        found = ask(
            clickhouse,
            day,
            group,
            sample.environments,
            aggregate="groupArrayIf(i.identifier, {predicate})",
            which=SAMPLED,
            sample=sample.hashes,
        )
        return {
            (item.segment.id, key): set(answer.values[position])
            for key, answer in found.items()
            for position, item in enumerate(group)
            if answer.tripped.isdisjoint(item.predicate.guards)
        }

    members: dict[Pair, set[str]] = {}
    for group in groups(translated):
        for outcome in isolated(group, work, blames_segments):
            members |= outcome.result if isinstance(outcome, Done) else {}  # the engine counts what ClickHouse refuses
    return members


def engine_members(clickhouse: ClickHouse, day: date, sample: Sample, cases: Sequence[Case]) -> dict[Pair, set[str]]:
    """The identifiers of the members, where the engine has an answer."""

    def work(part: Sequence[Case]) -> dict[Pair, set[str]]:
        keys = sorted(union_of(part).traits)
        try:
            rows = read_identities(
                clickhouse,
                day,
                sample.environments,
                keys,
                f"{SAMPLED} ORDER BY i.environment_id, i.identifier",
                sample=sample.hashes,
            )
        except Replaced:
            return {}
        with judge_of(part, clickhouse.deadline) as judge:
            return _judged(judge, sample, part, rows)

    members: dict[Pair, set[str]] = {}
    for outcome in isolated(cases, work, blames_case):
        members |= outcome.result if isinstance(outcome, Done) else {}
    return members


def _judged(
    judge: JudgeProcess, sample: Sample, cases: Sequence[Case], rows: Sequence[IdentityRow]
) -> dict[Pair, set[str]]:
    environments = {environment.key: environment for environment in sample.environments}
    members: dict[Pair, set[str]] = {}
    for key, group in groupby(rows, key=itemgetter(0)):
        identities = list(group)
        # The n-th identity counts 2^n, so that the sum tells which ones are members.
        counts, failures = judge.count(environments[key], [[1 << n, *row[1:]] for n, row in enumerate(identities)])
        for number, case in enumerate(cases):
            if number not in failures:
                found = {row[1] for n, row in enumerate(identities) if counts[number] >> n & 1}
                members[case.segment.id, key] = found
    return members
