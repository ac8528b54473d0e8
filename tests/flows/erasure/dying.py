"""A process that dies at its n-th call to a store, before the call or after it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import obstore
import pytest

from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.sessions import Session

_CALLS: tuple[tuple[Any, str], ...] = (
    (ClickHouse, "_retried"),
    (Session, "execute"),
    (LandingZone, "adopt"),
    (LandingZone, "remove"),
    (obstore, "open_writer"),
    (obstore, "delete"),
)


class Died(BaseException):
    """Nothing catches it but the end of the process."""


@contextmanager
def dying(at_call: int, *, after: bool) -> Iterator[None]:
    """Die at that call; with `after`, when the store has done what it was asked for."""
    left = [at_call]

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == 0 and not after:
                raise Died
            answer = call(*arguments, **named)
            if left[0] == 0 and after:
                raise Died
            return answer

        return counted

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in _CALLS:
            patch.setattr(owner, name, watched(getattr(owner, name)))
        yield
