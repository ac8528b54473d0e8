"""The room that ClickHouse must have left before heavy work begins."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The least share of its disks that a table must find free, and the most parts it may have; 0 asks for nothing.

    Parts are counted in percent of the number from which ClickHouse slows inserts down.
    """

    free_disk_percent: int = 5
    parts_percent: int = 80
