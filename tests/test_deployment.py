"""What a deployment installs, `requirements-deploy.lock`, is enough for everything but embedded engines, and small."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import analytics_pipeline

ROOT = Path(analytics_pipeline.__file__).parents[1]
LOCK = ROOT / "requirements-deploy.lock"
LARGEST_BYTES = 400 << 20
# Installed from this tree, without a lock.
OURS = {"analytics-pipeline", "analytics-pipeline-sdk"}
# Refuses to import what belongs to a distribution that the lock does not name.
ONLY_LOCKED = """
import sys
from importlib.metadata import packages_distributions
locked = {locked!r}
normal = lambda name: name.lower().replace("_", "-").replace(".", "-")
strangers = {{
    module for module, owners in packages_distributions().items() if not {{normal(owner) for owner in owners}} & locked
}}
class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in strangers:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Refusing())
"""
DEFINITIONS = """
import dagster as dg
from analytics_pipeline.definitions import defs
dg.Definitions.validate_loadable(defs())
print("definitions load")
"""
DOCTOR = """
from analytics_pipeline.cli import main
main(["doctor"])
"""


def _locked() -> set[str]:
    names = re.findall(r"^([A-Za-z0-9._-]+)", LOCK.read_text(), re.MULTILINE)
    return {name.lower().replace("_", "-").replace(".", "-") for name in names} | OURS


def _run(python: str, script: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'sdk/src'}"}
    return subprocess.run(
        [python, "-c", script], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_deploy_lock__only_what_it_names__definitions_load_and_doctor_answers(tmp_path: Path) -> None:
    only_locked = ONLY_LOCKED.format(locked=_locked())

    loaded = _run(sys.executable, only_locked + DEFINITIONS, tmp_path)
    doctor = _run(sys.executable, only_locked + DOCTOR, tmp_path)
    refused = _run(sys.executable, only_locked + "import pandas", tmp_path)

    assert (loaded.returncode, loaded.stdout.strip()) == (0, "definitions load"), loaded.stderr
    assert doctor.returncode == 3, doctor.stderr
    assert "DATABASE_URL" in doctor.stdout
    assert "No module named 'pandas'" in refused.stderr


def test_deploy_lock__same_versions_as_the_tests_ran_with() -> None:
    pins = re.compile(r"^([A-Za-z0-9._-]+(?:\[[^\]]*\])?==\S+)", re.MULTILINE)
    development = set(pins.findall((ROOT / "requirements.lock").read_text()))

    only_here = {pin for pin in pins.findall(LOCK.read_text()) if pin not in development}

    assert {pin.partition("==")[0] for pin in only_here} == set()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_deploy_lock__installed_alone__works_and_takes_at_most_400_mb(tmp_path: Path) -> None:
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    python = str(home / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", str(LOCK)], check=True)

    loaded = _run(python, DEFINITIONS, tmp_path)
    doctor = _run(python, DOCTOR, tmp_path)

    assert (loaded.returncode, loaded.stdout.strip()) == (0, "definitions load"), loaded.stderr
    assert doctor.returncode == 3, doctor.stderr
    assert sum(path.lstat().st_size for path in home.rglob("*")) <= LARGEST_BYTES
