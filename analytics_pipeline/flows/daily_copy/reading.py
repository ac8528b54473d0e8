"""One moment of a source, read by many short transactions: none of them keeps a lock on the product's relation for long.

The session that holds the moment touches no relation. Each question and each stream sees the same moment in a
transaction of its own, waits a few seconds for its locks, and gives them back with its answer. So whoever alters the
relation gets through between them; what that does to the moment is looked for before anything is swapped.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from importlib.resources import files
from threading import Event
from typing import TypeVar

import psycopg
from psycopg import sql
from tenacity import retry_if_exception_type, retry_unless_exception_type

from analytics_pipeline.flows.daily_copy.ledger import Snapshot, SourceDay, between, estimated_rows, snapshot
from analytics_pipeline.flows.daily_copy.source import DaySource, day_start, next_day
from analytics_pipeline.resources.arrow import exported_snapshot
from analytics_pipeline.resources.clickhouse.errors import retrying
from analytics_pipeline.resources.postgres import Connection, Postgres
