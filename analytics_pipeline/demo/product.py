"""The demo product: a small company group whose rows are the same on every machine and every day."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache

from analytics_pipeline.demo.ai_usage import AI_FLAG
from analytics_pipeline.demo.identities import Identity, identities_of
from analytics_pipeline.demo.reporting import ROLLUP_FLAG
from analytics_pipeline.demo.rules import Rule
from analytics_pipeline.demo.segments import DELETED, catalogue

MEMBERSHIP_FLAG = "segment_membership_inspection"

# The alphabet of short UUIDs, which client-side environment keys are made of: nothing that reads like 0/O or 1/l.
_KEY_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# A past date on purpose: rows stamped with the clock would differ between two loads.
_EPOCH = datetime(2026, 1, 5, 9, 30, tzinfo=timezone.utc)

_Sizes = tuple[tuple[str, int], ...]
# Organisation, whether it takes part in segment membership, and its projects with the identities per environment.
# Sizes differ by three orders of magnitude: one environment needs several pages, one holds a single identity, one none.
_LAYOUT: tuple[tuple[str, bool, tuple[tuple[str, _Sizes], ...]], ...] = (
    (
        "Lumen Books",
        True,
        (
            ("Reader App", (("Production", 2_300), ("Staging", 200), ("Development", 40))),
            ("Publisher Portal", (("Production", 420), ("Staging", 30))),
        ),
    ),
    (
        "Harbour Health",
        True,
        (
            ("Patient Portal", (("Production", 640), ("Staging", 75), ("QA", 0))),
            ("Clinic Scheduler", (("Production", 260),)),
        ),
    ),
    (
        "Tidewater Games",
        True,
        (
            ("Matchmaking", (("Production", 520), ("Development", 12))),
            ("Storefront", (("Production", 180), ("Staging", 1))),
            ("Sandbox", (("Development", 15),)),
        ),
    ),
    ("Quill Finance", False, (("Ledger", (("Production", 350), ("Staging", 25))),)),
)


@dataclass(frozen=True)
class Organisation:
    id: int
    name: str


@dataclass(frozen=True)
class Project:
    id: int
    organisation_id: int
    name: str


@dataclass(frozen=True)
class Environment:
    id: int
    project_id: int
    api_key: str
    name: str


@dataclass(frozen=True)
class Segment:
    id: int
    project_id: int
    name: str
    rules: list[Rule]
    deleted_at: datetime | None
    updated_at: datetime


@dataclass(frozen=True)
class FeatureFlag:
    name: str
    scope: str
    enabled: bool
    updated_at: datetime


@dataclass(frozen=True)
class DemoProduct:
    organisations: tuple[Organisation, ...]
    projects: tuple[Project, ...]
    environments: tuple[Environment, ...]
    segments: tuple[Segment, ...]
    feature_flags: tuple[FeatureFlag, ...]
    identities: tuple[Identity, ...]

    @property
    def live_segments(self) -> tuple[Segment, ...]:
        return tuple(segment for segment in self.segments if segment.deleted_at is None)


@cache
def demo_product() -> DemoProduct:
    """The whole product. Nothing in it depends on the clock, the machine or an earlier call."""
    projects = _projects()
    sized = _environments(projects)
    return DemoProduct(
        organisations=_organisations(),
        projects=projects,
        environments=tuple(environment for environment, _ in sized),
        segments=_segments(projects),
        feature_flags=_feature_flags(),
        identities=tuple(
            identity
            for environment, size in sized
            for identity in identities_of(environment.api_key, size, first_django_id=environment.id * 100_000)
        ),
    )


def _organisations() -> tuple[Organisation, ...]:
    return tuple(Organisation(number, name) for number, (name, _, _) in enumerate(_LAYOUT, start=1))


def _projects() -> tuple[Project, ...]:
    owned = [(owner, name) for owner, (_, _, projects) in enumerate(_LAYOUT, start=1) for name, _ in projects]
    return tuple(Project(10 + number, owner, name) for number, (owner, name) in enumerate(owned, start=1))


def _environments(projects: tuple[Project, ...]) -> list[tuple[Environment, int]]:
    sizes = {name: environments for _, _, owned in _LAYOUT for name, environments in owned}
    planned = [(project, name, size) for project in projects for name, size in sizes[project.name]]
    return [
        (Environment(100 + number, project.id, _api_key(project.name, name), name), size)
        for number, (project, name, size) in enumerate(planned, start=1)
    ]


def _api_key(project: str, environment: str) -> str:
    return "".join(random.Random(f"api_key:{project}:{environment}").choices(_KEY_ALPHABET, k=22))  # noqa: S311


def _segments(projects: tuple[Project, ...]) -> tuple[Segment, ...]:
    ids = {project.name: project.id for project in projects}
    planned = [(ids[project], name, rules) for project, segments in catalogue().items() for name, rules in segments]
    return tuple(
        Segment(
            id=1_000 + number,
            project_id=project_id,
            name=name,
            rules=rules,
            deleted_at=_EPOCH + timedelta(days=60) if name in DELETED else None,
            updated_at=_EPOCH + timedelta(hours=number),
        )
        for number, (project_id, name, rules) in enumerate(planned, start=1)
    )


def _feature_flags() -> tuple[FeatureFlag, ...]:
    """Off by default and on by organisation, so the organisation without a row is visibly skipped."""
    scopes = [f"organisation:{number}" for number, (_, enabled, _) in enumerate(_LAYOUT, start=1) if enabled]
    return (
        FeatureFlag(MEMBERSHIP_FLAG, "global", enabled=False, updated_at=_EPOCH),
        *(FeatureFlag(MEMBERSHIP_FLAG, scope, enabled=True, updated_at=_EPOCH) for scope in scopes),
        FeatureFlag(ROLLUP_FLAG, "global", enabled=True, updated_at=_EPOCH),
        FeatureFlag(AI_FLAG, "global", enabled=True, updated_at=_EPOCH),
    )
