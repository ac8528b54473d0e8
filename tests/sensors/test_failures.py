"""The run-failure sensor: every failed run is told, and counts as an attempt at the history that it was asked for."""

import json
import logging
from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import pytest

from analytics_pipeline.flows.enablement.epochs import ATTEMPT_TAG, ATTEMPTS, Attempt, Changes, Epoch
from analytics_pipeline.flows.enablement.ledger import EnablementLedger, PlannedEpoch
from analytics_pipeline.sensors.failures import run_failures
from tests.product import Product, today
from tests.thorough import rarely

SECRET = "postgresql://user:S3CRET@host/db"
CURRENT = Attempt("ai_usage", "instance", 1, 1)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def product(empty_product: Product) -> Product:
    """A product whose ai_usage was seen switched on: its first attempt is requested."""
    days = dict.fromkeys(("source_first_day", "first_day", "last_day"), today())
    planned = PlannedEpoch("instance", 1, "on", from_scratch=False, **days)
    EnablementLedger(empty_product.postgres).record("ai_usage", Changes((), (), ()), [planned])
    return empty_product


def newest(product: Product) -> Epoch:
    return EnablementLedger(product.postgres).newest("ai_usage")["instance"]


def state(product: Product) -> tuple[str, int, str]:
    epoch = newest(product)
    return epoch.state, epoch.attempt, epoch.error


@dg.op
def told() -> None:
    """Fails as our assets do: with a text that is ours."""
    raise dg.Failure("day 2026-05-01 failed. Repair: materialise it again")


@dg.op
def foreign() -> None:
    """Fails with an exception of a library, whose text may hold anything."""
    raise ValueError(SECRET) from KeyError(SECRET)


@dg.job
def one_fails() -> None:
    told()


@dg.job
def both_fail() -> None:
    told()
    foreign()


@dg.job
def foreign_fails() -> None:
    foreign()


def failed(instance: dg.DagsterInstance, job: dg.JobDefinition, attempt: object = None) -> dg.ExecuteInProcessResult:
    """A run of the job, which has failed."""
    result = job.execute_in_process(
        instance=instance,
        tags={} if attempt is None else {ATTEMPT_TAG: str(attempt)},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )
    assert not result.success
    return result


def hear(
    instance: dg.DagsterInstance, run: dg.DagsterRun, event: dg.DagsterEvent, caplog: pytest.LogCaptureFixture
) -> list[str]:
    """Let the sensor hear of the run; returns its alerts."""
    caplog.clear()
    context = dg.build_run_status_sensor_context("run_failures", event, instance, run).for_run_failure()
    run_failures(context)
    assert "S3CRET" not in caplog.text
    return [message for _, level, message in caplog.record_tuples if level == logging.ERROR]


def heard(
    instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult, caplog: pytest.LogCaptureFixture
) -> list[str]:
    return hear(instance, result.dagster_run, result.get_run_failure_event(), caplog)


def test_failure__run_of_an_attempt__is_counted_and_told(
    product: Product, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    result = failed(instance, one_fails, CURRENT)
    EnablementLedger(product.postgres).claim(CURRENT, result.run_id)

    alerts = heard(instance, result, caplog)

    error = "told: day 2026-05-01 failed. Repair: materialise it again"
    assert state(product) == ("requested", 2, error)
    assert alerts == [
        "The history of ai_usage (instance, epoch 1) failed and is tried again after"
        f" {newest(product).next_attempt_at:%Y-%m-%d %H:%M:%S} UTC: {error}"
    ]


@pytest.mark.slow
def test_failure__heard_of_twice__is_counted_once(
    product: Product, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    result = failed(instance, one_fails, CURRENT)
    heard(instance, result, caplog)
    before = newest(product)

    again = heard(instance, result, caplog)

    assert newest(product) == before
    assert again == [f"Run {result.run_id} failed: {before.error}"]


def test_failure__of_the_last_attempt__gives_up_and_says_how_to_try_again(
    product: Product, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    product.execute("UPDATE analytics_pipeline.enablements SET attempt = last_attempt")
    result = failed(instance, one_fails, Attempt("ai_usage", "instance", 1, ATTEMPTS))

    alerts = heard(instance, result, caplog)

    error = "told: day 2026-05-01 failed. Repair: materialise it again"
    assert state(product) == ("failed", ATTEMPTS, error)
    assert alerts == [
        f"The history of ai_usage (instance, epoch 1) was given up after attempt {ATTEMPTS}: {error}."
        " What was brought in stays. Repair the cause, then run:"
        " analytics-pipeline enablement retry ai_usage instance"
    ]


@pytest.mark.parametrize(
    "tag",
    [
        None,
        Attempt("ai_usage", "instance", 1, 2),
        *rarely(
            Attempt("ai_usage", "instance", 2, 1),
            Attempt("segments", "organisation:1", 1, 1),
            "written by hand",
            "a:b:c:d",
        ),
    ],
    ids=str,
)
def test_failure__of_another_run__leaves_the_attempt_alone_and_is_told(
    product: Product, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture, tag: object
) -> None:
    result = failed(instance, one_fails, tag)
    before = newest(product)

    alerts = heard(instance, result, caplog)

    assert newest(product) == before
    assert alerts == [f"Run {result.run_id} failed: told: day 2026-05-01 failed. Repair: materialise it again"]


def test_failure__attempt_is_another_runs__leaves_it_alone(
    product: Product, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    EnablementLedger(product.postgres).claim(CURRENT, "another")

    alerts = heard(instance, failed(instance, one_fails, CURRENT), caplog)

    assert (state(product), len(alerts)) == (("running", 1, ""), 1)


@pytest.mark.parametrize("address", ["", "postgresql://user:S3CRET@127.0.0.1:1/product"])
def test_failure__ledger_cannot_be_reached__is_told_all_the_same(
    product: Product,
    instance: dg.DagsterInstance,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
) -> None:
    result = failed(instance, one_fails, CURRENT)
    monkeypatch.setenv("DATABASE_URL", address)

    alerts = heard(instance, result, caplog)

    assert alerts == [f"Run {result.run_id} failed: told: day 2026-05-01 failed. Repair: materialise it again"]


@pytest.mark.parametrize("attempt", [None, CURRENT])
def test_failure__foreign_exception__shows_its_kind_and_never_its_text(
    product: Product, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture, attempt: Attempt | None
) -> None:
    result = failed(instance, foreign_fails, attempt)

    (alerted,) = heard(instance, result, caplog)

    assert alerted.endswith(": foreign: ValueError")
    assert "S3CRET" not in json.dumps(product.execute("SELECT error FROM analytics_pipeline.enablements"))


@pytest.mark.slow
def test_failure__of_several_steps__tells_each(
    product: Product, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    result = failed(instance, both_fail)

    (alerted,) = heard(instance, result, caplog)

    _, _, texts = alerted.partition(" failed: ")
    assert sorted(texts.split("; ")) == [
        "foreign: ValueError",
        "told: day 2026-05-01 failed. Repair: materialise it again",
    ]


def test_failure__run_never_started__is_told_and_counted(
    product: Product, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    run = instance.create_run_for_job(one_fails, tags={ATTEMPT_TAG: str(CURRENT)}, status=dg.DagsterRunStatus.STARTING)
    event = instance.report_run_failed(run)

    (alerted,) = hear(instance, run, event, caplog)

    message = "This run has been marked as failed from outside the execution context."
    assert alerted.endswith(f" UTC: {message}")
    assert state(product) == ("requested", 2, message)
    assert newest(product).next_attempt_at - newest(product).requested_at > timedelta(seconds=50)
