"""How values are written on pages. Unknown is a word of its own, never a zero."""

from collections.abc import Callable, Mapping
from datetime import datetime, timezone

UNKNOWN = "unknown"


def number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def percent(value: float) -> str:
    """A share from 0 to 1."""
    return f"{value:.1%}"


def seconds(value: float) -> str:
    """A duration in the largest two units that it fills."""
    if value < 1:
        return milliseconds(value * 1000)
    if value < 60:
        return f"{value:.1f} s"
    left = round(value)
    parts = []
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        amount, left = divmod(left, length)
        parts.append((amount, unit))
    first = next(number for number, (amount, _) in enumerate(parts) if amount)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2] if amount)


def milliseconds(value: float) -> str:
    return f"{value:,.0f} ms" if value >= 10 or value == 0 else f"{value:.1f} ms"


def size(value: float) -> str:
    """Bytes, in thousands."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:,.0f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def moment(value: datetime) -> str:
    """To the second, in UTC, and said so."""
    return value.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def text(value: object) -> str:
    return str(value)


# By the names that items and columns use.
WORDS: Mapping[str, Callable[..., str]] = {
    "number": number,
    "percent": percent,
    "seconds": seconds,
    "milliseconds": milliseconds,
    "bytes": size,
    "moment": moment,
    "days": text,
    "text": text,
}


# Where answers of reports are read.
_SOURCES = {"rollup": "rollups", "raw": "events", "mixed": "rollups and events"}


def source(name: str) -> str:
    """Where an answer was read, in words."""
    return _SOURCES.get(name, name)


def written(value: object, kind: str = "text") -> str:
    """A value of this kind as it is read."""
    if value is None:
        return UNKNOWN
    # Nothing is to be written: there is no such moment, not an unknown one.
    return "" if value == "" else WORDS[kind](value)
