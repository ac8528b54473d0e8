"""The client of an application: tracks events, and sees to it that they arrive."""

import hashlib
import os
from pathlib import Path
from typing import get_args

from analytics_pipeline_sdk.accounting import Stats
from analytics_pipeline_sdk.base import Client
from analytics_pipeline_sdk.delivery import processes
from analytics_pipeline_sdk.delivery.backlog import Backlog
from analytics_pipeline_sdk.delivery.errors import Refused
from analytics_pipeline_sdk.delivery.intake import BeforeSend, Intake
from analytics_pipeline_sdk.delivery.reporting import OnError, Reporter
from analytics_pipeline_sdk.delivery.steps import Delivery
from analytics_pipeline_sdk.delivery.transport import Origin, Transport, checked_url
from analytics_pipeline_sdk.delivery.worker import Worker
from analytics_pipeline_sdk.events import Event
from analytics_pipeline_sdk.settings import Durability, Settings
from analytics_pipeline_sdk.spool.directory import Spool


class AnalyticsClient(Client):
    """Sends events to the ingestion service at `url`, in batches and from one thread of its own.

    With `durability="memory"` events are in memory, and on disk while the endpoint is away and after close(); with
    `"disk"` each is on disk before track() returns. `spool` is the directory; those who share it must send to the same
    endpoint with the token of the same organisation. Without it there is one for each endpoint, token and service under
    `$XDG_STATE_HOME/analytics-pipeline-sdk`. `before_send` may change an event or drop it by returning None.
    `on_error` is told of losses and outages, in the client's thread. Raises ValueError for wrong arguments.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        service: str | None = None,
        durability: Durability = "memory",
        spool: str | os.PathLike[str] | None = None,
        *,
        environment: str | None = None,
        settings: Settings | None = None,
        before_send: BeforeSend | None = None,
        on_error: OnError | None = None,
    ) -> None:
        if durability not in get_args(Durability):
            raise ValueError(f"durability is one of {', '.join(get_args(Durability))}, not {durability!r}")
        if token is not None and not (token.isascii() and token.isprintable() and token.strip() == token != ""):
            raise ValueError("a token consists of printable ASCII characters")
        self._settings = settings or Settings()
        self._durability = durability
        self._url, self._token = checked_url(url), token
        self._origin = Origin(service, os.environ.get("HOSTNAME") or os.uname().nodename, environment)
        self._directory = Path(spool) if spool is not None else _default_spool(self._url, token, service)
        if durability == "disk" and (self._directory is None or not self._settings.spool_bytes):
            raise ValueError("durability 'disk' needs a spool directory and spool_bytes > 0")
        self._on_error = on_error
        self._intake = Intake(self._settings.event_bytes, before_send)
        self._build()
        processes.register(self)
        if self._backlog.spool is not None and self._backlog.spool.has_leftovers():
            self._start()

    def _build(self) -> None:
        settings = self._settings
        has_spool = self._directory is not None and settings.spool_bytes > 0
        spool = Spool(self._directory, settings) if self._directory is not None and has_spool else None
        transport = Transport(self._url, self._token, self._origin, settings.request_timeout)
        self._backlog = Backlog(settings, self._durability, spool)
        delivery = Delivery(self._backlog, transport.send, settings)
        self._worker = Worker(self._backlog, delivery, Reporter(self._backlog, self._on_error))
        self._is_started = False

    def track(self, event: Event) -> str | None:
        try:
            identifier, payload = self._intake.make(event)
            self._backlog.put(payload)
        except Refused as refused:
            self._backlog.refuse(refused.reason)
            return None
        except Exception:  # noqa: BLE001 - whatever it is, the application goes on
            self._backlog.refuse("internal_error")
            return None
        if not self._is_started:
            self._start()
        return identifier

    def _start(self) -> None:
        self._is_started = True
        self._worker.start()

    def flush(self, timeout: float = 10.0) -> bool:
        return self._worker.flush(timeout)

    def close(self, timeout: float = 10.0) -> bool:
        self._backlog.close()
        self._worker.finish(timeout)
        self._backlog.retire()
        self._worker.report()
        processes.forget(self)
        stats = self._backlog.stats()
        return stats.pending == 0 and "not_spooled" not in stats.dropped

    def stats(self) -> Stats:
        return self._backlog.stats()

    def close_at_exit(self, timeout: float) -> None:
        """The interpreter ends: `timeout` is what is left for this client."""
        self.close(min(timeout, self._settings.exit_deadline))

    def before_fork(self) -> None:
        """Let no other thread be in the middle of anything while the process is copied."""
        self._backlog.hold.__enter__()

    def after_fork_in_parent(self) -> None:
        self._backlog.hold.__exit__()

    def after_fork_in_child(self) -> None:
        """Begin anew: what was accepted before is the parent's to send, and so are its files and its connection."""
        was_closed, spool = self._backlog.is_closed, self._backlog.spool
        if spool is not None and not self._backlog.is_retired:
            spool.let_go()
        self._build()
        if was_closed:
            self._backlog.retire()


def _default_spool(url: str, token: str | None, service: str | None) -> Path | None:
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    except RuntimeError:  # a user without a home
        return None
    key = hashlib.sha256("\0".join((url, token or "", service or "")).encode()).hexdigest()[:16]
    return state / "analytics-pipeline-sdk" / key
