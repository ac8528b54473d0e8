"""Rows of a benchmark's table: pieces of work, how long they took, and which targets they met."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

console = Console(width=150)


@dataclass(frozen=True)
class Goal:
    """A target, and whether it was met."""

    text: str
    met: bool

    @classmethod
    def at_most(cls, ratio: float, most: float, than: str) -> "Goal":
        """So many times as long as something else."""
        return cls(f"{ratio:.1f}x {than}, at most {most:g}x:", ratio <= most)

    @classmethod
    def at_least(cls, ratio: float, least: float, than: str) -> "Goal":
        """So many times as fast as something else."""
        return cls(f"{ratio:.1f}x as fast as {than}, at least {least:g}x:", ratio >= least)

    def __str__(self) -> str:
        return f"{self.text} {'[green]met[/]' if self.met else '[red]not met[/]'}"


@dataclass(frozen=True)
class Row:
    """One way to do a piece of work; ours is `faster` than it by that factor."""

    work: str
    way: str
    seconds: float
    rate: str = ""
    megabytes: float | None = None
    faster: float | None = None
    goals: Sequence[Goal] = ()


def seconds_of(what: str, work: Callable[..., object], *arguments: object, rounds: int = 1) -> float:
    """The median of the seconds that the work takes."""
    return in_turns(what, lambda: work(*arguments), rounds=rounds)[0]


def in_turns(what: str, *works: Callable[[], object], rounds: int) -> list[float]:
    """The same of each of several that take turns, so that a busy machine is as busy for all of them."""
    with console.status(f"{what} …"):
        seconds = [[_seconds(work) for work in works] for _ in range(rounds)]
    return [statistics.median(one) for one in zip(*seconds, strict=True)]


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def print_rows(rows: Sequence[Row], title: str) -> None:
    """The table, and how busy the machine was: others' work makes all of it slower."""
    table = Table("work", "way", title=title, title_justify="left")
    for heading in ("seconds", "rate", "peak MB", "ours faster"):
        table.add_column(heading, justify="right")
    table.add_column("targets")
    for row in rows:
        memory = "" if row.megabytes is None else f"{row.megabytes:,.0f}"
        faster = "" if row.faster is None else f"{row.faster:.1f}x"
        table.add_row(row.work, row.way, f"{row.seconds:.4f}", row.rate, memory, faster, "\n".join(map(str, row.goals)))
    console.print(table)
    console.print(f"Load over the last 15 minutes: {os.getloadavg()[2]:.1f}, on {os.cpu_count()} processors")
