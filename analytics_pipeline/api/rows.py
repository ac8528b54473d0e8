"""Rows of tables made of a key and a figure: flat, so that each member is a cell."""

from dataclasses import fields, make_dataclass
from typing import Any, Optional, get_type_hints


def flattened(name: str, figure: type[Any], **key: type[Any]) -> type[Any]:
    """A row with the members of the key and those of the figure, which are all None where the figure is unknown."""
    hints = get_type_hints(figure)
    members = [(field.name, Optional[hints[field.name]], None) for field in fields(figure)]  # noqa: UP045 - of a value
    made = make_dataclass(name, [*key.items(), *members], frozen=True)
    made.__doc__ = figure.__doc__
    return made


def flat(row: type[Any], *key: Any, figure: Any) -> Any:
    """The row of this key and figure; None: the figure is unknown."""
    return row(*key, **({} if figure is None else vars(figure)))
