"""How much of a statement every server reads, and how work is cut to that before it is sent."""

from collections.abc import Sequence
from typing import Any

from analytics_pipeline.resources.parts import parts

# A server reads a statement of 256 KiB (`max_query_size`), but over HTTP a form field of 128 KiB, and the statement is
# one (`http_max_field_value_size`).
STATEMENT_BYTES = 100_000
# Of one parameter, which is sent with escapes.
PARAMETER_BYTES = 50_000


def size_of(text: str) -> int:
    """Bytes of a text in a statement."""
    return len(text.encode("utf-8", "surrogatepass"))


def one_of(column: str, kind: str, values: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """A condition that the column is one of the values of this ClickHouse type, and its parameters.

    The values are parameters of a size that a server takes, however many they are.
    """
    found = list(parts(values, lambda value: size_of(str(value)) + 3, PARAMETER_BYTES, len(values))) or [[]]
    parameters = {f"{column}_{number}": part for number, part in enumerate(found)}
    return f"({' OR '.join(f'{column} IN {{{name}:Array({kind})}}' for name in parameters)})", parameters
