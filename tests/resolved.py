"""The definitions, resolved once for all tests that want the same flows from the same days, and runs of them here.

Resolving them anew costs a test a fifth of a second, and an asset's checks cost more than the asset: a run leaves out
those that only look, unless its test is about them. `make test-all` leaves none out.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any

import dagster as dg

from analytics_pipeline.config import FlowName, Settings
from analytics_pipeline.definitions import defs
from tests.thorough import THOROUGH

_SILENT = {"console": {"config": {"log_level": "CRITICAL"}}}
_Wanted = tuple[tuple[FlowName, date], ...]


def repository() -> dg.RepositoryDefinition:
    """What the daemon gives sensors and schedules."""
    return _repository(_wanted())


def all_assets_job() -> dg.JobDefinition:
    """The job of all assets and their checks."""
    return _job(_wanted(), only_blocking=False)


@cache
def instance() -> dg.DagsterInstance:
    """For runs of which no test asks Dagster afterwards. Assets look at nothing in it but their own run."""
    return dg.DagsterInstance.ephemeral()


def run(
    instance: dg.DagsterInstance,
    assets: Sequence[dg.AssetKey],
    *,
    checks: bool = False,
    run_config: Mapping[str, Any] | None = None,
    **options: Any,
) -> dg.ExecuteInProcessResult:
    """Materialise the assets as the daemon does, in this process; `options` as `execute_in_process` has them.

    The checks that stop what comes after them always run, the others with `checks` alone.
    """
    job = _job(_wanted(), only_blocking=not (checks or THOROUGH))
    return job.execute_in_process(
        instance=instance,
        asset_selection=assets,
        run_config={**(run_config or {}), "loggers": _SILENT},
        raise_on_error=False,
        **options,
    )


def run_check(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> dg.ExecuteInProcessResult:
    """Execute one asset check by itself, as its button in the UI does."""
    job = all_assets_job().get_subset(asset_check_selection={check})
    return job.execute_in_process(instance=instance, run_config={"loggers": _SILENT}, raise_on_error=False)


def _wanted() -> _Wanted:
    """All that decides about the definitions; what they find when they run is looked up then."""
    settings = Settings.load()
    return tuple((name, settings.start_of(name)) for name in settings.flows)


@cache
def _repository(wanted: _Wanted) -> dg.RepositoryDefinition:
    assert wanted == _wanted()
    return defs().get_repository_def()


@cache
def _job(wanted: _Wanted, *, only_blocking: bool) -> dg.JobDefinition:
    assert wanted == _wanted()
    every = defs()
    checks = [check for check in every.asset_checks or () if not only_blocking or _is_blocking(check)]
    some = dg.Definitions(assets=every.assets, asset_checks=checks, resources=every.resources, executor=every.executor)
    return some.resolve_implicit_global_asset_job_def()


def _is_blocking(check: Any) -> bool:
    return any(spec.blocking for spec in check.check_specs)
