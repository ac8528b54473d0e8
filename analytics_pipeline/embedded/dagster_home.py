"""DAGSTER_HOME of the embedded stack: the same dagster.yaml and workspace.yaml as in production."""

from pathlib import Path

from analytics_pipeline.embedded.engines import PACKAGE_PARENT
from analytics_pipeline.embedded.processes import StackError

WORKSPACE = "workspace.yaml"
_FILES = ("dagster.yaml", WORKSPACE)


def environment(directory: Path) -> dict[str, str]:
    return {
        "DAGSTER_HOME": str(directory),
        # One event for each run instead of one for each of its partitions, and fewer round trips to the event log.
        "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "1",
        "DAGSTER_EVENT_BATCH_SIZE": "1000",
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }


def install(directory: Path) -> None:
    """Copy the repository's files there, so that changing them takes effect at the next start."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        text = _find(name).read_text()
        target = directory / name
        if not target.exists() or target.read_text() != text:
            target.write_text(text)


def _find(name: str) -> Path:
    """Beside the package in a checkout or an editable install, else in the current directory."""
    places = [PACKAGE_PARENT / name, Path.cwd() / name]
    for place in places:
        if place.is_file():
            return place
    looked = " and ".join(str(place.parent) for place in places)
    raise StackError(f"{name} is missing (looked in {looked}): run this from a checkout of analytics_pipeline.")
