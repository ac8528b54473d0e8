"""The files of deploy/ say the same as the code and as each other; `make lint` has them validated."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import copy, copytree, which
from typing import Any

import pytest
import yaml
from dagster._config import process_config
from dagster._core.workspace.config_schema import WORKSPACE_CONFIG_SCHEMA
from dagster_dg_core.context import DgContext
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import UserDefinedDagsterK8sConfig

from analytics_pipeline import secret_files
from analytics_pipeline.orchestration.run_launcher import ServerRunLauncher
from tests.test_deployment import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose"
OVERLAYS = ("base", "overlays/small", "overlays/production")


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def _services() -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = _yaml(COMPOSE / "compose.yaml")["services"]
    return services


def _of_our_image() -> dict[str, dict[str, Any]]:
    return {name: service for name, service in _services().items() if "ANALYTICS_IMAGE" in service["image"]}


def _manifests(overlay: str) -> list[dict[str, Any]]:
    if which("kubectl") is None:
        pytest.skip("kubectl is not installed, so the manifests cannot be built")
    built = subprocess.run(
        ["kubectl", "kustomize", str(DEPLOY / "kubernetes" / overlay)], capture_output=True, text=True, check=True
    )
    return list(yaml.safe_load_all(built.stdout))


def _pods(manifests: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for manifest in manifests:
        if manifest["kind"] in ("Deployment", "Job"):
            yield manifest["metadata"]["name"], manifest["spec"]["template"]


def test_compose__our_containers__are_locked_down_and_bounded_and_in_order() -> None:
    ours = _of_our_image()

    assert sorted(ours) == [
        "code-server",
        "daemon",
        "ingest",
        "migrate-post",
        "migrate-pre",
        "serve",
        "webserver",
    ]
    for name, service in ours.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert ("healthcheck" in service) != name.startswith("migrate"), name
    for name in set(ours) - {"migrate-pre", "migrate-post"}:
        assert ours[name]["depends_on"]["migrate-pre"] == {"condition": "service_completed_successfully"}, name
    assert set(ours["migrate-post"]["depends_on"]) == {"code-server", "daemon", "serve", "ingest"}
    # Compose's `up --wait` fails when a container ends that none of those that stay waits for.
    assert ours["webserver"]["depends_on"]["migrate-post"] == {"condition": "service_completed_successfully"}
    for name, service in _services().items():
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_compose__secrets__stand_in_files_that_the_code_reads_and_the_script_makes(tmp_path: Path) -> None:
    copytree(COMPOSE, tmp_path / "compose", ignore=lambda *_: {"secrets", "pipeline.env"})
    script = tmp_path / "compose" / "make-secrets"

    subprocess.run([script], check=True, capture_output=True)
    made = {path.name: path.read_text() for path in (tmp_path / "compose/secrets").iterdir()}
    subprocess.run([script], check=True, capture_output=True)
    again = {path.name: path.read_text() for path in (tmp_path / "compose/secrets").iterdir()}

    compose = _yaml(COMPOSE / "compose.yaml")
    assert compose["secrets"] == {name: {"file": f"secrets/{name}"} for name in compose["secrets"]}
    assert (set(made), made) == (set(compose["secrets"]), again)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "compose/secrets").iterdir()} == {0o644}
    assert (tmp_path / "compose/secrets").stat().st_mode & 0o777 == 0o700
    for name, service in _of_our_image().items():
        files = {key: value for key, value in service["environment"].items() if key.endswith("_FILE")}
        known = {f"{variable}_FILE" for variable in secret_files.VARIABLES} | {"AWS_SHARED_CREDENTIALS_FILE"}
        assert set(files) <= known, name
        assert sorted(files.values()) == sorted(f"/run/secrets/{secret}" for secret in service["secrets"]), name


def test_image__workspace_and_launcher__are_what_dagster_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    image = dict(re.findall(r"^ {4}(CODE_SERVER_\w+)=(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    for name, value in image.items():
        monkeypatch.setenv(name, value)
    workspace = _yaml(DEPLOY / "image/workspace.yaml")
    launcher = _yaml(DEPLOY / "image/run_launcher.yaml")["run_launcher"]

    processed = process_config(WORKSPACE_CONFIG_SCHEMA, workspace)

    assert processed.success, processed.errors
    (location,) = _yaml(ROOT / "workspace.yaml")["load_from"]
    assert workspace["load_from"][0]["grpc_server"]["location_name"] == location["python_module"]["location_name"]
    assert f"{launcher['module']}.{launcher['class']}" == f"{ServerRunLauncher.__module__}.{ServerRunLauncher.__name__}"
    assert "run_launcher" not in _yaml(ROOT / "dagster.yaml")
    command = _services()["code-server"]["command"]
    assert image == {"CODE_SERVER_HOST": "code-server", "CODE_SERVER_PORT": command[command.index("--port") + 1]}
    assert command[-2:] == ["--location-name", location["python_module"]["location_name"]]


def test_image__user__is_the_one_of_every_manifest() -> None:
    (user,) = re.findall(r"^USER (\d+):\1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    values = _yaml(DEPLOY / "dagster-helm/values.yaml")

    contexts = [values[part]["podSecurityContext"] for part in ("dagsterWebserver", "dagsterDaemon")]
    contexts += [template["spec"]["securityContext"] for _, template in _pods(_manifests("base"))]

    assert {context["runAsUser"] for context in contexts} == {int(user)}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes__overlay__selects_its_own_pods(overlay: str) -> None:
    manifests = _manifests(overlay)

    labels = {name: template["metadata"]["labels"] for name, template in _pods(manifests)}
    for manifest in manifests:
        if manifest["kind"] == "Service":
            selector = manifest["spec"]["selector"].items()
            assert [name for name, found in labels.items() if selector <= found.items()] == [
                manifest["metadata"]["name"]
            ]
        if manifest["kind"] == "NetworkPolicy":
            selected = manifest["spec"]["podSelector"]["matchLabels"].items()
            assert all(selected <= found.items() for found in labels.values())
    for name, template in _pods(manifests):
        (container,) = template["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
        assert container["resources"]["limits"].keys() == {"memory"}, name


def test_kubernetes__jobs__migrate_each_phase() -> None:
    jobs = {name: template for name, template in _pods(_manifests("base")) if "migrate" in name}

    assert {name: template["spec"]["containers"][0]["args"] for name, template in jobs.items()} == {
        f"analytics-migrate-{phase}": ["analytics-pipeline", "migrate", phase] for phase in ("pre", "post")
    }


def test_helm__values__say_what_dagster_yaml_says() -> None:
    values, instance = _yaml(DEPLOY / "dagster-helm/values.yaml"), _yaml(ROOT / "dagster.yaml")
    daemon, runs = values["dagsterDaemon"], values["concurrency"]["runs"]

    assert runs["maxConcurrentRuns"] == instance["concurrency"]["runs"]["max_concurrent_runs"]
    assert runs["tagConcurrencyLimits"] == instance["concurrency"]["runs"]["tag_concurrency_limits"]
    assert values["concurrency"]["pools"]["defaultLimit"] == instance["concurrency"]["pools"]["default_limit"]
    coordinator = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert coordinator["dequeueIntervalSeconds"] == instance["run_queue"]["dequeue_interval_seconds"]
    monitoring = instance["run_monitoring"]
    assert daemon["runMonitoring"]["freeSlotsAfterRunEndSeconds"] == monitoring["free_slots_after_run_end_seconds"]
    assert daemon["runMonitoring"]["pollIntervalSeconds"] == monitoring["poll_interval_seconds"]
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    pods = UserDefinedDagsterK8sConfig.from_dict(_snake(launcher["runK8sConfig"]))  # type: ignore[no-untyped-call]
    assert pods.job_spec_config["active_deadline_seconds"] == monitoring["max_runtime_seconds"]
    for kind in ("schedule", "sensor"):
        kept = values["retention"][kind]["purgeAfterDays"]
        assert kept == instance["retention"][kind]["purge_after_days"]


def test_dagster_plus__container_context__is_read_by_dagster() -> None:
    context = K8sContainerContext.create_from_config(_yaml(DEPLOY / "dagster-plus/container_context.yaml"))

    assert context.namespace == "analytics"
    assert context.run_k8s_config.container_config["resources"]["limits"] == {"memory": "2Gi"}


def test_dagster_plus__files_beside_pyproject__are_read_by_dg(tmp_path: Path) -> None:
    for file in ("pyproject.toml", *(f"deploy/dagster-plus/{name}.yaml" for name in ("build", "container_context"))):
        copy(ROOT / file, tmp_path)

    project = DgContext.for_project_environment(tmp_path, {})

    assert project.build_config == {"registry": "registry.example.com/analytics-pipeline"}
    assert project.container_context_config == _yaml(DEPLOY / "dagster-plus/container_context.yaml")


def _snake(values: Mapping[str, Any]) -> dict[str, Any]:
    return {re.sub(r"([A-Z])", lambda found: f"_{found[1].lower()}", key): value for key, value in values.items()}
