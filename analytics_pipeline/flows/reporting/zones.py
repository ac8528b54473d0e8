"""Time zones and the UTC bounds of their days, from the pinned `tzdata` package alone.

The operating system, ClickHouse and Postgres each bring another version of the IANA database; what one of them calls a
day another may end an hour later. So bounds are computed here, once, then stored and joined.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from functools import cache, lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from analytics_pipeline.flows.reporting.errors import UnknownZone
from analytics_pipeline.flows.reporting.zone_aliases import RAILS_ZONES


@dataclass(frozen=True)
class DayBounds:
    """A local day as a half-open interval of UTC: 23, 24 or 25 hours, or none where a zone skipped the day."""

    date: date
    starts_at: datetime
    ends_at: datetime


def zone(name: str) -> ZoneInfo:
    """The zone of an IANA name, a link to one, or a Rails name such as "Chennai".

    Raises:
        UnknownZone: there is none.
    """
    return _load(canonical(name))


@cache
def canonical(name: str) -> str:
    """The name of the zone itself, no link: two names are the same zone if, and only if, these are equal.

    Raises:
        UnknownZone: there is none.
    """
    iana = iana_name(name)
    while iana in _links():
        iana = _links()[iana]
    return iana


def canonical_of_stored(name: str) -> str:
    """The same of a name that a ledger holds: an earlier time zone database may have called that a zone which is a
    link now (Europe/Kiev), so that both sides of a comparison need today's name. One that is unknown now is itself.
    """
    try:
        return canonical(name)
    except UnknownZone:
        return name


@lru_cache(maxsize=1024)
def names_of(name: str) -> Sequence[str]:
    """Every name that is the zone today, sorted, for a ledger that may hold any of them; one that is unknown, alone."""
    zone_itself = canonical_of_stored(name)
    return tuple(sorted({name, *(one for one in zone_names() if canonical(one) == zone_itself)}))


def iana_name(name: str) -> str:
    """The IANA name that `name` is, be it a link, or that Rails means by it.

    Raises:
        UnknownZone: there is none.
    """
    iana = RAILS_ZONES.get(name, name)
    if iana not in zone_names():
        raise UnknownZone(f"{name[:60]!r} is not a time zone; an IANA name such as Asia/Kolkata is needed")
    return iana


@dataclass(frozen=True)
class ListedZone:
    """A zone to choose from: its IANA name, what people call it, and its offsets from UTC over the coming year."""

    name: str
    display: str
    offsets: tuple[timedelta, ...]


def zones_at_offset(offset: timedelta, now: datetime) -> list[ListedZone]:
    """The zones whose offset from UTC is this one at the moment, by name; other names of the same zone are left out."""
    names = sorted({canonical(name) for name in zone_names() if "/" in name and not name.startswith("Etc/")})
    names = [*names, "Etc/UTC"]
    return [_listed(name, now) for name in names if now.astimezone(zone(name)).utcoffset() == offset]


def _listed(name: str, now: datetime) -> ListedZone:
    months = (now + timedelta(days=30 * number) for number in range(12))
    offsets = {month.astimezone(zone(name)).utcoffset() or timedelta() for month in months}
    rails = sorted(display for display, iana in RAILS_ZONES.items() if canonical(iana) == name)
    return ListedZone(name, ", ".join(rails) or name.rpartition("/")[2].replace("_", " "), tuple(sorted(offsets)))


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Every IANA name, links included."""
    return frozenset(files("tzdata").joinpath("zones").read_text().split())


# A report of a year takes longer to cut into days than to add up.
@lru_cache(maxsize=64)
def day_bounds(name: str, first: date, last: date) -> Sequence[DayBounds]:
    """The bounds of each day from `first` to `last`, both inclusive, in the zone.

    Raises:
        UnknownZone: there is no such zone.
    """
    days, tz = [first + timedelta(days=number) for number in range((last - first).days + 2)], zone(name)
    starts = [midnight(day, tz) for day in days]
    return tuple(DayBounds(*bounds) for bounds in zip(days[:-1], starts[:-1], starts[1:], strict=True))


def midnight(day: date, tz: tzinfo) -> datetime:
    """When the local day begins, in UTC.

    Where clocks go forward at midnight the day begins with its first moment; where they go back to it, with the
    earlier of the two midnights.
    """
    return datetime.combine(day, time(), tz).astimezone(timezone.utc)


def local_date(name: str, moment: datetime) -> date:
    """The day that it is in the zone at that moment."""
    return moment.astimezone(zone(name)).date()


def utc_days(bounds: DayBounds) -> list[date]:
    """The UTC days that the local day overlaps: one or two, or none when it is empty."""
    if bounds.starts_at == bounds.ends_at:
        return []
    first, last = bounds.starts_at.date(), (bounds.ends_at - timedelta(microseconds=1)).date()
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


@cache
def _load(iana: str) -> ZoneInfo:
    # Not ZoneInfo(name): that prefers the operating system's database.
    with files("tzdata").joinpath("zoneinfo").joinpath(iana).open("rb") as data:
        return ZoneInfo.from_file(data, key=iana)


@lru_cache(maxsize=1)
def _links() -> dict[str, str]:
    lines = files("tzdata").joinpath("zoneinfo").joinpath("tzdata.zi").read_text().splitlines()
    links = [line.split()[1:3] for line in lines if line.startswith("L ")]
    return {link: target for target, link in links}
