"""Tasks: what happened to them, how often they succeed, how long they take.

The success rate is completed / (completed + failed); cancelled tasks are in neither. None: none completed or failed.
"""

from dataclasses import dataclass
from datetime import date

from analytics_pipeline.flows.product_events.aggregates.tables import SKETCH, TASK_STATS
from analytics_pipeline.flows.product_events.reads.figures import Values, by_day, mean, quantiles, rate, whole
from analytics_pipeline.flows.product_events.reads.query import EventQuery
from analytics_pipeline.flows.product_events.reads.reading import Answer, Reading


@dataclass(frozen=True)
class Tasks:
    """Tasks of a range: events of each kind, and durations of completed ones in milliseconds.

    The mean is weighted by task; a percentile is within 1 % of the duration at its rank. None: of nothing.
    """

    created: int
    started: int
    completed: int
    failed: int
    cancelled: int
    success_rate: float | None
    avg_duration_ms: float | None
    p95_duration_ms: float | None


@dataclass(frozen=True)
class TasksOfDay:
    """A UTC day's tasks; None: nobody knows them."""

    day: date
    tasks: Tasks | None


def daily(reading: Reading, query: EventQuery) -> Answer[tuple[TasksOfDay, ...]]:
    """Each day of the range, the newest first."""
    answer = reading.rows(TASK_STATS, query, _FIGURES.format(group="date", figures="{figures}"))
    found = by_day(query, answer, _tasks, _tasks(_NONE))
    return answer.of(tuple(TasksOfDay(*one) for one in found))


def overview(reading: Reading, query: EventQuery) -> Answer[Tasks | None]:
    """The tasks of the whole range; None: no day of it is known."""
    answer = reading.rows(TASK_STATS, query, _FIGURES.format(group="1", figures="{figures}"))
    return whole(query, answer, lambda rows: _tasks(rows[0][1:] if rows else _NONE))


def _tasks(values: Values) -> Tasks:
    created, started, completed, failed, cancelled, durations, total, sketch = values
    return Tasks(
        created,
        started,
        completed,
        failed,
        cancelled,
        rate(completed, completed + failed),
        mean(total, durations),
        quantiles(sketch)[1],
    )


_NONE: Values = (0, 0, 0, 0, 0, 0, 0.0, (None, None, None))

_FIGURES = f"""
    SELECT
        {{group}} AS part, sum(created), sum(started), sum(completed), sum(failed), sum(cancelled), sum(durations),
        sum(duration_ms_sum), {SKETCH}(duration_sketch)
    FROM {{figures}}
    GROUP BY part
"""
