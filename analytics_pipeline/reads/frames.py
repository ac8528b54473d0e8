"""Answers as DataFrames: rows become typed columns, and the answer's word on itself becomes `attrs`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import date, datetime
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeAlias, Union, get_args, get_origin, get_type_hints

from analytics_pipeline.api.answers import Figure, Listing, Told
from analytics_pipeline.api.formats import scalar
from analytics_pipeline.api.paging import Page

if TYPE_CHECKING:
    import pandas as pd

MOST = 100_000
# ClickHouse answers with 100,000 rows at most, one of which tells that there is a next page.
_PAGE = 10_000
# Each has a word for what is unknown; a whole number stays one beside it.
_TYPES = {
    int: "Int64",
    float: "Float64",
    bool: "boolean",
    str: "string",
    datetime: "datetime64[us, UTC]",
    date: "datetime64[s]",
}
Cell: TypeAlias = Callable[[Any], Any]


def listed(route: Callable[..., Listing[Any]], most: int = MOST, **asked: Any) -> "pd.DataFrame":
    """The rows of a list of the API, of all its pages, but not more than `most`."""
    answers = [*_pages(route, most, asked)]
    rows = [row for answer in answers for row in answer.page.rows]
    return frame(_row_of(route), rows, _together([answer.told for answer in answers]), answers[-1].page.next_cursor)


def figured(route: Callable[..., Figure[Any]], **asked: Any) -> "pd.DataFrame":
    """A figure of the API as one row; none when it is unknown."""
    answer = route(**asked)
    return frame(_row_of(route), [] if answer.row is None else [answer.row], answer.told)


def frame(kind: type[Any], rows: Sequence[Any], told: Told, next_cursor: str | None = None) -> "pd.DataFrame":
    """The rows, dataclasses of this kind, as typed columns; the fields of a dataclass within are columns as well.

    Moments are aware, days are midnights without a zone, and texts, numbers and truths have pandas' types that know
    what is unknown; all else is as it is. `attrs`: source, coverage, missing, as_of, reason, and is_whole, which is
    False when there are more rows.
    """
    pandas = _pandas()
    columns = {name: pandas.Series([cell(row) for row in rows], dtype=of) for name, of, cell in _columns(kind)}
    found: pd.DataFrame = pandas.DataFrame(columns)
    found.attrs = {
        "source": told.source,
        "coverage": told.coverage,
        "missing": told.missing,
        "as_of": told.as_of,
        "reason": told.reason,
        "is_whole": next_cursor is None,
    }
    return found


def _pandas() -> Any:
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "pandas is not installed here: pip install 'analytics-pipeline[notebooks]'", name=error.name
        ) from error
    return pandas


def _pages(route: Callable[..., Listing[Any]], most: int, asked: dict[str, Any]) -> Iterator[Listing[Any]]:
    cursor: str | None = None
    left = most
    while True:
        answer = route(page=Page(min(left, _PAGE), cursor), **asked)
        yield answer
        cursor, left = answer.page.next_cursor, left - len(answer.page.rows)
        if cursor is None or left <= 0:
            return


def _together(told: Sequence[Told]) -> Told:
    """Told of a list by that of its pages."""
    missing = {days: None for one in told for days in one.missing}
    moments = [one.as_of for one in told if one.as_of]
    return replace(told[0], missing=(*missing,), as_of=min(moments, default=None))


def _row_of(route: Callable[..., Any]) -> type[Any]:
    """The kind of the rows that a route answers with, by its signature."""
    (kind,) = get_args(get_type_hints(route)["return"])
    return kind  # type: ignore[no-any-return]


def _columns(kind: type[Any]) -> Iterator[tuple[str, str, Cell]]:
    """Each column's name, its type, and how its cell is taken out of a row."""
    if not is_dataclass(kind):
        yield "value", _TYPES.get(scalar(kind) or object, "object"), lambda row: row
        return
    hints = get_type_hints(kind)
    for name in (field.name for field in fields(kind)):
        inner = _dataclass_of(hints[name])
        if inner is None:
            yield name, _TYPES.get(scalar(hints[name]) or object, "object"), _taking(name)
        else:
            yield from ((column, of, _within(name, cell)) for column, of, cell in _columns(inner))


def _dataclass_of(hint: Any) -> type[Any] | None:
    """The dataclass whose values the hint allows, besides None."""
    options = [one for one in (get_args(hint) or (hint,)) if one is not NoneType]
    is_one = len(options) == 1 and get_origin(hint) in (None, Union, UnionType) and is_dataclass(options[0])
    return options[0] if is_one else None


def _taking(name: str) -> Cell:
    return lambda row: getattr(row, name)


def _within(name: str, cell: Cell) -> Cell:
    """The cell of the dataclass within the row; None when it is unknown."""

    def taken(row: Any) -> Any:
        inner = getattr(row, name)
        return None if inner is None else cell(inner)

    return taken
