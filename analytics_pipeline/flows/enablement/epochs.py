"""Epochs: what the ledger says of one "switched on", and what follows from it. Pure functions, no store.

An epoch begins when a switch is seen on and is closed when it is seen off, or on with another setting. Its history goes
`requested → running → completed | failed`; an attempt that ends without it brings it back to `requested`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal, TypeAlias

State: TypeAlias = Literal["requested", "running", "completed", "failed"]
Action: TypeAlias = Literal["complete", "ask", "fail", "wait"]

# The tag of a run that works for an attempt; its value is the attempt.
ATTEMPT_TAG = "analytics_pipeline/enablement"
# A run that says nothing for this long is dead: it says something every `BEAT` while it brings data in. One that
# Dagster lists as alive may be busy with checks, or pause between two tries of a step: it gets longer.
BEAT = timedelta(seconds=15)
DEAD = timedelta(minutes=5)
DEAD_THOUGH_LISTED = timedelta(minutes=60)
# How often a history is tried before somebody has to look, and the first pause between two tries; it doubles.
ATTEMPTS = 8
FIRST_PAUSE = timedelta(minutes=1)


@dataclass(frozen=True)
class Attempt:
    """One try at an epoch's history; its text is the run key, and the value of the run's tag."""

    feature: str
    scope: str
    epoch: int
    number: int

    def __str__(self) -> str:
        return f"{self.feature}:{self.scope}:{self.epoch}:{self.number}"

    @classmethod
    def parse(cls, text: str) -> "Attempt":
        """The attempt that the text names.

        Raises:
            ValueError: it names none.
        """
        feature, _, rest = text.partition(":")
        scope, epoch, number = rest.rsplit(":", 2)
        return cls(feature, scope, int(epoch), int(number))


@dataclass(frozen=True)
class Epoch:
    """A row of the ledger. Days are the feature's own, both inclusive; None: there was no history. Times are UTC.

    `source_first_day` is where the source's history begins: before `first_day` when ANALYTICS_START_DATE cuts it.
    `from_scratch`: what was there before it was asked for does not count.
    """

    feature: str
    scope: str
    epoch: int
    setting: str
    state: State
    source_first_day: date | None
    first_day: date | None
    last_day: date | None
    attempt: int
    last_attempt: int
    next_attempt_at: datetime
    run_id: str
    heartbeat_at: datetime | None
    rows: int | None
    error: str
    is_reset: bool
    from_scratch: bool
    requested_at: datetime
    seen_on_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    closed_at: datetime | None

    @property
    def current_attempt(self) -> Attempt:
        return Attempt(self.feature, self.scope, self.epoch, self.attempt)

    @property
    def days(self) -> list[date]:
        """The days of its history, in order."""
        if self.first_day is None or self.last_day is None:
            return []
        return [self.first_day + timedelta(days=number) for number in range((self.last_day - self.first_day).days + 1)]


@dataclass(frozen=True)
class Opening:
    """An epoch to open. Its gap is what the ledgers lack, or, `from_scratch`, the whole history."""

    scope: str
    setting: str
    epoch: int
    from_scratch: bool = False


@dataclass(frozen=True)
class Changes:
    """Changes that an observation makes: epochs to close and to open, and those that were seen on once more."""

    close: tuple[Epoch, ...]
    open: tuple[Opening, ...]
    seen: tuple[Epoch, ...]


@dataclass(frozen=True)
class Run:
    """A run that was launched for an attempt, as the orchestrator knows it."""

    run_id: str
    has_ended: bool
    status: str


def changes(switched_on: Mapping[str, str], newest: Mapping[str, Epoch]) -> Changes:
    """Changes that follow from seeing these scopes on, with their settings, and all others off.

    `newest` is the newest epoch of each scope. The same observation again changes nothing.
    """
    open_epochs = {scope: epoch for scope, epoch in newest.items() if epoch.closed_at is None}
    still_on = {scope for scope, epoch in open_epochs.items() if switched_on.get(scope) == epoch.setting}
    return Changes(
        close=tuple(epoch for scope, epoch in open_epochs.items() if scope not in still_on),
        open=tuple(
            _opening(scope, setting, newest.get(scope))
            for scope, setting in switched_on.items()
            if scope not in still_on
        ),
        seen=tuple(open_epochs[scope] for scope in still_on),
    )


def _opening(scope: str, setting: str, before: Epoch | None) -> Opening:
    if before is None:
        return Opening(scope, setting, 1)
    unfinished = before.from_scratch and before.state != "completed"
    return Opening(scope, setting, before.epoch + 1, before.is_reset or unfinished)


def next_action(epoch: Epoch, runs: Collection[Run], *, is_complete: bool, now: datetime) -> Action:
    """The next step of an open epoch: its ledgers decide first, then its runs, then the clock.

    `runs` are those of its current attempt.
    """
    if is_complete:
        return "complete"
    if epoch.state == "requested":
        return _when_requested(epoch, runs, now)
    return "fail" if epoch.state == "running" and _is_dead(epoch, runs, now) else "wait"


def _when_requested(epoch: Epoch, runs: Collection[Run], now: datetime) -> Action:
    if any(not run.has_ended for run in runs):
        return "wait"
    if runs:
        return "fail"
    return "ask" if epoch.next_attempt_at <= now else "wait"


def _is_dead(epoch: Epoch, runs: Collection[Run], now: datetime) -> bool:
    own = [run for run in runs if run.run_id == epoch.run_id]
    if any(run.has_ended for run in own) or epoch.heartbeat_at is None:
        return True
    return epoch.heartbeat_at < now - (DEAD_THOUGH_LISTED if own else DEAD)
