"""The whole pipeline as containers of the image: it works, and goes on working when any of them is killed."""

import json
import os
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from analytics_pipeline.embedded import dagster_ui
from analytics_pipeline_sdk import AnalyticsClient, CustomEvent
from tests.databases import Databases
from tests.e2e.conftest import lasting_product
from tests.e2e.dagster_server import DagsterServer, wait_for
from tests.e2e.test_enablement import add_usage, copies_held_up, runs, state
from tests.image.bridge import bridged, through
from tests.image.containers import Container, Surroundings, free_port
from tests.product import Product, condition, document, today
from tests.sensors.enablement import assert_complete, make_due

pytestmark = pytest.mark.timeout(900)
EVENTS = 2_000
LARGEST_BYTES = 400 << 20
# Places of this machine: containers have their own, or the secret's file.
NOT_THEIRS = {
    "ANALYTICS_HOME",
    "DAGSTER_HOME",
    "LANDING_URL",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "CLICKHOUSE_URL",
    "DATABASE_URL",
    "DAGSTER_POSTGRES_URL",
}


@dataclass(frozen=True)
class Deployment:
    product: Product
    surroundings: Surroundings
    containers: Mapping[str, Container]
    dagster: DagsterServer
    reads: str
    events: str

    def token(self, name: str, *words: str) -> str:
        return self.surroundings.run("analytics-pipeline", "token", "create", name, *words)


@pytest.fixture(scope="module")
def product(
    stack_environment: Mapping[str, str], stores: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    landing = tmp_path_factory.mktemp("landing")
    landing.chmod(0o777)
    with lasting_product(stack_environment, stores, landing) as made:
        yield made


@pytest.fixture(scope="module")
def surroundings(
    product: Product, stack_environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Surroundings]:
    names = [name for name in stack_environment if name not in NOT_THEIRS] + ["IDENTITIES_TABLE"]
    storage = tmp_path_factory.mktemp("storage")
    storage.chmod(0o777)
    with bridged(os.environ["DATABASE_URL"]) as port:
        postgres = {name: through(os.environ[name], port) for name in ("DATABASE_URL", "DAGSTER_POSTGRES_URL")}
        yield Surroundings(
            f"test-image-{uuid.uuid4().hex[:8]}",
            tmp_path_factory.mktemp("secrets"),
            {name: os.environ[name] for name in names} | {"LANDING_URL": "file:///opt/landing"},
            {"CLICKHOUSE_URL": os.environ["CLICKHOUSE_URL"], **postgres},
            {_directory(product): "/opt/landing", storage: "/opt/dagster/storage"},
        )


def _directory(product: Product) -> Path:
    assert product.settings.landing_url is not None
    return Path(urlsplit(product.settings.landing_url).path)


@pytest.fixture(scope="module")
def deployment(product: Product, surroundings: Surroundings) -> Iterator[Deployment]:
    code, web, read, events = (free_port() for _ in range(4))
    address = {"CODE_SERVER_HOST": "127.0.0.1", "CODE_SERVER_PORT": str(code)}
    grpc = ("dagster", "api", "grpc", "--host", "127.0.0.1", "--port", str(code))
    module = ("--module-name", "analytics_pipeline.definitions", "--location-name", "analytics_pipeline")
    ui = ("dagster-webserver", "--workspace", "workspace.yaml", "--host", "127.0.0.1", "--port", str(web))
    daemon = ("dagster-daemon", "run", "--workspace", "workspace.yaml")
    containers = {
        "code-server": Container("code-server", surroundings, (*grpc, *module)),
        "webserver": Container("webserver", surroundings, ui, f"http://127.0.0.1:{web}/server_info", address),
        "daemon": Container("daemon", surroundings, daemon, "", address),
        "serve": Container(
            "serve",
            surroundings,
            ("analytics-pipeline", "serve", "--port", str(read)),
            f"http://127.0.0.1:{read}/health",
        ),
        "ingest": Container(
            "ingest",
            surroundings,
            ("analytics-pipeline", "ingest", "--port", str(events)),
            f"http://127.0.0.1:{events}/readyz",
        ),
    }
    try:
        surroundings.run("analytics-pipeline", "migrate", "pre")
        for container in containers.values():
            container.start()
        surroundings.run("analytics-pipeline", "migrate", "post")
        wait_for(lambda: dagster_ui.loaded_locations(web), lambda found: found is not None, 120)
        session = dagster_ui.Session(uuid.uuid4().hex, f"http://127.0.0.1:{web}", ())
        yield Deployment(
            product,
            surroundings,
            containers,
            DagsterServer(web, session),
            f"http://127.0.0.1:{read}",
            f"http://127.0.0.1:{events}",
        )
    finally:
        for container in containers.values():
            container.remove()


def test_image__on_top_of_its_base__takes_at_most_400_mb(surroundings: Surroundings) -> None:
    size, _ = surroundings.run("du", "--summarize", "--bytes", "/opt/analytics-pipeline").split()

    assert 0 < int(size) <= LARGEST_BYTES


def test_containers__all_started__a_day_is_materialised_through_the_ui(deployment: Deployment) -> None:
    product, dagster = deployment.product, deployment.dagster
    product.add_organisation()
    product.add_project()
    product.add_environment()
    product.add_segment(1, condition("EQUAL", "plan", "pro"))
    product.put(document("alice", plan="pro"), document("bob", plan="free"))
    assets = ("raw_identities", "identity_snapshots", "segment_counts")

    run = dagster.materialise(assets, tags={"dagster/partition": today().isoformat()})

    assert dagster.wait_for_run(run, 180) == "SUCCESS", deployment.containers["code-server"].said()
    assert product.snapshot() == {
        ("env-key-100", "alice"): {"plan": "pro"},
        ("env-key-100", "bob"): {"plan": "free"},
    }
    assert product.current() == {(1, 100): (1, "counted")}
    (segment,) = _read(deployment, "/v1/projects/10/segments")["data"]
    assert [(one["environment"], one["count"]) for one in segment["memberships"]] == [(100, 1)]


def _read(deployment: Deployment, path: str) -> Any:
    """The read API's answer to a new reader."""
    token = deployment.token(f"reader-{uuid.uuid4().hex[:8]}", "--scope", "read")
    asked = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(deployment.reads + path, headers=asked)  # noqa: S310 - of this machine
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - of this machine
        return json.load(response)


def test_containers__ingestion_killed_in_the_middle__every_event_is_stored_once(deployment: Deployment) -> None:
    token = deployment.token("services", "--scope", "ingest", "--organisation", "1")
    with AnalyticsClient(deployment.events, token=token, service="tests") as client:
        for number in range(EVENTS):
            client.track(CustomEvent("opened", {"number": number}))
            if number == EVENTS // 2:
                client.flush(0.2)
                deployment.containers["ingest"].kill()
        deployment.containers["ingest"].restart()
        assert client.flush(60)
        stats = client.stats()

    assert (stats.accepted, stats.delivered + stats.duplicate) == (EVENTS, EVENTS)
    stored = deployment.product.clickhouse.query(
        "SELECT count(), uniqExact(event_id), uniqExact(toString(data.properties.number)) FROM analytics_events FINAL"
    )
    assert stored == [(EVENTS, EVENTS, EVENTS)]


def test_containers__each_killed_in_the_middle__the_history_is_complete_once(deployment: Deployment) -> None:
    product = deployment.product
    add_usage(product, today() - timedelta(days=4))
    product.switch_ai_usage(on=True)

    with copies_held_up(product):
        wait_for(lambda: len(runs("ai_usage:instance:1:1")), bool, 150)
        wait_for(lambda: [run.status.value for run in runs("ai_usage:instance:1:1")], ["STARTED"].__eq__, 90)
        # Long enough for run monitoring to look twice: a run that is under way is left alone.
        time.sleep(35)
        assert [run.status.value for run in runs("ai_usage:instance:1:1")] == ["STARTED"]
        for container in deployment.containers.values():
            container.kill()
        for container in deployment.containers.values():
            container.restart()
        # Nobody has the run any more, and Dagster hears of it long before the run's longest time is over.
        wait_for(lambda: [run.status.value for run in runs("ai_usage:instance:1:1")], ["FAILURE"].__eq__, 120)
    make_due(product)

    wait_for(lambda: state(product), "completed".__eq__, 240)
    assert_complete(product)
    assert [one["user_id"] for one in _read(deployment, "/v1/ai-usage/users")["data"]] == [1, 2, 3]


def test_containers__sigterm__end_cleanly_in_time(deployment: Deployment) -> None:
    codes = {name: container.stop() for name, container in deployment.containers.items()}

    assert codes == dict.fromkeys(deployment.containers, 0)
