"""Pages of lists. A cursor names the last row of a page, so that rows that come and go repeat or hide no other."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from fastapi import Depends, Query

from analytics_pipeline.api.problems import INVALID, Problem

Row = TypeVar("Row")
Other = TypeVar("Other")

_LARGEST = 2**63 - 1
_FIRST_YEAR, _LAST_YEAR = 1970, 2200
_LONGEST_CURSOR = 4_000
CURSOR = Query(max_length=_LONGEST_CURSOR, description="`next_cursor` of the page before; none for the first page.")


@dataclass(frozen=True)
class Page:
    """The page that is asked for: at most `limit` rows after the row that the cursor names."""

    limit: int
    cursor: str | None = None

    def after(self, kind: Any) -> Any:
        """The key of the last row of the page before, a tuple of this type; None: this is the first page.

        Raises:
            Problem: the cursor is none of ours.
        """
        if self.cursor is None:
            return None
        try:
            key = msgspec.json.decode(base64.urlsafe_b64decode(self.cursor.encode()), type=kind)
        except (ValueError, msgspec.MsgspecError):
            raise Problem(INVALID, "cursor: it is not the `next_cursor` of a page of this list") from None
        if not all(map(_can_be_bound, key)):
            raise Problem(INVALID, "cursor: it is not the `next_cursor` of a page of this list")
        return key


@dataclass(frozen=True)
class Taken(Generic[Row]):
    """The rows of a page, and the cursor of the next one; None: there is none."""

    rows: Sequence[Row]
    next_cursor: str | None

    def of(self, rows: Sequence[Other]) -> "Taken[Other]":
        """The same page of what was made of its rows."""
        return Taken(rows, self.next_cursor)


def _can_be_bound(part: Any) -> bool:
    """Whether every store can hold the part of a key."""
    if isinstance(part, datetime):
        return part.tzinfo is not None and _FIRST_YEAR <= part.year <= _LAST_YEAR
    return not isinstance(part, int) or 0 <= part <= _LARGEST


def cursor_of(key: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(tuple(key))).decode()


def taken(rows: Sequence[Row], page: Page, key: Callable[[Row], Sequence[Any]]) -> Taken[Row]:
    """A page out of the rows after the cursor, of which one more than the limit was read if there is one."""
    shown = rows[: page.limit]
    return Taken(shown, cursor_of(key(shown[-1])) if len(rows) > page.limit else None)


def cut(rows: Sequence[Row], page: Page, key: Callable[[Row], Any], kind: Any) -> Taken[Row]:
    """A page out of all rows, which are ordered by the key, a tuple of the type `kind`."""
    after = page.after(kind)
    left = rows if after is None else [row for row in rows if tuple(key(row)) > after]
    return taken(left, page, key)


def _page(
    limit: Annotated[int, Query(ge=1, le=1_000, description="The most rows of a page.", examples=[100])] = 100,
    cursor: Annotated[str | None, CURSOR] = None,
) -> Page:
    return Page(limit, cursor)


def _small_page(
    limit: Annotated[int, Query(ge=1, le=200, description="The most rows of a page.", examples=[100])] = 100,
    cursor: Annotated[str | None, CURSOR] = None,
) -> Page:
    return Page(limit, cursor)


Paged = Annotated[Page, Depends(_page)]
PagedSmall = Annotated[Page, Depends(_small_page)]
