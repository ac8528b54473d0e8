"""One run of the usage export: each sink is served by itself, until nothing is left or the run's time is over."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.usage_export.allow_list import allow_list
from analytics_pipeline.flows.usage_export.bookmark import Bookmark
from analytics_pipeline.flows.usage_export.deliveries import forget_old
from analytics_pipeline.flows.usage_export.errors import ExportDisabled, Paused, SinkFailed, Superseded
from analytics_pipeline.flows.usage_export.ledger import State, create, measured
from analytics_pipeline.flows.usage_export.line import Line, Run, Served
from analytics_pipeline.flows.usage_export.pending import backlog
from analytics_pipeline.flows.usage_export.records import EventReader, Instance
from analytics_pipeline.flows.usage_export.source import batch_size, newest, recent_gaps
from analytics_pipeline.resources.deadline import Deadline
from analytics_pipeline.resources.postgres import Connection, LeaseHeld, Postgres
from analytics_pipeline.resources.sinks.base import Sink
from analytics_pipeline.resources.sinks.registry import open_sink

# A run ends after so long and leaves the rest to the next one.
RUN_SECONDS = 240.0


def export_all(settings: Settings, postgres: Postgres, run_id: str) -> list[Served]:
    """One run over all sinks that are configured.

    Raises:
        ExportDisabled: it is not switched on.
    """
    if not settings.export_usage_data_enabled or settings.export_site_id is None:
        raise ExportDisabled("the export is disabled: EXPORT_USAGE_DATA_ENABLED is not true")
    run = Run(
        postgres,
        allow_list(postgres),
        Instance(settings.export_site_id, settings.export_deploy_type or ""),
        batch_size(postgres),
        Deadline.after(RUN_SECONDS, "the run's time is over"),
        run_id,
    )
    addresses = {sink.name: sink for sink in settings.sinks}
    return export(run, list(addresses), lambda name: open_sink(addresses[name], settings, run_id))


def export(run: Run, sinks: Sequence[str], opened: Callable[[str], Sink]) -> list[Served]:
    """Serve all these sinks at once, so that none waits for another; what went wrong with a sink is its own matter.

    Raises:
        Exception: the source or the ledgers cannot be asked; raised when all sinks have ended.
    """
    if not sinks:
        return []
    with ThreadPoolExecutor(len(sinks), "sink") as pool:
        futures = [pool.submit(_serve, run, name, opened) for name in sinks]
    with run.postgres.ledgers.connect() as connection:
        forget_old(connection)
    return [future.result() for future in futures]


def _serve(run: Run, name: str, opened: Callable[[str], Sink]) -> Served:
    served = Served(name)
    try:
        with run.postgres.lease(f"usage_export:{name}"), ExitStack() as stack:
            ledger = stack.enter_context(closing(run.postgres.ledgers.open(autocommit=True)))
            bookmark = Bookmark(ledger, name, run.run_id)
            state = bookmark.state() or _begun(run, bookmark)
            if not state.is_due:
                served.status = "skipped: paused" if state.paused_at else "skipped: waiting_after_failure"
                served.error, served.failures_in_a_row = state.last_error, state.consecutive_failures
                return served
            source = stack.enter_context(closing(run.postgres.open(autocommit=True)))
            reader = EventReader.on(source, run.postgres, run.allowed, run.instance)
            try:
                with Line(run, bookmark, reader, opened, served) as line:
                    line.serve(state)
            finally:
                _measure(run, bookmark, source)
    except LeaseHeld as error:
        served.status, served.error = "skipped: lease_held", str(error)
    except Superseded as error:
        served.status, served.error = "skipped: superseded", str(error)
    except Paused as error:
        served.status, served.error = "paused", str(error)
    except SinkFailed as error:
        served.status, served.error = "failed", str(error)
    return served


def _measure(run: Run, bookmark: Bookmark, source: Connection) -> None:
    """Keep how much waits for the sink now, however the run has ended."""
    state = bookmark.state()
    if state is not None:
        waiting = backlog(source, run.postgres, run.allowed, state.bookmark_id)
        measured(bookmark.connection, bookmark.sink, run.batch, waiting.events, waiting.oldest_at)


def _begun(run: Run, bookmark: Bookmark) -> State:
    """Begin the sink at the newest event: what was there before does not leave, what is still open does."""
    with run.postgres.connect() as connection:
        end = newest(connection, run.postgres)
        passed = recent_gaps(connection, run.postgres, end.id)
    create(bookmark.connection, bookmark.sink, end.id, passed, end.open_until)
    state = bookmark.state()
    assert state is not None
    return state
