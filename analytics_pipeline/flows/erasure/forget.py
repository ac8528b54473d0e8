"""Forget somebody: first everybody who writes is told, then one place after the other is emptied.

A command that died is run again: what it has begun is in the ledger, and every step may be done twice. Who wrote at
the same moment may have written just behind the step, so all places are looked at again until none holds anything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from analytics_pipeline.flows.erasure.errors import StillWritten
from analytics_pipeline.flows.erasure.figures import SegmentCounts, product_event_figures
from analytics_pipeline.flows.erasure.forgotten import key_of
from analytics_pipeline.flows.erasure.identities import TABLE, Captures, Snapshots
from analytics_pipeline.flows.erasure.ledger import ErasureLedger
from analytics_pipeline.flows.erasure.naming import CLICKHOUSE
from analytics_pipeline.flows.erasure.records import of_dead_letters, of_ledgers
from analytics_pipeline.flows.erasure.steps import Action, Step, Stores, Work
from analytics_pipeline.flows.erasure.subjects import Subject
from analytics_pipeline.flows.erasure.tables import removals
from analytics_pipeline.flows.erasure.target import target_of

_PASSES = 3


@dataclass(frozen=True)
class Removed:
    """The rows of one place that went, or would go; or days of it that are computed again."""

    place: str
    action: Action
    rows: int


@dataclass(frozen=True)
class Erasure:
    """Forgets one subject in these stores. `progress` hears of each step that is done, and of how many."""

    stores: Stores
    subject: Subject
    progress: Callable[[str, int], None] = field(default=lambda _place, _steps: None)

    def plan(self) -> list[Removed]:
        """The rows that would go from each place; changes nothing."""
        return _told([(step, step.look().rows) for step in self._steps()])

    def run(self) -> list[Removed]:
        """Remove everything; returns what went, also what an earlier attempt had removed.

        Raises:
            LeaseHeld: somebody worked on a place for more than ten minutes; what was done stays done.
            StillWritten: somebody writes the subject again and again, and does not look into the ledger.
        """
        ledger = ErasureLedger.begin(self.stores.postgres, self.subject)
        steps = self._steps()
        ledger.add_parts(target_of(self.stores.postgres, self.stores.clickhouse, self.subject, self._key).parts)
        for number in range(_PASSES):
            if not self._pass(ledger, [step for step in steps if not (number and step.is_sure)]):
                break
        else:
            raise StillWritten(
                "Rows of the subject come back as fast as they are removed. What was removed stays so. Look for a"
                " service of an older version, end it, and run the command again"
            )
        ledger.complete()
        done = ledger.begun()
        return _told([(step, done[step.place].rows) for step in steps if step.place in done])

    def _pass(self, ledger: ErasureLedger, steps: Sequence[Step]) -> bool:
        """Do what is to be done of all steps; returns whether anything was."""
        begun = ledger.begun()
        # What days are to be computed again is told by rows that are about to go.
        found = {step.place: step.look() for step in steps}
        wanted = [
            step for step in steps if found[step.place].rows or (step.place in begun and not begun[step.place].is_done)
        ]
        days = {step.place: ledger.start(step.place, found[step.place].rows, found[step.place].days) for step in wanted}
        for step in wanted:
            step.do(days[step.place])
            ledger.finish(step.place)
            self.progress(step.place, len(wanted))
        return bool(wanted)

    @property
    def _key(self) -> bytes:
        return key_of(self.stores.postgres)

    def _steps(self) -> list[Step]:
        """In an order in which what tells of others goes last."""
        work = Work(self.stores, target_of(self.stores.postgres, self.stores.clickhouse, self.subject, self._key))
        captures = [Captures(work, self.stores.landing).step()] if self.stores.landing else []
        about_identities = {one.kind for one in work.target.all} & {"identity", "environment"}
        snapshots = [Snapshots(work).step()] if about_identities else []
        counts = [SegmentCounts(work).again()] if work.target.of("identity") else []
        figures, sets = product_event_figures(work)
        return [
            *(captures if about_identities else []),
            *snapshots,
            *removals(work, [name for name in CLICKHOUSE if name != TABLE]),
            *sets,
            *figures,
            *counts,
            of_dead_letters(work),
            *of_ledgers(work),
        ]


def _told(steps: Sequence[tuple[Step, int]]) -> list[Removed]:
    return [Removed(step.place, step.action, rows) for step, rows in steps if rows]
