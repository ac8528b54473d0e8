"""The event SDK beside four others: how long track() takes, and what is lost when a process ends.

    pip install --group benchmark        into the environment of `--python`, with the SDK itself
    python -m benchmarks.product_events  [--python PATH] [--rounds N]

All send to the same server on this machine, one after the other and in turns; the median of the rounds counts.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from rich.table import Table

from benchmarks.event_sdks import AT_EXIT, SDKS
from benchmarks.event_sink import Sink, event_sink
from benchmarks.rows import console

_SECONDS = 120
_OURS = "ours"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the SDKs")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with event_sink() as sink:
        bench = Bench(sink, given.python, given.rounds)
        sdks = [sdk for sdk in SDKS if bench.run(sdk, "import") is not None]
        figures = {measure: bench.medians(sdks, measure) for measure in ("burst", "paced", "import")}
        lost = {measure: {sdk: bench.lost(sdk, measure) for sdk in sdks} for measure in ("exit", "_exit")}
    _print(sdks, figures, lost)


class Bench:
    """Runs SDKs in processes of their own."""

    def __init__(self, sink: Sink, python: str, rounds: int) -> None:
        self._sink = sink
        self._python = python
        self._rounds = rounds

    def run(self, sdk: str, measure: str) -> list[float] | None:
        """What the process prints; None if the SDK is not installed."""
        with tempfile.TemporaryDirectory() as directory:
            return self._run_in(directory, sdk, measure)

    def _run_in(self, directory: str, sdk: str, measure: str) -> list[float] | None:
        command = [self._python, "-m", "benchmarks.event_sdks", sdk, measure, self._sink.url, directory]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        if done.returncode and "ModuleNotFoundError" in done.stderr:
            return None
        figures: list[float] = json.loads(done.stdout.splitlines()[-1]) if done.stdout else []
        return figures

    def medians(self, sdks: Sequence[str], measure: str) -> dict[str, list[float]]:
        """The medians of the rounds; in each round every SDK has its turn."""
        rounds = [{sdk: self.run(sdk, measure) or [] for sdk in sdks} for _ in range(self._rounds)]
        return {
            sdk: [statistics.median(values) for values in zip(*(one[sdk] for one in rounds), strict=True)]
            for sdk in sdks
        }

    def lost(self, sdk: str, measure: str) -> int:
        """How many events did not arrive, nor with the next process that uses the same directory."""
        with tempfile.TemporaryDirectory() as directory:
            self._sink.received()
            self._run_in(directory, sdk, measure)
            arrived = self._sink.received()
            if sdk.startswith(_OURS):
                self._run_in(directory, sdk, "exit")
                arrived += self._sink.received() - AT_EXIT
        return AT_EXIT - arrived


def _print(sdks: Sequence[str], figures: dict[str, dict[str, list[float]]], lost: dict[str, dict[str, int]]) -> None:
    table = Table(title=f"track() in µs: p50 / p99 / p99.9; lost of {AT_EXIT:,} events")
    for column in ("SDK", "burst", "paced, 1 kHz", "import, CPU s", "lost at exit", "lost at os._exit"):
        table.add_column(column)
    for sdk in sdks:
        latencies = [" / ".join(f"{value:,.1f}" for value in figures[measure][sdk]) for measure in ("burst", "paced")]
        losses = [f"{lost[measure][sdk]:,}" for measure in ("exit", "_exit")]
        table.add_row(sdk, *latencies, f"{figures['import'][sdk][0]:.3f}", *losses)
    console.print(table)
    others = [sdk for sdk in sdks if not sdk.startswith(_OURS)]
    for name, place in (("p50", 0), ("p99", 1)) if others else ():
        best = min(figures["burst"][sdk][place] for sdk in others)
        ratio = best / figures["burst"]["ours, memory"][place]
        console.print(f"burst {name}: {ratio:.1f}x below the best of the others")


if __name__ == "__main__":
    main()
