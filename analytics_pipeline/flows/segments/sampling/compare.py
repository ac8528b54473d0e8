"""A sample of a day's identities, judged twice: by the predicates that count them, and by the engine itself.

The tests prove that both agree on what was thought of. This looks at the product's own segments and identities.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from hashlib import sha256

from analytics_pipeline.flows.segments.engine.rows import Case, case_of
from analytics_pipeline.flows.segments.errors import Unreadable, Untranslatable
from analytics_pipeline.flows.segments.sampling.agreement import Agreement, Disagreement
from analytics_pipeline.flows.segments.sampling.members import Pair, engine_members, sql_members
from analytics_pipeline.flows.segments.sampling.sample import Sample, sample_of
from analytics_pipeline.flows.segments.source import Segment, live_segments
from analytics_pipeline.flows.segments.statement import Translated
from analytics_pipeline.flows.segments.translation.predicates import translate
from analytics_pipeline.flows.tenants import Environment, Project, all_projects
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.deadline import Deadline, TimeLimitReached
from analytics_pipeline.resources.postgres import Postgres

SEGMENTS = 1_000
PROJECTS = 200
# They are compared in portions, so that time that runs out takes little away. A portion is one process of the engine.
SEGMENTS_AT_ONCE = 100
# For all projects, so that the check ends within a minute; what was compared until then is the check.
SECONDS = 50.0


def compare(clickhouse: ClickHouse, postgres: Postgres, day: date, run_id: str) -> Agreement:
    """Ask SQL and the engine about the day's sample: of the projects that the run counted, else of all.

    The sample is chosen by hashes of the day, the segment and the identifier, so it is the same whenever the day is
    looked at.
    """
    in_time = clickhouse.limited(Deadline.after(SECONDS, "the check's time is over"))
    counted = _counted_projects(postgres, day, run_id)
    agreement = Agreement(projects_left_out=max(len(counted) - PROJECTS, 0))
    left = counted[:PROJECTS]
    try:
        while left:
            _compare(in_time, day, left[0], live_segments(postgres, left[0].id), agreement)
            left = left[1:]
    except TimeLimitReached:
        agreement.projects_left_out += len(left)
    return agreement


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
    clickhouse: ClickHouse, day: date, project: Project, segments: Sequence[Segment], agreement: Agreement
) -> None:
    live = [segment for segment in segments if not segment.defect]
    chosen = sorted(live, key=lambda segment: sha256(f"{day}:{segment.id}".encode()).digest())[:SEGMENTS]
    sample = sample_of(clickhouse, day, project.environments)
    if not sample.hashes:
        return
    asked = 0
    try:
        for portion in _portions(chosen):
            _compare_portion(clickhouse, day, sample, portion, agreement)
            asked += len(portion)
    except TimeLimitReached:
        # The next project is told by its first statement that there is no time.
        if not asked:
            raise
    agreement.projects += 1
    agreement.environments += len(sample.environments)
    agreement.identities += len(sample.hashes)
    agreement.segments_left_out += len(live) - asked


def _portions(segments: Sequence[Segment]) -> Iterator[Sequence[Segment]]:
    for start in range(0, len(segments), SEGMENTS_AT_ONCE):
        yield segments[start : start + SEGMENTS_AT_ONCE]


def _compare_portion(
    clickhouse: ClickHouse, day: date, sample: Sample, segments: Sequence[Segment], agreement: Agreement
) -> None:
    asked = list(_asked(segments, sample.environments))
    by_sql = sql_members(clickhouse, day, sample, [item for item, _ in asked])
    cases = [case for item, case in asked if any((item.segment.id, e.key) in by_sql for e in sample.environments)]
    by_engine = engine_members(clickhouse, day, sample, cases)
    compared = by_sql.keys() & by_engine.keys()
    sampled = Counter(key for key, _ in sample.hashes)
    agreement.answers += sum(sampled[key] for _, key in compared)
    agreement.segments += len({segment for segment, _ in compared})
    agreement.found += _disagreements(sample, sampled, {pair: by_sql[pair] ^ by_engine[pair] for pair in compared})


def _disagreements(
    sample: Sample, sampled: Mapping[str, int], differing: Mapping[Pair, set[str]]
) -> Iterator[Disagreement]:
    environments = {environment.key: environment for environment in sample.environments}
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
