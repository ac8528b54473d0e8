"""Everything that the flows compute as pandas DataFrames, for notebooks: `with opened() as stores: ...`.

The answers are those of the read API, and say how far they can be trusted in `DataFrame.attrs` (docs/notebook.md). A
notebook needs no token: it has the addresses of the stores, and sees everything.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from analytics_pipeline.api.stores import Connections, Stores
from analytics_pipeline.config import Settings


@contextmanager
def opened(settings: Settings | None = None) -> Iterator[Stores]:
    """The stores of the environment, or of these settings, to be read; ClickHouse under its read-only profile.

    Raises, when one is read:
        NotConfigured: it has no address.
        ConnectionError: it does not answer, or refuses.
    """
    connections = Connections(settings or Settings.load())
    try:
        yield Stores(connections, {})
    finally:
        connections.close()
