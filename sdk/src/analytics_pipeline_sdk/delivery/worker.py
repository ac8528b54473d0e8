"""The one thread of a client: it takes delivery from step to step and sleeps in between."""

import logging
import threading
import time

from analytics_pipeline_sdk.delivery.backlog import Backlog
from analytics_pipeline_sdk.delivery.reporting import LOGGER, Reporter
from analytics_pipeline_sdk.delivery.steps import Delivery

# While the endpoint is away the queue is brought to disk this often.
_LONGEST_SLEEP = 1.0
_AFTER_A_BUG = 1.0


class Worker:
    """Started by the first event, and anew in a forked process."""

    def __init__(self, backlog: Backlog, delivery: Delivery, reporter: Reporter) -> None:
        self._backlog = backlog
        self._delivery = delivery
        self._reporter = reporter
        self._urgent = threading.Event()
        self._flushing = 0
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread unless it runs. Where no thread can be started, events wait for close()."""
        with self._backlog.hold:
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name="analytics-pipeline-sdk", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            logging.getLogger(LOGGER).warning("no thread can be started to send events (%s)", error)

    def flush(self, timeout: float) -> bool:
        """Send everything that is there now; false if something is left after `timeout` seconds."""
        with self._backlog.hold:
            self._flushing += 1
        try:
            self._call()
            return self._backlog.wait_until_settled(timeout)
        finally:
            with self._backlog.hold:
                self._flushing -= 1

    def finish(self, timeout: float) -> None:
        """Send what can be sent within `timeout` seconds, then end."""
        thread = self._thread
        self._is_closing = True
        self._call()
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(timeout)

    def report(self) -> None:
        """Tell of losses that came after the thread ended."""
        self._reporter.report(self._delivery.away)

    def _call(self) -> None:
        self._delivery.hurry()
        self._urgent.set()
        self._backlog.wake.set()

    def _run(self) -> None:
        is_closing = False
        while not self._is_done(is_closing):
            is_closing = self._is_closing
            self._urgent.clear()
            try:
                delay = self._delivery.step(flushing=is_closing or self._flushing > 0)
                self._reporter.report(self._delivery.away)
            except Exception:
                logging.getLogger(LOGGER).exception("sending events failed; it is tried again")
                time.sleep(_AFTER_A_BUG)
                continue
            self._sleep(delay)

    def _is_done(self, is_closing: bool) -> bool:
        """Whether to end; an endpoint that is away is not waited for if the events can go to disk."""
        backlog, delivery = self._backlog, self._delivery
        if backlog.is_retired or not is_closing:
            return backlog.is_retired
        if delivery.away is not None:
            return backlog.spool is not None
        return delivery.is_idle and backlog.is_empty()

    def _sleep(self, delay: float) -> None:
        if delay <= 0 or self._is_closing:
            delay = min(delay, 0.01)
        if self._delivery.is_waiting:
            self._urgent.wait(min(delay, _LONGEST_SLEEP))
        elif delay > 0 and self._backlog.wake.wait(delay):
            self._backlog.wake.clear()
