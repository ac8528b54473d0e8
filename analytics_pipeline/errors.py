"""The three families of our own exceptions, by what an operator can do about them.

Every flow's exceptions are in its `errors.py`.
"""


class Refused(Exception):
    """A request that cannot be done and will be refused again. The text says what to change."""


class Passing(Exception):
    """Trouble that passes by itself: the same work may succeed a little later, so runs are retried."""


class Broken(Exception):
    """Something does not hold what it must, or ended when it must not. The text says what to look at."""
