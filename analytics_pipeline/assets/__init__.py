"""The assets: one module for each flow."""

import warnings

import dagster as dg

# Both parameters are used on purpose: one step does all days of a run, and a date needs events from beyond the ends of
# the partitions. Their beta notices, on every start, would tell nobody anything.
for _parameter in ("backfill_policy", "allow_nonexistent_upstream_partitions"):
    warnings.filterwarnings("ignore", message=f"Parameter `{_parameter}`", category=dg.BetaWarning)
