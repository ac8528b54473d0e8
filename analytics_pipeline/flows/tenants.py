"""Projects and environments that the identities and segments flows work on, and why others are skipped."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

from openfeature.client import OpenFeatureClient

from analytics_pipeline.errors import Refused
from analytics_pipeline.flows.erasure.errors import SubjectForgotten
from analytics_pipeline.flows.erasure.forgotten import forgotten
from analytics_pipeline.resources.feature_flags import is_enabled
from analytics_pipeline.resources.postgres import Postgres

SEGMENT_MEMBERSHIP_FLAG = "segment_membership_inspection"
# Why a project is left out.
FEATURE_OFF, NO_SEGMENTS = "ff_disabled", "no_live_segments"


class UnknownProjects(Refused):
    """The run's configuration names projects that the source does not have, or none where it must."""


@dataclass(frozen=True)
class Environment:
    """An environment of the product; `key` is its api_key, the identity store's partition."""

    id: int
    key: str
    name: str
    project_id: int
    organisation_id: int


@dataclass(frozen=True)
class Project:
    id: int
    organisation_id: int
    name: str
    environments: tuple[Environment, ...]


@dataclass(frozen=True)
class Skipped:
    """A project that is left out: because of `FEATURE_OFF` or `NO_SEGMENTS`."""

    project_id: int
    organisation_id: int
    reason: str


@dataclass(frozen=True)
class Tenants:
    """The projects to work on, and those that are left out; the source's environments of all projects."""

    projects: tuple[Project, ...]
    skipped: tuple[Skipped, ...]
    known_environment_keys: frozenset[str]

    @property
    def environments(self) -> list[Environment]:
        return [environment for project in self.projects for environment in project.environments]


def enabled_tenants(
    postgres: Postgres, flags: OpenFeatureClient, only: Collection[int] | None = None, *, before_exposure: bool = False
) -> Tenants:
    """The projects with a live segment whose organisation has `segment_membership_inspection` on.

    `only` narrows to those project ids; with `before_exposure` their organisations' flags may still be off.

    Raises:
        UnknownProjects: `only` names a project that does not exist, or nobody when it has to.
        SubjectForgotten: `only` names a project that was forgotten with its organisation.
    """
    projects = all_projects(postgres)
    known = frozenset(environment.key for project in projects for environment in project.environments)
    if before_exposure and only is None:
        raise UnknownProjects("`before_exposure` needs `projects`: the ids of those to prepare")
    if only is not None:
        _refuse_unknown(postgres, only, [project.id for project in projects])
        projects = [project for project in projects if project.id in only]
    with_segments = {project for (project,) in postgres.query(_PROJECTS_WITH_SEGMENTS)}
    organisations = {project.organisation_id for project in projects}
    enabled = organisations if before_exposure else _enabled(flags, organisations)
    reasons = {project.id: _reason(project, enabled, with_segments) for project in projects}
    return Tenants(
        tuple(project for project in projects if reasons[project.id] is None),
        tuple(Skipped(p.id, p.organisation_id, reason) for p in projects if (reason := reasons[p.id]) is not None),
        known,
    )


_PROJECTS_WITH_SEGMENTS = "SELECT DISTINCT project_id FROM {segments} WHERE deleted_at IS NULL AND id IS NOT NULL"

_PROJECTS = """
    SELECT project.id, project.organisation_id, project.name, environment.id, environment.api_key, environment.name
    FROM {projects} AS project
    LEFT JOIN {environments} AS environment
        ON environment.project_id = project.id AND environment.id IS NOT NULL AND environment.api_key IS NOT NULL
    WHERE project.id IS NOT NULL AND project.organisation_id IS NOT NULL
    ORDER BY project.organisation_id, project.id, environment.id
"""

_PROJECT = """
    SELECT project.id, project.organisation_id, project.name, environment.id, environment.api_key, environment.name
    FROM {projects} AS project
    LEFT JOIN {environments} AS environment
        ON environment.project_id = project.id AND environment.id IS NOT NULL AND environment.api_key IS NOT NULL
    WHERE project.id = %(project)s AND project.organisation_id IS NOT NULL
    ORDER BY environment.id
"""

_OWNED = "SELECT id FROM {projects} WHERE organisation_id = %(organisation)s AND id IS NOT NULL ORDER BY id"


def all_projects(postgres: Postgres) -> list[Project]:
    """The source's projects with their environments, with any flags, by organisation and id.

    Those of organisations that were forgotten are not among them, whoever has them now.
    """
    who = forgotten(postgres)
    rows = [row for row in postgres.query(_PROJECTS) if not who.has_project(row[0], row[1])]
    return [
        Project(
            id_,
            organisation_id,
            name,
            tuple(
                Environment(row[3], row[4], row[5], id_, organisation_id)
                for row in group
                if row[3] is not None and not who.has_environment(row[4])
            ),
        )
        for (id_, organisation_id, name), group in groupby(rows, key=lambda row: row[:3])
    ]


def one_project(postgres: Postgres, project_id: int) -> Project | None:
    """The source's project with its environments, with any flags; None: there is none."""
    rows = postgres.query(_PROJECT, project=project_id)
    if not rows:
        return None
    id_, organisation_id, name = rows[0][:3]
    found = (Environment(row[3], row[4], row[5], id_, organisation_id) for row in rows if row[3] is not None)
    return Project(id_, organisation_id, name, tuple(found))


def projects_of(postgres: Postgres, organisation_id: int) -> list[int]:
    """The ids of an organisation's projects, in order."""
    rows = postgres.query(_OWNED, organisation=organisation_id)
    return [project for (project,) in rows]


def _reason(project: Project, enabled: Collection[int], with_segments: Collection[int]) -> str | None:
    if project.organisation_id not in enabled:
        return FEATURE_OFF
    return None if project.id in with_segments else NO_SEGMENTS


def _enabled(flags: OpenFeatureClient, organisations: Collection[int]) -> set[int]:
    return {id_ for id_ in organisations if is_enabled(flags, SEGMENT_MEMBERSHIP_FLAG, organisation=id_)}


def _refuse_unknown(postgres: Postgres, only: Collection[int], known: Sequence[int]) -> None:
    unknown = sorted(set(only) - set(known))
    for project in unknown:
        if one_project(postgres, project):
            raise SubjectForgotten("project", project)
    if unknown:
        raise UnknownProjects(f"the source has no project {', '.join(map(str, unknown))}; check the run's `projects`")
