"""Projects and their environments: the ids by which everything about segments is asked."""

from dataclasses import dataclass

from analytics_pipeline.flows.tenants import all_projects
from analytics_pipeline.resources.postgres import Postgres


@dataclass(frozen=True)
class NamedEnvironment:
    environment: int
    name: str


@dataclass(frozen=True)
class NamedProject:
    project: int
    name: str
    organisation: int
    environments: tuple[NamedEnvironment, ...]


def projects(postgres: Postgres, organisation_id: int | None) -> list[NamedProject]:
    """Every project of the organisation, by id; None: of all of them."""
    found = [one for one in all_projects(postgres) if organisation_id in (None, one.organisation_id)]
    return [
        NamedProject(
            one.id,
            one.name,
            one.organisation_id,
            tuple(NamedEnvironment(place.id, place.name) for place in one.environments),
        )
        for one in sorted(found, key=lambda one: one.id)
    ]
