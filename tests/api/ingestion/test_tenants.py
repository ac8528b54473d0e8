"""No event of one organisation is counted in another's figures, whoever sends what, when and under which ids.

Organisations send events under the same ids, of the same users, endpoints and services, more than once and after days
were computed. Every table of figures and every read then says what pandas makes of each one's own events.
"""

import random
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from analytics_pipeline.api import tokens
from analytics_pipeline.flows.product_events.aggregates import build as building
from analytics_pipeline.flows.product_events.privacy.templates import message
from analytics_pipeline.flows.product_events.reads import events, overview
from analytics_pipeline.flows.product_events.reads.query import EventQuery
from analytics_pipeline.flows.product_events.registry import MEMBERS
from tests.api.ingestion.conftest import Worker
from tests.flows.product_events import test_build
from tests.flows.product_events.events import an_id, event, frame, random_events
from tests.flows.product_events.reads import test_reads
from tests.flows.product_events.samples import envelope
from tests.product import Product, today
from tests.thorough import on_engines

DAYS = [today() - timedelta(days=number) for number in range(33, 29, -1)]
QUERY = (DAYS[0], DAYS[-1] + timedelta(days=1))
ORGANISATIONS = (1, 2, 3)
# Few, so that each is sent again, and by others.
IDS = 60
# What types need that no figure reads.
_NEEDED = {"command": "", "action": "", "error": "", "email": "", "via_setup_token": False, "valid": True}
_NEEDED |= {"event_type": "push", "delivery_id": "d", "exit_code": 0, "properties": {}}
Row = dict[str, Any]


@dataclass(frozen=True)
class Sending:
    """Events that an organisation sends together."""

    organisation: int
    events: int
    seed: int


@dataclass
class Senders:
    """Organisations that send, and the events that were taken of them: of an id the first."""

    product: Product
    worker: Worker
    secrets: dict[int, str]
    taken: dict[tuple[int, UUID], Row] = field(default_factory=dict)

    def send(self, organisation: int, rows: list[Row]) -> None:
        """Send the rows as events, under ids of the few; each is to be taken once."""
        answer = self.worker.post([_sent(row) for row in rows], authorization=f"Bearer {self.secrets[organisation]}")
        for row, verdict in zip(rows, answer.verdicts, strict=True):
            key = organisation, row["event_id"]
            assert verdict == ("duplicate" if key in self.taken else "accepted"), row
            self.taken.setdefault(key, {**row, "organisation_id": organisation})


def _rows(sending: Sending, first_id: int) -> list[Row]:
    dice = random.Random(sending.seed)  # noqa: S311 - no secret
    rows = random_events(dice, sending.events, DAYS)
    return [_as_stored(row, first_id + dice.randrange(IDS)) for row in rows]


def _as_stored(row: Row, number: int) -> Row:
    """The row with what its type has of it, under the id of that number."""
    members = {*MEMBERS[row["event_type"]], "service", "name"} - {"event_type"}
    kept = {name: row[name] for name in members if name in row}
    kept["error_message"] = message(kept.get("error_message", ""))
    if "user_id" in members:
        kept["user_id"] = row["user_id"] or an_id(9)
    for name in ("duration_ms", "duration_seconds"):
        if name in members:
            kept[name] = row[name] or 0
    return event(number, row["timestamp"], event_type=row["event_type"], **kept)


def _sent(row: Row) -> Row:
    members = MEMBERS[row["event_type"]]
    needed = {**_NEEDED, "task_id": an_id(1), "project_id": an_id(1)}
    found = {name: row.get(name, needed.get(name)) for name in members}
    wire = {name: str(value) if isinstance(value, UUID) else value for name, value in found.items()}
    stamped = {"id": str(row["event_id"]), "timestamp": row["timestamp"].isoformat(), "service": row["service"]}
    return envelope({**wire, "type": row["event_type"]}, **stamped)


def _assert_its_own(senders: Senders, organisation: int) -> None:
    """Every read of the organisation is of what was taken of it."""
    one, query = test_reads.reading(senders.product), EventQuery(organisation, *QUERY)
    rows = frame(senders.taken.values())
    test_reads.assert_equal_pandas(one, rows, query)
    own = test_reads.asked(rows, query)
    found = {(row.organisation_id, row.event_id) for row in events.events(one, query, limit=1_000)}
    assert found == {(organisation, identifier) for identifier in own.event_id}
    totals = overview.overview(one, organisation).value
    created = test_reads.number(own, "task_created")
    assert (totals.total_users, totals.total_tasks) == (own.user_id.nunique(), created)


@pytest.fixture
def senders(empty_product: Product, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Senders:
    # Figures are then of what was sent a moment ago.
    monkeypatch.setattr(building, "SETTLE", timedelta(0))
    store = empty_product.postgres
    made = {one: tokens.create(store, f"of {one}", "ingest", organisation_id=one) for one in ORGANISATIONS}
    return Senders(empty_product, worker, {one: token.secret for one, token in made.items()})


_SENDINGS = st.lists(
    st.builds(Sending, st.sampled_from(ORGANISATIONS), st.integers(1, 40), st.integers(0, 1 << 32)),
    min_size=2,
    max_size=6,
)


@pytest.mark.timeout(1200)
def test_figures__of_organisations_that_share_ids_and_users__are_of_each_ones_own_events(senders: Senders) -> None:
    examples = count()

    # To shrink what fails would take longer than to look at it.
    @settings(on_engines(9), phases=[Phase.explicit, Phase.generate], print_blob=False)
    @given(_SENDINGS, st.integers(0, len(DAYS) - 1), _SENDINGS, st.sampled_from(ORGANISATIONS))
    def check(early: list[Sending], computed: int, late: list[Sending], asked: int) -> None:
        first_id = next(examples) * IDS
        for one in early:
            senders.send(one.organisation, _rows(one, first_id))
        test_build.build(senders.product, DAYS[: computed + 1])
        for one in late:
            senders.send(one.organisation, _rows(one, first_id))
        _assert_its_own(senders, asked)

    check()
    test_build.build(senders.product, DAYS)
    test_build.assert_equal_pandas(senders.product, list(senders.taken.values()))
