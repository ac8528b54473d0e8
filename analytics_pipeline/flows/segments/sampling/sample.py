"""A sample of a day's identities: a few of each environment, the same whenever the day is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256

from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.limits import PARAMETER_BYTES, parts, size_of

IDENTITIES = 300
# Of a project and a day; which ones changes with the day.
ENVIRONMENTS = 20
_ENVIRONMENTS_AT_ONCE = 100
_HASH = "sipHash64(toString({day:Date}), i.identifier)"
# The identities of a sample are named by environment and hash: identifiers may be too long for a parameter.
SAMPLED = f"AND (i.environment_id, {_HASH}) IN {{sample:Array(Tuple(String, UInt64))}}"


@dataclass(frozen=True)
class Sample:
    """Environments of a project, and of each the hashes of its sampled identities."""

    environments: list[Environment]
    hashes: list[tuple[str, int]]


def sample_of(clickhouse: ClickHouse, day: date, environments: Sequence[Environment]) -> Sample:
    """Each of up to `ENVIRONMENTS` environments that have identities gets its share of `IDENTITIES`."""
    ranked = sorted(environments, key=lambda one: sha256(f"{day}:{one.key}".encode()).digest())
    found: dict[str, list[int]] = {}
    for part in parts(ranked, lambda one: size_of(one.key), PARAMETER_BYTES, _ENVIRONMENTS_AT_ONCE):
        found |= clickhouse.query(
            f"SELECT i.environment_id, groupArraySorted({IDENTITIES})({_HASH})\n"
            "FROM identities AS i FINAL\n"
            "WHERE i.snapshot_date = {day:Date} AND i.environment_id IN {environments:Array(String)}\n"
            "GROUP BY i.environment_id",
            day=day,
            environments=[environment.key for environment in part],
        )
        if len(found) >= ENVIRONMENTS:
            break
    chosen = [environment for environment in ranked if environment.key in found][:ENVIRONMENTS]
    share = IDENTITIES // max(len(chosen), 1)
    return Sample(chosen, [(one.key, identity) for one in chosen for identity in found[one.key][:share]])
