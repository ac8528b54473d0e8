"""Booleans as products keep them: read strictly, because any text is true to Python, 'false' as well."""

_WORDS = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}


class UnreadableBoolean(Exception):
    """A value is neither true nor false."""


def boolean(value: object, what: str) -> bool:
    """Reads a column's value: a boolean, 0 or 1, or a word that Postgres takes for a boolean. NULL is false.

    Raises:
        UnreadableBoolean: it is none of these; the text names `what` it is and does not show it.
    """
    if value is None:
        return False
    found = _WORDS.get(str(value).strip().lower())
    if found is None:
        raise UnreadableBoolean(f"{what} is neither true nor false: true, t, yes, y, on, 1 or false, f, no, n, off, 0")
    return found
