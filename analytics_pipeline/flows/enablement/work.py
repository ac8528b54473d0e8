"""A run's duties towards its attempt: it claims the attempt, and says that it is alive while it works."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from analytics_pipeline.flows.enablement.epochs import BEAT, Attempt
from analytics_pipeline.flows.enablement.errors import NotClaimed
from analytics_pipeline.flows.enablement.ledger import EnablementLedger

logger = logging.getLogger(__name__)


@contextmanager
def claimed(ledger: EnablementLedger, attempt: Attempt, run_id: str) -> Iterator[None]:
    """Work on the attempt, with a heartbeat.

    Raises:
        NotClaimed: nothing was done.
    """
    if not ledger.claim(attempt, run_id):
        raise NotClaimed(
            f"the history {attempt} is another run's, was superseded, or its feature is off again; nothing was done"
        )
    stop = Event()
    beating = Thread(target=_beat, args=(ledger, attempt, run_id, stop), name=f"heartbeat {attempt}", daemon=True)
    beating.start()
    try:
        yield
    finally:
        stop.set()
        beating.join()


def _beat(ledger: EnablementLedger, attempt: Attempt, run_id: str, stop: Event) -> None:
    while not stop.wait(BEAT.total_seconds()):
        try:
            if not ledger.beat(attempt, run_id):
                # The work goes on: writing is idempotent, so what it writes is right all the same.
                logger.warning("%s is no longer this run's", attempt)
                return
        except Exception as error:  # noqa: BLE001 - a store that is away for a moment must not silence the run for good
            logger.warning("heartbeat of %s failed: %s", attempt, type(error).__name__)
