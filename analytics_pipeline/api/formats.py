"""Rows as JSON, CSV, lines of JSON or Parquet, where cells are scalars: a list or a map is its JSON there."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime, timezone
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
from arro3.core import Array, DataType, RecordBatch, Table
from arro3.io import write_parquet

from analytics_pipeline.api.problems import NOT_ACCEPTABLE, Problem

JSON, CSV = "application/json", "text/csv"
NDJSON, PARQUET = "application/x-ndjson", "application/vnd.apache.parquet"
MEDIA_TYPES = (JSON, CSV, NDJSON, PARQUET)

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_EPOCH_DAY = _EPOCH.date()


def negotiated(accept: str | None) -> str:
    """The media type to answer with, of those that the header names by their weight.

    Raises:
        Problem: it names none of ours.
    """
    for wanted in sorted(_weighed(accept or "*/*"), key=lambda one: -one[1]):
        pattern, weight = wanted
        found = next((media for media in MEDIA_TYPES if weight > 0 and _matches(pattern, media)), None)
        if found:
            return found
    raise Problem(NOT_ACCEPTABLE, f"There are {', '.join(MEDIA_TYPES)}.")


def _weighed(accept: str) -> list[tuple[str, float]]:
    found = []
    for part in accept.split(","):
        pattern, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weights = [parameter[2:] for parameter in parameters if parameter.startswith("q=")]
        found.append((pattern, _weight(weights[0]) if weights else 1.0))
    return found


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _matches(pattern: str, media: str) -> bool:
    return pattern in ("*/*", media) or (pattern.endswith("/*") and media.startswith(pattern[:-1]))


def rendered(media: str, kind: type[Any], rows: Sequence[Any]) -> bytes:
    """The rows, dataclasses of this kind, in a format of cells or lines."""
    return _RENDERERS[media](kind, rows)


def json_of(value: object) -> bytes:
    return msgspec.json.encode(value)


def _lines(_: type[Any], rows: Sequence[Any]) -> bytes:
    return msgspec.json.Encoder().encode_lines(rows)


def _csv(kind: type[Any], rows: Sequence[Any]) -> bytes:
    columns = _columns(kind)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(getattr(row, name)) for name in columns] for row in rows)
    # A lone half of a character, which JSON can name, is no text.
    return text.getvalue().encode("utf-8", "replace")


def _parquet(kind: type[Any], rows: Sequence[Any]) -> bytes:
    arrays: dict[str, Any] = {
        name: _array(of, [getattr(row, name) for row in rows]) for name, of in _columns(kind).items()
    }
    file = io.BytesIO()
    write_parquet(Table.from_batches([RecordBatch.from_pydict(arrays)]), file)
    return file.getvalue()


_RENDERERS: Mapping[str, Callable[[type[Any], Sequence[Any]], bytes]] = {CSV: _csv, NDJSON: _lines, PARQUET: _parquet}


def _columns(kind: type[Any]) -> dict[str, type[Any]]:
    """The members of a row and the types of their cells; what is no scalar is text."""
    hints = get_type_hints(kind)
    return {field.name: scalar(hints[field.name]) or str for field in fields(kind)}


def scalar(hint: Any) -> type[Any] | None:
    """The one type of the values that a hint allows besides None; None: they are no scalars, or of several types."""
    options = [option for option in get_args(hint) if option is not NoneType]
    if get_origin(hint) in (Union, UnionType):
        kinds = {scalar(option) for option in options}
        return kinds.pop() if len(kinds) == 1 else float if kinds == {int, float} else None
    if get_origin(hint) is Literal:
        return str
    return hint if hint in (int, float, bool, str, date, datetime) else None


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, date | UUID):
        return value.isoformat() if isinstance(value, date) else str(value)
    return json_of(value).decode()


def _array(kind: type[Any], values: Sequence[Any]) -> Array:
    if kind is datetime:
        moments = [None if one is None else (one - _EPOCH) // datetime.resolution for one in values]
        return Array(moments, DataType.int64()).cast(DataType.timestamp("us", tz="UTC"))
    if kind is date:
        days = [None if one is None else (one - _EPOCH_DAY).days for one in values]
        return Array(days, DataType.int32()).cast(DataType.date32())
    if kind is str:
        return Array([None if one is None else _cell(one) for one in values], DataType.utf8())
    return Array([None if one is None else kind(one) for one in values], _ARROW[kind])


_ARROW: Mapping[type[Any], DataType] = {
    int: DataType.int64(),
    float: DataType.float64(),
    bool: DataType.bool(),
}
