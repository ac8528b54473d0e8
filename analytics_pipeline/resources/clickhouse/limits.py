"""How much of a statement every server reads, and how work is cut to that before it is sent."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

# A server reads a statement of 256 KiB (`max_query_size`), but over HTTP a form field of 128 KiB, and the statement is
# one (`http_max_field_value_size`).
STATEMENT_BYTES = 100_000
# Of one parameter, which is sent with escapes.
PARAMETER_BYTES = 50_000


def size_of(text: str) -> int:
    """Bytes of a text in a statement."""
    return len(text.encode("utf-8", "surrogatepass"))


def parts(items: Sequence[T], size: Callable[[T], int], most_bytes: int, most_items: int) -> Iterator[list[T]]:
    """The items in order, in parts of at most so many bytes and items; one that is larger is alone."""
    part: list[T] = []
    total = 0
    for item in items:
        length = size(item)
        if part and (len(part) == most_items or total + length > most_bytes):
            yield part
            part, total = [], 0
        part.append(item)
        total += length
    if part:
        yield part


def listed(name: str, kind: str, values: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """An array of the values of this ClickHouse type as an expression, and its parameters.

    The values are parameters of a size that a server takes, however many they are.
    """
    found = list(parts(values, lambda value: size_of(str(value)) + 3, PARAMETER_BYTES, len(values))) or [[]]
    parameters = {f"{name}_{number}": part for number, part in enumerate(found)}
    arrays = [f"{{{one}:Array({kind})}}" for one in parameters]
    return arrays[0] if len(arrays) == 1 else f"arrayConcat({', '.join(arrays)})", parameters


def one_of(column: str, kind: str, values: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """A condition that the column is one of the values of this ClickHouse type, and its parameters as in `listed`."""
    array, parameters = listed(column, kind, values)
    return f"{column} IN {array}", parameters
