"""The decorator of all daily assets: they tell Dagster the same about runs, retries, owners and tags."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

OWNERS = ["team:data-platform"]
# A step is tried again after about 30, 90 and 210 seconds. The schedule asks again each hour, so it follows a trouble
# that lasts longer.
RETRIES = dg.RetryPolicy(max_retries=3, delay=30, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


def flow_asset(
    flow: str,
    *,
    kinds: set[str],
    deps: Sequence[dg.AssetsDefinition | dg.AssetSpec | dg.AssetDep],
    table: str | None = None,
    columns: Mapping[str, Sequence[dg.TableColumnDep]] | None = None,
    code_version: str | None = None,
    freshness_policy: dg.FreshnessPolicy | None = None,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """`dg.asset` for a flow: one run covers a range of days, a step is tried again, a skipped day is no failure.

    `table` is the ClickHouse table that the asset fills. `columns` names the source columns of each of its columns.
    """
    metadata: dict[str, Any] = {} if table is None else {"dagster/table_name": table}
    if columns is not None:
        metadata["dagster/column_lineage"] = dg.TableColumnLineage(columns)
    decorator: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
        group_name=flow,
        tags={"flow": flow},
        kinds=kinds,
        deps=deps,
        owners=OWNERS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        output_required=False,
        retry_policy=RETRIES,
        metadata=metadata,
        code_version=code_version,
        freshness_policy=freshness_policy,
    )
    return decorator
