"""Questions about product events: whose, and of which days."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from analytics_pipeline.flows.product_events.errors import InvalidRange

MAX_DAYS = 3_660
DEFAULT_DAYS = 30
_EARLIEST, _LATEST = date(1990, 1, 1), date(2100, 1, 1)


@dataclass(frozen=True)
class EventQuery:
    """UTC days from `first` up to but without `end`, of one organisation; None: of all together.

    Raises:
        InvalidRange: reversed, empty, longer than ten years, or not within 1990 to 2099.
    """

    organisation_id: int | None
    first: date
    end: date

    def __post_init__(self) -> None:
        if not _EARLIEST <= self.first <= self.end <= _LATEST:
            raise InvalidRange("the first day must not be after the end, and both lie in the years 1990 to 2099")
        if self.first == self.end:
            raise InvalidRange("the range has no day: it goes from its first day up to, but without, its end")
        if len(self) > MAX_DAYS:
            raise InvalidRange(f"a range covers at most {MAX_DAYS} days, this one {len(self)}")

    def __len__(self) -> int:
        return (self.end - self.first).days

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=number) for number in range(len(self))]


def last_days(organisation_id: int | None, now: datetime, days: int = DEFAULT_DAYS) -> EventQuery:
    """So many UTC days of which the last is today's; `now` is aware and of UTC."""
    end = now.date() + timedelta(days=1)
    return EventQuery(organisation_id, end - timedelta(days=days), end)


@dataclass(frozen=True)
class Order:
    """The order of a list, so that a page of it can begin after a row.

    Each of the parts is a column as SQL, its type, and a function of it by which rows ascend: `{}`, or `-toInt64({})`.
    """

    parts: tuple[tuple[str, str, str], ...]

    def after(self, place: Sequence[Any] | None) -> tuple[str, dict[str, Any]]:
        """The condition that a row comes after that of these columns, with its parameters; None: any row does."""
        if place is None:
            return "true", {}
        names = [f"after_{number}" for number, _ in enumerate(self.parts)]
        rows = ", ".join(ascends.format(column) for column, _, ascends in self.parts)
        given = zip(names, self.parts, strict=True)
        last = ", ".join(ascends.format(f"{{{{{name}:{kind}}}}}") for name, (_, kind, ascends) in given)
        return f"({rows}) > ({last})", dict(zip(names, place, strict=True))


ASCENDING, DESCENDING = "{}", "-toInt64({})"
