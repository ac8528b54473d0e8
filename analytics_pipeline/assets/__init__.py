"""What Dagster sees: one module for each flow."""

import warnings

import dagster as dg

# Days of one run are one step by design; the parameter's beta notice on every start would tell nobody anything.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)
