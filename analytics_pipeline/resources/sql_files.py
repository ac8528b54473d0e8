"""Statements of 15 lines or more, which live in a `.sql` file next to the code that runs them."""

import re
from functools import cache
from importlib.resources import files

from typing_extensions import LiteralString

from analytics_pipeline.errors import Broken

_FRAGMENT = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")


class WrongFragments(Broken):
    """The fragments given are not those that the file has places for."""


def sql_file(package: str, name: str, **fragments: str) -> LiteralString:
    """The text of `name` in `package` (the caller's `__package__`) with each `${NAME}` replaced by its fragment.

    A fragment is SQL that the code composes, such as a condition or a list of quoted columns. Values never are: they
    stay parameters, `{name:Type}` in ClickHouse and `%(name)s` in Postgres. `Postgres.statement` fills in `{relation}`.

    Raises:
        WrongFragments: a place of the file was given nothing, or the file has no place for a fragment.
    """
    text = _text(package, name)
    if (places := {*_FRAGMENT.findall(text)}) != {*fragments}:
        raise WrongFragments(f"{package}/{name} has places for {sorted(places)}, given were {sorted(fragments)}")
    return _FRAGMENT.sub(lambda place: fragments[place[1]], text)


@cache
def _text(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text("utf-8")
