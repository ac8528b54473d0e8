"""The figures that say at a glance how a product is doing. Totals are of all time, whatever of the events is kept."""

from dataclasses import dataclass
from datetime import timedelta

from analytics_pipeline.flows.product_events.reads import cocoons, integrations, tasks, users
from analytics_pipeline.flows.product_events.reads.plan import Coverage
from analytics_pipeline.flows.product_events.reads.query import MAX_DAYS, EventQuery
from analytics_pipeline.flows.product_events.reads.reading import Answer, Reading


@dataclass(frozen=True)
class Overview:
    """None: it is not known, or of nothing (a rate).

    Users are distinct. A week is the last 7 UTC days, a month the last 30, each with today. `total_tasks` are those
    that were created; `task_success_rate` is completed / (completed + failed). `total_cocoons` were ever registered or
    connected, `active_cocoons` connected in the last 24 hours; `total_integrations` were ever connected.
    """

    total_users: int | None
    active_users_today: int | None
    active_users_week: int | None
    active_users_month: int | None
    total_tasks: int | None
    tasks_today: int | None
    task_success_rate: float | None
    total_cocoons: int
    active_cocoons: int
    total_integrations: int


def overview(reading: Reading, organisation_id: int | None) -> Answer[Overview]:
    """The overview as of the reading's moment, over the last ten years."""
    today = reading.now.date()
    end = today + timedelta(days=1)
    ever = EventQuery(organisation_id, end - timedelta(days=MAX_DAYS), end)
    # Totals are read last: events that come in meanwhile are in no part and missing in the whole.
    active = users.active_now(reading, organisation_id, today)
    todays = tasks.overview(reading, EventQuery(organisation_id, today, end))
    total, all_tasks = users.active(reading, ever), tasks.overview(reading, ever)
    known, connected = cocoons.ever_known(reading, ever), integrations.ever_connected(reading, ever)
    value = Overview(
        total_users=total.value,
        active_users_today=active.value.today,
        active_users_week=active.value.week,
        active_users_month=active.value.month,
        total_tasks=all_tasks.value.created if all_tasks.value else None,
        tasks_today=todays.value.created if todays.value else None,
        task_success_rate=all_tasks.value.success_rate if all_tasks.value else None,
        total_cocoons=known.value,
        active_cocoons=cocoons.connected_lately(reading, organisation_id),
        total_integrations=connected.value,
    )
    return Answer(
        value, Coverage.of_all([one.coverage for one in (total, active, all_tasks, todays, known, connected)])
    )
