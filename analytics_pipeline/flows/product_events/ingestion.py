"""Requests of many senders become one commit: ids are taken under a lock, then events are stored, then all is answered.

An id is taken before its event is stored, so a crash leaves nothing that has to be repaired first: whoever finds an id
taken looks whether its event is stored, and stores it under the sorting key for which the id was taken when it is not.
The lock is one of Postgres, so that two workers cannot take one id with two time stamps.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import psycopg
from clickhouse_connect.driver.exceptions import ClickHouseError

from analytics_pipeline.flows.dead_letters import DeadLetter
from analytics_pipeline.flows.erasure.forgotten import Forgotten, Watch
from analytics_pipeline.flows.erasure.letters import names_forgotten
from analytics_pipeline.flows.failures import reason_and_place, reason_of
from analytics_pipeline.flows.product_events import ids, letters
from analytics_pipeline.flows.product_events.errors import StoreAway
from analytics_pipeline.flows.product_events.ids import Claim, Key
from analytics_pipeline.flows.product_events.registry import Row
from analytics_pipeline.flows.product_events.rows import Rejection, RowMaker, rejections
from analytics_pipeline.isolation import Culprit, isolated
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.errors import error_code
from analytics_pipeline.resources.postgres import SCHEMA, Connection, Postgres
from analytics_pipeline_sdk.protocol import Verdict, VerdictName

logger = logging.getLogger(__name__)

# Which of these tokens are still valid, as part of the transaction.
Admission = Callable[[Connection, Collection[int]], set[int]]
_TAKEN = "the id belongs to another event"
_FORGOTTEN = "its user or organisation was forgotten"
# What ClickHouse answers to a value that it cannot read or hold. Anything else is nobody's fault.
_FAULTS_OF_ROWS = frozenset({6, 26, 27, 32, 33, 36, 38, 41, 53, 69, 70, 72, 117, 130, 306, 321, 349, 376, 692})
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


@dataclass
class Submission:
    """One request's events in their order, and, after the commit, the answer to each.

    `is_refused`: its token has ended; nothing of it was stored. An event without an outcome is to be sent again.
    """

    token_id: int
    organisation_id: int
    request_id: str
    entries: Sequence[Row | Rejection]
    outcomes: list[VerdictName | Rejection] = field(default_factory=list)
    is_refused: bool = False

    def verdicts(self) -> list[Verdict]:
        """The verdict on each event, in their order."""
        if self.outcomes.count("accepted") == len(self.outcomes):
            return [*_all_accepted(len(self.outcomes))]
        return [
            Verdict(index, "rejected", one.field, one.reason) if isinstance(one, Rejection) else Verdict(index, one)
            for index, one in enumerate(self.outcomes)
        ]


# Nearly all answers are of full batches whose events are all accepted.
@lru_cache(maxsize=256)
def _all_accepted(number: int) -> Sequence[Verdict]:
    return tuple(Verdict(index, "accepted") for index in range(number))


Outcomes = dict[Key, VerdictName | Rejection]


@dataclass(frozen=True)
class Ingestion:
    """Commits submissions to both stores. Safe to use from several threads and processes at once."""

    store: Postgres
    clickhouse: Callable[[], ClickHouse]
    maker: RowMaker
    admitted: Admission

    @cached_property
    def _watch(self) -> Watch:
        return Watch(self.store)

    def commit(self, submissions: Sequence[Submission]) -> None:
        """Store the events of the submissions and give each its outcome.

        Raises:
            StoreAway: a store did not take them; nothing was answered, and whatever of it is stored is found again.
        """
        try:
            self._commit(submissions)
        except (psycopg.Error, ClickHouseError, ConnectionError) as error:
            logger.warning("events were not stored: %s", reason_and_place(error))
            raise StoreAway(reason_of(error)) from None

    def _commit(self, submissions: Sequence[Submission]) -> None:
        rows: dict[Key, Row] = {}
        taken: dict[Key, list[Claim]] = {}
        live = self._live(submissions)
        if not any(one.entries for one in live):
            return
        who = self._watch.now()
        for one in live:
            one.entries = [self._admissible(who, entry) for entry in one.entries]
        with self.store.ledgers.connect() as connection:
            connection.execute(_LOCK, [f"{SCHEMA}:product_events:ids"])
            for one in live:
                found = letters_of(who, one.organisation_id, rejections(one.entries))
                letters.keep(connection, one.organisation_id, found, one.request_id)
                rows |= {row.key: row for row in reversed(one.entries) if isinstance(row, Row) and row.key not in rows}
            if rows:
                clickhouse = self.clickhouse()
                taken = ids.claims(clickhouse, rows.keys())
                ids.take(clickhouse, [row for key, row in rows.items() if key not in taken])
        # The transaction has ended well, so the lock was held up to here.
        outcomes = self._outcomes(rows, taken) if rows else {}
        self._take_back(who, rows, outcomes)
        self._answer(live, rows, outcomes)

    def _admissible(self, who: Forgotten, entry: Row | Rejection) -> Row | Rejection:
        if not isinstance(entry, Row) or not is_of_forgotten(who, entry):
            return entry
        return self.maker.refused(entry, None, _FORGOTTEN)

    def _take_back(self, before: Forgotten, rows: Mapping[Key, Row], outcomes: Outcomes) -> None:
        """Remove what was stored of somebody who was forgotten meanwhile, and looked for before it was there."""
        now = self._watch.now()
        gone = [row for row in rows.values() if is_of_forgotten(now, row)] if now is not before else []
        if gone:
            ids.remove(self.clickhouse(), gone)
            outcomes |= {row.key: self.maker.refused(row, None, _FORGOTTEN) for row in gone}

    def _live(self, submissions: Sequence[Submission]) -> list[Submission]:
        """Those whose token is still valid, at a moment after they came in."""
        with self.store.ledgers.connect() as connection:
            valid = self.admitted(connection, {one.token_id for one in submissions})
        for one in submissions:
            one.is_refused = one.token_id not in valid
        return [one for one in submissions if not one.is_refused]

    def _outcomes(self, rows: Mapping[Key, Row], taken: Mapping[Key, Sequence[Claim]]) -> Outcomes:
        clickhouse = self.clickhouse()
        stored = ids.stored(clickhouse, taken)
        outcomes: Outcomes = dict.fromkeys(stored, "duplicate")
        for key in taken.keys() - stored:
            outcomes |= self._adopted(rows[key], taken[key][0])
        self._insert(clickhouse, [row for key, row in rows.items() if key not in outcomes], outcomes)
        return outcomes

    def _adopted(self, row: Row, claim: Claim) -> Outcomes:
        """Give a row the time stamp for which its id was taken; its outcome when it is not to be stored."""
        if claim.timestamp < self.maker.oldest(int(row.received_at * 1000)):
            return {row.key: "duplicate"}
        if (claim.event_type, claim.service) != (row.event_type, row.service):
            return {row.key: self.maker.refused(row, "id", _TAKEN)}
        row.timestamp = claim.timestamp / 1000
        return {}

    def _insert(self, clickhouse: ClickHouse, rows: Sequence[Row], outcomes: Outcomes) -> None:
        """Store the rows. One that ClickHouse cannot hold takes no other with it."""
        try:
            for part in isolated(rows, lambda some: ids.insert(clickhouse, some), _is_fault_of_rows):
                if isinstance(part, Culprit):
                    told = f"it cannot be stored (ClickHouse error {error_code(part.error)})"
                    outcomes[part.unit.key] = self.maker.refused(part.unit, None, told)
                else:
                    outcomes |= dict.fromkeys((row.key for row in part.units), "accepted")
        except (ClickHouseError, ConnectionError) as error:
            if not any(row.key in outcomes for row in rows):
                raise
            logger.warning("some events were not stored: %s", reason_and_place(error))

    def _answer(self, submissions: Sequence[Submission], rows: Mapping[Key, Row], outcomes: Outcomes) -> None:
        """An outcome for each event. Of several with one id the first is what counts."""
        late: list[tuple[Submission, Rejection]] = []
        for one in submissions:
            one.outcomes = [_outcome(entry, rows, outcomes) for entry in one.entries]
            late += [
                (one, outcome)
                for entry, outcome in zip(one.entries, one.outcomes, strict=True)
                if isinstance(outcome, Rejection) and outcome is not entry
            ]
        if late:
            with self.store.ledgers.connect() as connection:
                for one, rejection in late:
                    found = letters_of(self._watch.now(), one.organisation_id, [rejection])
                    letters.keep(connection, one.organisation_id, found, one.request_id)


def _outcome(entry: Row | Rejection, rows: Mapping[Key, Row], outcomes: Outcomes) -> VerdictName | Rejection:
    if isinstance(entry, Rejection):
        return entry
    found = outcomes.get(entry.key, "retry")
    return "duplicate" if found == "accepted" and rows[entry.key] is not entry else found


def is_of_forgotten(who: Forgotten, row: Row) -> bool:
    """Whether the event is one of a user or an organisation that was forgotten."""
    return bool(who.hashes) and (who.has("event_user", row.user_id) or who.has("organisation", row.organisation_id))


def letters_of(who: Forgotten, organisation_id: int, rejected: Sequence[Rejection]) -> list[DeadLetter]:
    """The letters that are kept: none of an event of somebody who was forgotten, or that names one."""
    found = [one.letter for one in rejected if one.reason != _FORGOTTEN]
    unit = letters.unit_of(organisation_id)
    return [one for one in found if not names_forgotten(who, letters.FLOW, unit, one.record_key, one.payload)]


def _is_fault_of_rows(error: Exception) -> bool:
    return isinstance(error, ClickHouseError) and error_code(error) in _FAULTS_OF_ROWS
