"""Results of any size from ClickHouse, block by block."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from analytics_pipeline.resources.clickhouse.client import ClickHouse


def rows_of(clickhouse: ClickHouse, sql: str, **parameters: Any) -> Iterator[Any]:
    """The rows of a SELECT. It is not repeated when it breaks.

    Raises:
        NoAnswer: waiting for its blocks took longer, all in all, than an answer may.
    """
    settings, left = clickhouse.statement_settings(), clickhouse.patience
    ask = clickhouse.client.query_row_block_stream
    with left.wait_for(ask, sql, parameters=parameters, settings=settings) as blocks:
        while True:
            begun = time.monotonic()
            block = left.wait_for(next, blocks, None)
            if block is None:
                return
            left = replace(left, seconds=max(left.seconds - (time.monotonic() - begun), 0))
            yield from block
