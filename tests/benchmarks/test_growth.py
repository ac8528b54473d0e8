"""The benchmark of growth measures every flow at three sizes."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOWS = (
    "identities: load",
    "segments: 50",
    "reporting: rollups",
    "ai_usage: figures",
    "product_events: ten",
    "usage_export",
)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_benchmark__of_a_few_records__measures_every_flow_three_times() -> None:
    command = [sys.executable, "-m", "benchmarks.growth", "--records=3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert {flow: done.stdout.count(f"│ {flow}") for flow in FLOWS} == dict.fromkeys(FLOWS, 3)
