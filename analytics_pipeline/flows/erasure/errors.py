"""Errors of forgetting somebody."""

from analytics_pipeline.errors import Broken, Passing, Refused


class SubjectForgotten(Refused):
    """Somebody asked for something that would bring back who was forgotten; nothing was changed."""

    def __init__(self, kind: str, name: object) -> None:
        super().__init__(
            f"{kind} {name} was forgotten (docs/erasure.md), so nothing of it is stored any more; nothing was changed."
            f" Leave it out. Where the product has it again, it needs a new id there"
        )


class KeyMissing(Broken):
    """The key of the erasures is gone: nobody can tell who was forgotten."""


class StillWritten(Passing):
    """Somebody goes on writing what was forgotten."""
