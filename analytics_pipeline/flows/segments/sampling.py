"""A sample of a day's identities, judged twice: by the predicates that count them, and by the engine itself.

The tests prove that both agree on what was thought of. This looks at the product's own segments and identities.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias

from analytics_pipeline.flows.isolation import Done, isolated
from analytics_pipeline.flows.segments.engine.fallback import blames_case, judge_of
from analytics_pipeline.flows.segments.engine.process import JudgeProcess
from analytics_pipeline.flows.segments.engine.rows import (
    Case,
    IdentityRow,
    Replaced,
    Unreadable,
    case_of,
    read_identities,
    union_of,
)
from analytics_pipeline.flows.segments.source import Segment, live_segments
from analytics_pipeline.flows.segments.statement import Translated, ask, blames_segments, groups
from analytics_pipeline.flows.segments.translation.predicates import Untranslatable, translate
from analytics_pipeline.flows.tenants import Environment, Project, all_projects
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.limits import PARAMETER_BYTES, parts, size_of
from analytics_pipeline.resources.deadline import Deadline, TimeLimitReached
from analytics_pipeline.resources.postgres import Postgres

IDENTITIES = 300
# Of a project and a day; which ones changes with the day.
ENVIRONMENTS = 20
SEGMENTS = 1_000
PROJECTS = 200
# For all projects; the sample that was compared until then is the check.
SECONDS = 60.0
_ENVIRONMENTS_AT_ONCE = 100
_HASH = "sipHash64(toString({day:Date}), i.identifier)"
# The identities of a sample are named by environment and hash: identifiers may be too long for a parameter.
_SAMPLED = f"AND (i.environment_id, {_HASH}) IN {{sample:Array(Tuple(String, UInt64))}}"

# Segment id and environment key.
_Pair: TypeAlias = tuple[int, str]


@dataclass(frozen=True)
class Disagreement:
    """A segment whose members in an environment's sample are not the same for SQL and for the engine.

    `example` is the beginning of the SHA-256 of an identifier, which is the customer's personal data.
    """

    project_id: int
    segment_id: int
    environment_id: int
    differing: int
    sampled: int
    example: str


@dataclass
class Comparison:
    """How much was compared of the day's sample, and where SQL and the engine disagree.

    `left_out`: projects and segments that the run counted and the sample leaves out, because there are too many or the
    time was over. Segments that only the engine counts have nothing to be compared with and are in neither.
    """

    projects: int = 0
    environments: int = 0
    segments: int = 0
    identities: int = 0
    projects_left_out: int = 0
    segments_left_out: int = 0
    found: list[Disagreement] = field(default_factory=list)

    def add(self, other: "Comparison") -> None:
        """Take another day's comparison in."""
        for name, count in other.counts().items():
            setattr(self, name, getattr(self, name) + count)
        self.found += other.found

    def counts(self) -> dict[str, int]:
        """How much, by the names above."""
        return {name: value for name, value in vars(self).items() if isinstance(value, int)}


@dataclass(frozen=True)
class _Sample:
    """Environments of a project, and of each the hashes of its sampled identities."""

    environments: list[Environment]
    hashes: list[tuple[str, int]]


def compare(clickhouse: ClickHouse, postgres: Postgres, day: date, run_id: str) -> Comparison:
    """Ask SQL and the engine about the day's sample: of the projects that the run counted, else of all.

    The sample is chosen by hashes of the day, the segment and the identifier, so it is the same whenever the day is
    looked at.
    """
    in_time = clickhouse.limited(Deadline.after(SECONDS, "the check's time is over"))
    counted = _counted_projects(postgres, day, run_id)
    comparison = Comparison(projects_left_out=max(len(counted) - PROJECTS, 0))
    for number, project in enumerate(counted[:PROJECTS]):
        try:
            _compare(in_time, day, project, live_segments(postgres, project.id), comparison)
        except TimeLimitReached:
            comparison.projects_left_out += len(counted[:PROJECTS]) - number
            break
    return comparison


def _counted_projects(postgres: Postgres, day: date, run_id: str) -> list[Project]:
    rows = postgres.query(_COUNTED, day=day)
    own = [project for project, run in rows if run == run_id]
    chosen = own or [project for project, _ in rows]
    projects = {project.id: project for project in all_projects(postgres)}
    return [projects[id_] for id_ in chosen if id_ in projects]


_COUNTED = """
    SELECT project_id, run_id FROM analytics_pipeline.segment_refreshes
    WHERE snapshot_date = %(day)s AND status = 'completed'
    ORDER BY md5(concat_ws(':', snapshot_date, project_id))
"""


def _compare(
    clickhouse: ClickHouse, day: date, project: Project, segments: Sequence[Segment], comparison: Comparison
) -> None:
    live = [segment for segment in segments if not segment.defect]
    chosen = sorted(live, key=lambda segment: sha256(f"{day}:{segment.id}".encode()).digest())[:SEGMENTS]
    sample = _sample(clickhouse, day, project.environments)
    if not sample.hashes:
        return
    asked = list(_asked(chosen, sample.environments))
    by_sql = _sql_members(clickhouse, day, sample, [item for item, _ in asked])
    cases = [case for item, case in asked if any((item.segment.id, e.key) in by_sql for e in sample.environments)]
    by_engine = _engine_members(clickhouse, day, sample, cases)
    compared = by_sql.keys() & by_engine.keys()
    comparison.projects += 1
    comparison.environments += len(sample.environments)
    comparison.identities += len(sample.hashes)
    comparison.segments += len({segment for segment, _ in compared})
    comparison.segments_left_out += len(live) - len(chosen)
    comparison.found += _disagreements(sample, {pair: by_sql[pair] ^ by_engine[pair] for pair in compared})


def _disagreements(sample: _Sample, differing: Mapping[_Pair, set[str]]) -> Iterator[Disagreement]:
    environments = {environment.key: environment for environment in sample.environments}
    sampled = Counter(key for key, _ in sample.hashes)
    for (segment, key), identifiers in sorted(differing.items()):
        if identifiers:
            example = sha256(min(identifiers).encode()).hexdigest()[:16]
            one = environments[key]
            yield Disagreement(one.project_id, segment, one.id, len(identifiers), sampled[key], example)


def _asked(segments: Sequence[Segment], environments: Sequence[Environment]) -> Iterator[tuple[Translated, Case]]:
    for segment in segments:
        try:
            yield Translated(segment, translate(segment, environments)), case_of(segment)
        except (Unreadable, Untranslatable):
            continue  # there is one answer at most, so nothing to compare


def _sample(clickhouse: ClickHouse, day: date, environments: Sequence[Environment]) -> _Sample:
    """Each of up to `ENVIRONMENTS` environments that have identities gets its share of `IDENTITIES`."""
    ranked = sorted(environments, key=lambda one: sha256(f"{day}:{one.key}".encode()).digest())
    found: dict[str, list[int]] = {}
    for part in parts(ranked, lambda one: size_of(one.key), PARAMETER_BYTES, _ENVIRONMENTS_AT_ONCE):
        found |= clickhouse.query(
            f"SELECT i.environment_id, groupArraySorted({IDENTITIES})({_HASH})\n"
            "FROM identities AS i FINAL\n"
            "WHERE i.snapshot_date = {day:Date} AND i.environment_id IN {environments:Array(String)}\n"
            "GROUP BY i.environment_id",
            day=day,
            environments=[environment.key for environment in part],
        )
        if len(found) >= ENVIRONMENTS:
            break
    chosen = [environment for environment in ranked if environment.key in found][:ENVIRONMENTS]
    share = IDENTITIES // max(len(chosen), 1)
    return _Sample(chosen, [(one.key, identity) for one in chosen for identity in found[one.key][:share]])


def _sql_members(
    clickhouse: ClickHouse, day: date, sample: _Sample, translated: Sequence[Translated]
) -> dict[_Pair, set[str]]:
    """The identifiers of the members, where SQL counts: a guard that trips leaves a segment to the engine."""

    def work(group: Sequence[Translated]) -> dict[_Pair, set[str]]:
        found = ask(
            clickhouse,
            day,
            group,
            sample.environments,
            aggregate="groupArrayIf(i.identifier, {predicate})",
            which=_SAMPLED,
            sample=sample.hashes,
        )
        return {
            (item.segment.id, key): set(answer.values[position])
            for key, answer in found.items()
            for position, item in enumerate(group)
            if answer.tripped.isdisjoint(item.predicate.guards)
        }

    members: dict[_Pair, set[str]] = {}
    for group in groups(translated):
        for outcome in isolated(group, work, blames_segments):
            members |= outcome.result if isinstance(outcome, Done) else {}  # the engine counts what ClickHouse refuses
    return members


def _engine_members(clickhouse: ClickHouse, day: date, sample: _Sample, cases: Sequence[Case]) -> dict[_Pair, set[str]]:
    """The identifiers of the members, where the engine has an answer."""

    def work(part: Sequence[Case]) -> dict[_Pair, set[str]]:
        keys = sorted(union_of(part).traits)
        try:
            rows = read_identities(
                clickhouse,
                day,
                sample.environments,
                keys,
                f"{_SAMPLED} ORDER BY i.environment_id, i.identifier",
                sample=sample.hashes,
            )
        except Replaced:
            return {}
        with judge_of(part, clickhouse.deadline) as judge:
            return _judged(judge, sample, part, rows)

    members: dict[_Pair, set[str]] = {}
    for outcome in isolated(cases, work, blames_case):
        members |= outcome.result if isinstance(outcome, Done) else {}
    return members


def _judged(
    judge: JudgeProcess, sample: _Sample, cases: Sequence[Case], rows: Sequence[IdentityRow]
) -> dict[_Pair, set[str]]:
    environments = {environment.key: environment for environment in sample.environments}
    members: dict[_Pair, set[str]] = {}
    failures: Mapping[int, str] = {}
    for key, group in groupby(rows, key=itemgetter(0)):
        identities = list(group)
        # The n-th identity counts 2^n, so that the sum tells which ones are members.
        counts, failures = judge.count(environments[key], [[1 << n, *row[1:]] for n, row in enumerate(identities)])
        for case, count in zip(cases, counts, strict=True):
            members[case.segment.id, key] = {row[1] for n, row in enumerate(identities) if count >> n & 1}
    unanswered = {cases[number].segment.id for number in failures}
    return {pair: found for pair, found in members.items() if pair[0] not in unanswered}
