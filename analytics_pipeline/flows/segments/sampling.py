"""A sample of a day's identities, judged twice: by the predicates that count them, and by the engine itself.

The tests prove that both agree on what was thought of. This looks at the product's own segments and identities.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from itertools import islice
from typing import Any

from clickhouse_connect.driver.exceptions import DatabaseError

from analytics_pipeline.flows.segments.counting import SEGMENTS_PER_STATEMENT, STATEMENT_SETTINGS
from analytics_pipeline.flows.segments.engine.fallback import (
    Case,
    Reads,
    Unreadable,
    identity_row,
    judge_of,
    read_identities,
    reads_of,
    request_row,
    union_of,
)
from analytics_pipeline.flows.segments.engine.process import JudgeDied, JudgeProcess
from analytics_pipeline.flows.segments.source import Segment, live_segments
from analytics_pipeline.flows.segments.translation.predicates import Predicate, Untranslatable, translate
from analytics_pipeline.flows.tenants import Environment, Project, all_projects
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.errors import is_transient
from analytics_pipeline.resources.deadline import Deadline, TimeLimitReached
from analytics_pipeline.resources.postgres import Postgres

IDENTITIES = 300
# Of a project and a day; which ones changes with the day.
ENVIRONMENTS = 20
PROJECTS = 50
# For all projects; the sample that was compared until then is the check.
SECONDS = 300.0


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


@dataclass(frozen=True)
class _Pair:
    """A segment that both SQL and the engine can be asked about."""

    case: Case
    predicate: Predicate


def disagreements(clickhouse: ClickHouse, postgres: Postgres, day: date, run_id: str) -> list[Disagreement]:
    """Where SQL and the engine disagree on the day's sample: of the projects that the run counted, else of all.

    The sample is chosen by hashes of the day and the identifier, so it is the same whenever the day is looked at.
    """
    in_time = clickhouse.limited(Deadline.after(SECONDS, "the check's time is over"))
    found: list[Disagreement] = []
    for project in _counted_projects(postgres, day, run_id):
        try:
            found += _of_project(in_time, day, project, live_segments(postgres, project.id))
        except TimeLimitReached:
            break
    return found


def _counted_projects(postgres: Postgres, day: date, run_id: str) -> list[Project]:
    rows = postgres.query(_COUNTED, day=day)
    own = [project for project, run in rows if run == run_id]
    chosen = (own or [project for project, _ in rows])[:PROJECTS]
    projects = {project.id: project for project in all_projects(postgres)}
    return [projects[id_] for id_ in chosen if id_ in projects]


_COUNTED = """
    SELECT project_id, run_id FROM analytics_pipeline.segment_refreshes
    WHERE snapshot_date = %(day)s AND status = 'completed'
    ORDER BY md5(concat_ws(':', snapshot_date, project_id))
"""


def _of_project(
    clickhouse: ClickHouse, day: date, project: Project, segments: Sequence[Segment]
) -> Iterator[Disagreement]:
    pairs = list(_pairs(segments, project.environments))
    samples = _samples(clickhouse, day, project.environments) if pairs else {}
    for environment in project.environments:
        if sample := samples.get(environment.key):
            yield from _of_environment(clickhouse, day, environment, pairs, sample)


def _pairs(segments: Sequence[Segment], environments: Sequence[Environment]) -> Iterator[_Pair]:
    for segment in segments:
        if segment.defect or not environments:
            continue
        try:
            yield _Pair(Case(segment, reads_of(segment)), translate(segment, environments))
        except (Unreadable, Untranslatable):
            continue  # the engine counts it, so there is nothing to compare


def _samples(clickhouse: ClickHouse, day: date, environments: Sequence[Environment]) -> dict[str, list[str]]:
    """Identifiers by environment key: each of up to `ENVIRONMENTS` gets its share of `IDENTITIES`."""
    rows = clickhouse.query(
        f"SELECT environment_id, groupArraySorted({IDENTITIES})((sipHash64(toString({{day:Date}}), identifier),"
        " identifier)) AS sample\n"
        "FROM identities FINAL\n"
        "WHERE snapshot_date = {day:Date} AND environment_id IN {environments:Array(String)}\n"
        "GROUP BY environment_id ORDER BY sipHash64(toString({day:Date}), environment_id), environment_id\n"
        f"LIMIT {ENVIRONMENTS}",
        day=day,
        environments=[environment.key for environment in environments],
    )
    share = IDENTITIES // max(len(rows), 1)
    return {key: [identifier for _, identifier in sample[:share]] for key, sample in rows}


def _of_environment(
    clickhouse: ClickHouse, day: date, environment: Environment, pairs: Sequence[_Pair], sample: Sequence[str]
) -> Iterator[Disagreement]:
    by_sql = _sql_members(clickhouse, day, environment, pairs, sample)
    asked = [pair.case for pair in pairs if pair.case.segment.id in by_sql]
    by_engine = _engine_members(clickhouse, day, environment, asked, sample)
    for segment, members in by_engine.items():
        if differing := members ^ by_sql[segment]:
            example = sha256(min(differing).encode()).hexdigest()[:16]
            yield Disagreement(environment.project_id, segment, environment.id, len(differing), len(sample), example)


def _sql_members(
    clickhouse: ClickHouse, day: date, environment: Environment, pairs: Sequence[_Pair], sample: Sequence[str]
) -> dict[int, set[str]]:
    """Members by segment id, of the segments that SQL counts: a guard that trips leaves one to the engine."""
    members: dict[int, set[str]] = {}
    remaining = iter(pairs)
    while group := list(islice(remaining, SEGMENTS_PER_STATEMENT)):
        members |= _members_of_group(clickhouse, day, environment, group, sample)
    return members


def _members_of_group(
    clickhouse: ClickHouse, day: date, environment: Environment, group: Sequence[_Pair], sample: Sequence[str]
) -> dict[int, set[str]]:
    try:
        return dict(_ask_sql(clickhouse, day, environment, group, sample))
    except DatabaseError as error:
        if is_transient(error):
            raise
        if len(group) == 1:
            return {}  # what ClickHouse refuses, the engine counts
        middle = len(group) // 2
        return {
            **_members_of_group(clickhouse, day, environment, group[:middle], sample),
            **_members_of_group(clickhouse, day, environment, group[middle:], sample),
        }


def _ask_sql(
    clickhouse: ClickHouse, day: date, environment: Environment, group: Sequence[_Pair], sample: Sequence[str]
) -> Iterator[tuple[int, set[str]]]:
    guards = sorted({guard.sql for pair in group for guard in pair.predicate.guards})
    columns = [*(f"groupArrayIf(i.identifier, {pair.predicate.sql})" for pair in group), *guards]
    parameters: dict[str, Any] = {}
    for pair in group:
        parameters |= pair.predicate.parameters
    ((*values,),) = clickhouse.query(
        f"SELECT {', '.join(columns)}\nFROM identities AS i FINAL\n"
        "WHERE i.snapshot_date = {day:Date} AND i.environment_id = {environment:String}"
        f" AND i.identifier IN {{sample:Array(String)}}\n{STATEMENT_SETTINGS}",
        day=day,
        environment=environment.key,
        sample=list(sample),
        **parameters,
    )
    tripped = {sql for sql, value in zip(guards, values[len(group) :], strict=True) if value}
    for pair, found in zip(group, values[: len(group)], strict=True):
        if tripped.isdisjoint(guard.sql for guard in pair.predicate.guards):
            yield pair.case.segment.id, set(found)


def _engine_members(
    clickhouse: ClickHouse, day: date, environment: Environment, cases: Sequence[Case], sample: Sequence[str]
) -> dict[int, set[str]]:
    """Members by segment id, of the segments that the engine has an answer for."""
    if not cases:
        return {}
    keys = sorted(union_of(cases).traits)
    reads = Reads(frozenset(keys), identity=True)
    rows = read_identities(
        clickhouse, day, environment, keys, "AND i.identifier IN {sample:Array(String)}", sample=list(sample)
    )
    requests = {row[0]: request_row(identity_row(row, reads), keys, 1) for row in rows}
    try:
        with judge_of(cases, clickhouse.deadline) as judge:
            return _judged(judge, environment, cases, requests)
    except JudgeDied:
        if len(cases) == 1:
            return {}
        middle = len(cases) // 2
        return {
            **_engine_members(clickhouse, day, environment, cases[:middle], sample),
            **_engine_members(clickhouse, day, environment, cases[middle:], sample),
        }


def _judged(
    judge: JudgeProcess, environment: Environment, cases: Sequence[Case], requests: Mapping[str, Any]
) -> dict[int, set[str]]:
    members: dict[int, set[str]] = {case.segment.id: set() for case in cases}
    failures: Mapping[int, str] = {}
    for identifier, request in requests.items():
        # One identity at a time, so that the judge's counts are its verdicts.
        counts, failures = judge.count(environment, [request])
        for case, count in zip(cases, counts, strict=True):
            members[case.segment.id] |= {identifier} if count else set()
    unanswered = {cases[number].segment.id for number in failures}
    return {segment: found for segment, found in members.items() if segment not in unanswered}
