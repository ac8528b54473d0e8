"""What all daily assets of the flows have in common in Dagster's eyes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

OWNERS = ["team:data-platform"]
# Half a minute, then one and a half, then three and a half: longer troubles are the schedule's, which asks each hour.
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
    """`dg.asset` for a flow: a range of days is one run, which is tried again; a day that is skipped is no failure.

    `table` is the ClickHouse table that it fills, and `columns` says which source columns each of that table's comes
    from.
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
