"""Features with a history, which is brought in when somebody switches them on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, TypeAlias

from openfeature.client import OpenFeatureClient

from analytics_pipeline.flows.enablement.epochs import Epoch
from analytics_pipeline.flows.held_tables import HeldTable
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres

Days: TypeAlias = tuple[date, date]
RunConfig: TypeAlias = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Progress:
    """Days of a history that are complete in the ledgers of its assets, and their rows."""

    days: frozenset[date]
    rows: int

    @classmethod
    def of(cls, rows_by_day: Mapping[date, int]) -> "Progress":
        """The progress of a history whose complete days have so many rows each."""
        return cls(frozenset(rows_by_day), sum(rows_by_day.values()))


@dataclass(frozen=True)
class Feature:
    """How a feature is switched on, and what its history is made of.

    `switched_on` reads the switches as they are now: each scope that is on, with the setting that shapes its history.
    `history` is the range of days that a scope's history has, both inclusive, or None. `progress` looks into the
    ledgers of the `assets`; `tables` are those of their tables of which days may be lost. `config` narrows the run to
    the scope: per asset. `stores` names the settings without which there is nothing to do. `canonical_setting` gives a
    recorded setting the name by which `switched_on` calls it today. A feature that `follows_today` has no past: its
    history is the present day. Runs cover `margin` more days at both ends. Where the work for one scope `is_shared` by
    the others, one run at a time is asked for; `own_rows` then counts the scope's own among the rows of days.
    """

    name: str
    assets: tuple[str, ...]
    switched_on: Callable[[Postgres, OpenFeatureClient], dict[str, str]]
    history: Callable[[Postgres, str, str], Days | None]
    progress: Callable[[Postgres, Epoch], Progress]
    config: Callable[[Postgres, str], RunConfig] = lambda _postgres, _scope: {}
    stores: tuple[tuple[str, str], ...] = (("clickhouse", "clickhouse_url"),)
    canonical_setting: Callable[[str], str] = lambda setting: setting
    follows_today: bool = False
    margin: timedelta = timedelta(0)
    is_shared: bool = False
    tables: tuple[HeldTable, ...] = ()
    own_rows: Callable[[ClickHouse, str, str, Days], int] | None = None
