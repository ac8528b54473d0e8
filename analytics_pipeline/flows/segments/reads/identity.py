"""The segments that one identity is in, as its newest snapshot has it: every segment of the project has an answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from analytics_pipeline.flows.failures import reason_of
from analytics_pipeline.flows.segments.engine.fallback import blames_case, flattened_traits, judge_of
from analytics_pipeline.flows.segments.engine.rows import Case, case_of, read_identities, union_of
from analytics_pipeline.flows.segments.errors import Replaced, Unreadable, Untranslatable
from analytics_pipeline.flows.segments.reads.members import Snapshot, newest_snapshot
from analytics_pipeline.flows.segments.source import Segment, live_segments
from analytics_pipeline.flows.segments.statement import Translated, ask, blames_segments, groups
from analytics_pipeline.flows.segments.translation.predicates import translate
from analytics_pipeline.flows.segments.translation.subjects import FLATTENED
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.isolation import Done, isolated
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres

_ONLY = "AND i.identifier = {identifier:String}"
_UNSEEN = "nobody could say"


@dataclass(frozen=True)
class Belonging:
    """Whether the identity is in the segment; None is unknown, and `reason` says why."""

    segment: int
    name: str
    is_member: bool | None
    reason: str = ""


@dataclass(frozen=True)
class Belongings:
    """All live segments of the project by id, and the snapshot that they were looked up in."""

    found: list[Belonging]
    snapshot: Snapshot


@dataclass(frozen=True)
class _Question:
    clickhouse: ClickHouse
    day: date
    environment: Environment
    identifier: str


def belongings(
    clickhouse: ClickHouse, postgres: Postgres, environment: Environment, identifier: str
) -> Belongings | None:
    """Every segment's answer for the identity; None: the environment's newest snapshot does not have it."""
    snapshot = newest_snapshot(postgres, environment)
    if snapshot is None:
        return None
    asked = _Question(clickhouse, snapshot.day, environment, identifier)
    if not read_identities(clickhouse, snapshot.day, [environment], [], _ONLY, identifier=identifier):
        return None
    segments = live_segments(postgres, environment.project_id)
    answers = {segment.id: Belonging(segment.id, segment.name, None, segment.defect or _UNSEEN) for segment in segments}
    readable = [segment for segment in segments if not segment.defect]
    answers |= _by_sql(asked, readable)
    left = [segment for segment in readable if answers[segment.id].is_member is None]
    answers |= _by_engine(asked, left)
    return Belongings([*answers.values()], snapshot)


def _by_sql(asked: _Question, segments: Sequence[Segment]) -> dict[int, Belonging]:
    """Of those segments that SQL says exactly for this identity."""
    found: dict[int, Belonging] = {}
    for group in groups(list(_translated(segments, asked.environment))):
        for outcome in isolated(group, lambda part: _asked(asked, part), blames_segments):
            found |= outcome.result if isinstance(outcome, Done) else {}
    return found


def _translated(segments: Sequence[Segment], environment: Environment) -> list[Translated]:
    found = []
    for segment in segments:
        try:
            found.append(Translated(segment, translate(segment, [environment])))
        except Untranslatable:  # the engine is asked
            continue
    return found


def _asked(asked: _Question, group: Sequence[Translated]) -> dict[int, Belonging]:
    rows = ask(asked.clickhouse, asked.day, group, [asked.environment], which=_ONLY, identifier=asked.identifier)
    answer = rows.get(asked.environment.key)
    if answer is None:
        return {}
    return {
        item.segment.id: Belonging(item.segment.id, item.segment.name, bool(answer.values[number]))
        for number, item in enumerate(group)
        if answer.tripped.isdisjoint(item.predicate.guards)
    }


def _by_engine(asked: _Question, segments: Sequence[Segment]) -> dict[int, Belonging]:
    cases: list[Case] = []
    found: dict[int, Belonging] = {}
    for segment in segments:
        try:
            cases.append(case_of(segment))
        except Unreadable as error:
            found[segment.id] = Belonging(segment.id, segment.name, None, str(error))
    flattened = flattened_traits(asked.clickhouse, asked.day, [asked.environment]) if cases else frozenset[str]()
    for case in [case for case in cases if case.reads.traits & flattened]:
        found[case.segment.id] = Belonging(case.segment.id, case.segment.name, None, FLATTENED)
    left = [case for case in cases if case.segment.id not in found]
    for outcome in isolated(left, lambda part: _judged(asked, part), blames_case):
        if isinstance(outcome, Done):
            found |= outcome.result
        else:
            segment = outcome.unit.segment
            found[segment.id] = Belonging(segment.id, segment.name, None, reason_of(outcome.error))
    return found


def _judged(asked: _Question, cases: Sequence[Case]) -> dict[int, Belonging]:
    keys = sorted(union_of(cases).traits)
    try:
        rows = read_identities(
            asked.clickhouse, asked.day, [asked.environment], keys, _ONLY, identifier=asked.identifier
        )
    except Replaced:
        return {}
    with judge_of(cases, asked.clickhouse.deadline) as judge:
        counts, failures = judge.count(asked.environment, [[1, *row[1:]] for row in rows])
    answers = [Belonging(case.segment.id, case.segment.name, bool(counts[n])) for n, case in enumerate(cases)]
    for number, reason in failures.items():
        answers[number] = replace(answers[number], is_member=None, reason=reason)
    return {answer.segment: answer for answer in answers}
