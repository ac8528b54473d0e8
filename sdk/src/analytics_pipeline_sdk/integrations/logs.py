"""A logging handler: an `ApplicationError` for each record at its level or above."""

import logging
from collections.abc import Callable

from analytics_pipeline_sdk.delivery.reporting import LOGGER
from analytics_pipeline_sdk.events import ApplicationError, Event

# What tracking an event may itself log.
_OURS = (LOGGER, "urllib3")
_LONGEST_MESSAGE = 2_000


class AnalyticsHandler(logging.Handler):
    """Tracks records with `track`, a client's method; those of the client itself and of its transport are left out."""

    def __init__(self, track: Callable[[Event], object], service: str, level: int = logging.ERROR) -> None:
        super().__init__(level)
        self._track = track
        self._service = service

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(_OURS):
            return
        try:
            self._track(self._event(record))
        except Exception:  # noqa: BLE001 - as every handler of `logging` does
            self.handleError(record)

    def _event(self, record: logging.LogRecord) -> ApplicationError:
        kind = record.exc_info[0] if record.exc_info else None
        return ApplicationError(
            service=self._service,
            error_type=kind.__name__ if kind is not None else record.name,
            error_message=record.getMessage()[:_LONGEST_MESSAGE],
            context={"logger": record.name, "module": record.module, "line": record.lineno, "level": record.levelname},
        )
