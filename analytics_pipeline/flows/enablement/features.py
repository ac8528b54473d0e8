"""The features that have a history to be brought in when somebody switches them on. A new one is one entry here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, TypeAlias

from openfeature.client import OpenFeatureClient

from analytics_pipeline.flows.ai_usage import history as ai_usage
from analytics_pipeline.flows.enablement.epochs import Epoch
from analytics_pipeline.flows.reporting import history as reporting
from analytics_pipeline.flows.segments import history as segments
from analytics_pipeline.resources.postgres import Postgres

Days: TypeAlias = tuple[date, date]
RunConfig: TypeAlias = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Progress:
    """Which days of a history are complete in the ledgers of its assets since it was asked for, and their rows."""

    days: frozenset[date]
    rows: int


@dataclass(frozen=True)
class Feature:
    """How a feature is switched on, and what its history is made of.

    `switched_on` reads the switches as they are now: each scope that is on, with the setting that shapes its history.
    `history` is the range of days that a scope's history has, both inclusive, or None. `progress` looks into the
    ledgers of the `assets`. `config` narrows the run to the scope: per asset. `stores` names the settings without which
    there is nothing to do. A feature that `follows_today` has no past: its history is the present day. Runs cover
    `margin` more days at both ends. Where the work for one scope `is_shared` by the others, one run at a time is asked
    for.
    """

    name: str
    assets: tuple[str, ...]
    switched_on: Callable[[Postgres, OpenFeatureClient], dict[str, str]]
    history: Callable[[Postgres, str, str], Days | None]
    progress: Callable[[Postgres, Epoch], Progress]
    config: Callable[[Postgres, str], RunConfig] = lambda _postgres, _scope: {}
    stores: tuple[tuple[str, str], ...] = (("clickhouse", "clickhouse_url"),)
    follows_today: bool = False
    margin: timedelta = timedelta(0)
    is_shared: bool = False


def _progress(found: Mapping[date, int]) -> Progress:
    return Progress(frozenset(found), sum(found.values()))


AI_USAGE = Feature(
    name="ai_usage",
    assets=("duo_chat_events", "code_suggestion_events", "ai_usage_daily"),
    switched_on=ai_usage.switched_on,
    history=lambda postgres, _scope, _setting: ai_usage.history(postgres),
    progress=lambda postgres, epoch: _progress(ai_usage.complete_days(postgres, epoch.days, epoch.requested_at)),
)
REPORTING = Feature(
    name="reporting",
    assets=("reporting_events", "reporting_rollups"),
    switched_on=lambda postgres, _flags: reporting.switched_on(postgres),
    history=reporting.history,
    progress=lambda postgres, epoch: _progress(
        reporting.complete_days(postgres, epoch.scope, epoch.setting, epoch.days, epoch.requested_at)
    ),
    # A day in a zone overlaps the UTC days beside it.
    margin=timedelta(days=1),
    # A run rolls up all accounts, so the next one's history may be complete already when it has ended.
    is_shared=True,
)
SEGMENTS = Feature(
    name="segments",
    assets=("raw_identities", "identity_snapshots", "segment_counts"),
    switched_on=segments.switched_on,
    history=lambda _postgres, _scope, _setting: segments.history(),
    progress=lambda postgres, epoch: _progress(
        segments.complete_days(postgres, epoch.scope, epoch.days, epoch.requested_at)
    ),
    config=segments.run_config,
    stores=(
        ("clickhouse", "clickhouse_url"),
        ("dynamodb", "identities_table"),
        ("landing_zone", "landing_url"),
    ),
    follows_today=True,
)
FEATURES: tuple[Feature, ...] = (AI_USAGE, REPORTING, SEGMENTS)
