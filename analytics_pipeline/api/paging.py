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
        if any(_is_impossible(part) for part in key):
            raise Problem(INVALID, "cursor: it is not the `next_cursor` of a page of this list")
        return key


def _is_impossible(part: object) -> bool:
    """Whether no key of ours has it: a number, text or moment that no column holds, a moment without its zone."""
    if isinstance(part, str):
        return "\0" in part
    if isinstance(part, datetime):
        return part.tzinfo is None or not _FIRST_YEAR <= part.year <= _LAST_YEAR
    return isinstance(part, int) and not 0 <= part <= _LARGEST


@dataclass(frozen=True)
class Taken(Generic[Row]):
    """The rows of a page, and the cursor of the next one; None: there is none."""

    rows: Sequence[Row]
    next_cursor: str | None

    def of(self, rows: Sequence[Other]) -> "Taken[Other]":
        """The same page of what was made of its rows."""
        return Taken(rows, self.next_cursor)


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


def follow(rows: Sequence[Row], page: Page, key: Callable[[Row], Any], kind: Any) -> Taken[Row]:
    """A page out of all rows, in whatever order, which the key, a tuple of the type `kind`, tells apart.

    Raises:
        Problem: the last row of the page before has gone.
    """
    after = page.after(kind)
    keys = [] if after is None else [tuple(key(row)) for row in rows]
    if after is not None and after not in keys:
        raise Problem(INVALID, "cursor: the row that it names has gone; begin with the first page")
    return taken(rows[keys.index(after) + 1 :] if keys else rows, page, key)


async def _page(
    limit: Annotated[int, Query(ge=1, le=1_000, description="The most rows of a page.", examples=[100])] = 100,
    cursor: Annotated[str | None, CURSOR] = None,
) -> Page:
    return Page(limit, cursor)


async def _small_page(
    limit: Annotated[int, Query(ge=1, le=200, description="The most rows of a page.", examples=[100])] = 100,
    cursor: Annotated[str | None, CURSOR] = None,
) -> Page:
    return Page(limit, cursor)


Paged = Annotated[Page, Depends(_page)]
PagedSmall = Annotated[Page, Depends(_small_page)]
