"""The limits of a run: its projects and its time."""

import time

import dagster as dg
from openfeature.client import OpenFeatureClient
from pydantic import Field

from analytics_pipeline.flows.tenants import Tenants, enabled_tenants
from analytics_pipeline.resources.deadline import Deadline
from analytics_pipeline.resources.postgres import Postgres


class DryRunConfig(dg.Config):
    """Shows what a run would do instead of doing it."""

    dry_run: bool = Field(
        default=False,
        description="Write nothing: show each day that would be done, with the rows and bytes that would be read.",
    )


class ProjectsConfig(DryRunConfig):
    """Narrows a run."""

    projects: list[int] | None = Field(
        default=None, min_length=1, description="Ids of the projects to work on; all when absent."
    )
    before_exposure: bool = Field(
        default=False,
        description="Work on `projects` although the feature is still off for their organisations, so that there are"
        " counts when it is switched on.",
    )

    def tenants(self, store: Postgres, flags: OpenFeatureClient) -> Tenants:
        """The projects that the run is to work on."""
        return enabled_tenants(store, flags, self.projects, before_exposure=self.before_exposure)


def deadline_of_run(context: dg.AssetExecutionContext, hours: float, message: str) -> Deadline:
    """The end of the run's time: `hours` for each of its days, counted from its begin.

    Steps and their retries share that time. `message` is the text of the error that ends them.
    """
    record = context.instance.get_run_record_by_id(context.run.run_id)
    begun = (record and record.start_time) or time.time()
    return Deadline.after(hours * 3600 * len(context.partition_keys) - (time.time() - begun), message)
