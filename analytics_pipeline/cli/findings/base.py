"""Findings of `doctor`: looked for at once within a deadline, narrowed to the flows that are wanted, gaps first."""

import difflib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass, replace
from typing import Literal

from rich.console import Console
from rich.markup import escape

from analytics_pipeline.config import FLOWS

ALL: tuple[str, ...] = FLOWS
_MARKS = {"gap": "[red]✗[/]", "warning": "[yellow]![/]", "well": "[green]✓[/]"}
# SOURCE_ORGANIZATIONS is this close to SOURCE_ORGANISATIONS; CLICKHOUSE_HOST is less close to CLICKHOUSE_URL.
_CLOSE = 0.85


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `repair` is empty when it is well, `turns_off` names the flows that a gap stops.

    What has a repair and turns nothing off is a warning.
    """

    subject: str
    state: str
    repair: str = ""
    turns_off: tuple[str, ...] = ()

    @property
    def level(self) -> Literal["gap", "warning", "well"]:
        if not self.repair:
            return "well"
        return "gap" if self.turns_off else "warning"


@dataclass(frozen=True)
class Check:
    """Looks at one store; `repair` and `turns_off` are told when it does not answer in time."""

    subject: str
    look: Callable[[], Iterable[Finding]]
    repair: str
    turns_off: tuple[str, ...] = ALL


def looked_at(checks: Sequence[Check], seconds: float) -> list[Finding]:
    """Findings of the checks, which run at once. A check that takes longer than this is a finding by itself."""
    deadline = time.monotonic() + seconds
    started = [(check, _started(check)) for check in checks]
    return [finding for check, future in started for finding in _outcome(check, future, deadline, seconds)]


def _started(check: Check) -> "Future[list[Finding]]":
    future: Future[list[Finding]] = Future()

    def look() -> None:
        try:
            future.set_result(list(check.look()))
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            future.set_exception(error)

    # A daemon: a thread that waits for a silent server must not keep the command from ending.
    threading.Thread(target=look, name=check.subject, daemon=True).start()
    return future


def _outcome(check: Check, future: "Future[list[Finding]]", deadline: float, seconds: float) -> list[Finding]:
    try:
        return future.result(max(0.0, deadline - time.monotonic()))
    except NotInTime:
        # A TimeoutError of the check's own is no sign that it still works.
        if future.done():
            raise
        state = f"no answer within {seconds:g} s (--timeout waits longer)"
        return [Finding(check.subject, state, check.repair, check.turns_off)]


def wanted(findings: Iterable[Finding], flows: Collection[str]) -> list[Finding]:
    """The findings without the gaps that only stop flows that nobody wants; gaps first, then warnings."""
    kept = []
    for finding in findings:
        stopped = tuple(flow for flow in finding.turns_off if flow in flows)
        if stopped or not finding.turns_off:
            kept.append(replace(finding, turns_off=stopped))
    return sorted(kept, key=lambda finding: tuple(_MARKS).index(finding.level))


def misspelt(variables: Iterable[str], known: Collection[str]) -> list[Finding]:
    """A warning for each variable that nothing reads and that is nearly one that is read."""
    return [
        Finding(variable, "is set, but nothing reads it", f"did you mean {meant}? Rename it")
        for variable in sorted(set(map(str.upper, variables)) - set(known))
        for meant in difflib.get_close_matches(variable, known, n=1, cutoff=_CLOSE)
    ]


def show(console: Console, findings: Sequence[Finding], flows: Collection[str], *, everything: bool) -> None:
    """Gaps and warnings with their repairs; what is well as one line, or each."""
    for finding in findings:
        if everything or finding.repair:
            _show_one(console, finding, flows)
    counts = {level: sum(finding.level == level for finding in findings) for level in _MARKS}
    rest = "" if everything else "; --all shows each, and the configuration"
    if counts["gap"]:
        told = f"[yellow]{_counted(counts['gap'], 'gap')}[/]; {counts['well']} of {len(findings)} are well{rest}."
    else:
        but = f", with {_counted(counts['warning'], 'warning')}" if counts["warning"] else ""
        told = f"[green]All is well{but}[/] ({len(findings)} looked at{rest})."
    console.print(told)


def _show_one(console: Console, finding: Finding, flows: Collection[str]) -> None:
    console.print(f"{_MARKS[finding.level]} {escape(finding.subject)}: {escape(finding.state)}")
    if finding.turns_off:
        every = len(finding.turns_off) == len(flows)
        console.print(f"    turns off: {'every flow' if every else ', '.join(finding.turns_off)}")
    if finding.repair:
        console.print(f"    repair: {escape(finding.repair)}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def short(error: ConnectionError) -> str:
    """The text of the error without the advice to run this command."""
    return str(error).partition(" Check ")[0].rstrip(".")
