"""Names of tables, columns and partitions as ClickHouse reads them."""

import re
from datetime import date


def day_partition(day: date) -> str:
    """The id of a day's partition, of a table that is partitioned by a date."""
    return f"{day:%Y%m%d}"


def quoted(identifier: str) -> str:
    """The identifier in backticks; ClickHouse reads backslash escapes inside them, so both are escaped."""
    return "`" + identifier.replace("\\", "\\\\").replace("`", "\\`") + "`"


def partition_literal(partition: str) -> str:
    """The id of a partition as a text in SQL.

    Raises:
        ValueError: it has characters that no id has.
    """
    if not re.fullmatch(r"[\w-]+", partition, re.ASCII):
        raise ValueError(f"{partition!r} is not a partition id")
    return f"'{partition}'"
