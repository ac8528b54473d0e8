"""What Dagster sees: one module for each flow."""

import warnings

import dagster as dg

# Days of one run are one step, and a date reaches over the ends of the partitions, by design: the beta notices of these
# parameters on every start would tell nobody anything.
for _parameter in ("backfill_policy", "allow_nonexistent_upstream_partitions"):
    warnings.filterwarnings("ignore", message=f"Parameter `{_parameter}`", category=dg.BetaWarning)
