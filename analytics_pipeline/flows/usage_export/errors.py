"""The errors of the usage export."""

from analytics_pipeline.errors import Passing, Refused


class ExportDisabled(Refused):
    """The export is not switched on; nothing was read."""


class UnknownSink(Refused):
    """No sink of that name is configured."""


class AllowedByProduct(Refused):
    """A name is in the product's own allow list, which we only read."""


class NoSuchEvent(Refused):
    """A place in the event log that somebody named does not exist."""


class SinkFailed(Passing):
    """The sink did not take a batch; that is recorded, and the sink is tried again later."""


class Superseded(Passing):
    """Another run has gone on with the sink meanwhile; what this one sent is the same that the other sends."""


class Paused(Refused):
    """Somebody has paused the sink while a run was serving it; nothing more was sent."""
